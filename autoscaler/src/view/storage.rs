//! Storage: where a claim may be used, and how many volumes a node takes.

use super::meta::{LabelSelector, Metadata, ResourceList};
use super::node::NodeSelector;
use super::pod::Resources;
use super::read::{object, words};
use crate::quantity::Quantity;

object! {
    /// A wish for a volume.
    pub struct Claim {
        /// Identity; an annotation says whether the binding is complete.
        metadata: Metadata = "metadata",
        /// The wish.
        spec: ClaimSpec = "spec",
        /// What has become of it.
        status: ClaimStatus = "status",
    }
}

object! {
    /// What a claim wishes.
    pub struct ClaimSpec {
        /// The volume that it has, or insists on.
        volume_name: String = "volumeName",
        /// The class; none is not the same as empty.
        class: Option<String> = "storageClassName",
        /// How it will be used.
        access_modes: Vec<String> = "accessModes",
        /// How large.
        resources: Resources = "resources",
        /// Which volumes will do.
        selector: Option<LabelSelector> = "selector",
        /// `Filesystem` where none is said.
        volume_mode: Option<String> = "volumeMode",
        /// A class of attributes.
        attributes_class: String = "volumeAttributesClassName",
    }
}

object! {
    /// What has become of a claim.
    pub struct ClaimStatus {
        /// `Lost` if its volume is gone.
        phase: String = "phase",
    }
}

object! {
    /// A volume.
    pub struct PersistentVolume {
        /// Identity; labels may name zones.
        metadata: Metadata = "metadata",
        /// What it is.
        spec: PersistentVolumeSpec = "spec",
        /// Whether it is free.
        status: PersistentVolumeStatus = "status",
    }
}

object! {
    /// What a volume is.
    pub struct PersistentVolumeSpec {
        /// How large.
        capacity: ResourceList = "capacity",
        /// How it can be used.
        access_modes: Vec<String> = "accessModes",
        /// Its class.
        class: String = "storageClassName",
        /// Who has it.
        claim: Option<ClaimReference> = "claimRef",
        /// From which nodes it can be reached.
        node_affinity: Option<VolumeNodeAffinity> = "nodeAffinity",
        /// The driver behind it.
        csi: Option<CsiSource> = "csi",
        /// `Filesystem` where none is said.
        volume_mode: Option<String> = "volumeMode",
        /// A class of attributes.
        attributes_class: String = "volumeAttributesClassName",
    }
}

object! {
    /// Whether a volume is free.
    pub struct PersistentVolumeStatus {
        /// `Available` if nobody has it.
        phase: String = "phase",
    }
}

object! {
    /// The claim that has a volume.
    pub struct ClaimReference {
        /// Its namespace.
        namespace: String = "namespace",
        /// Its name.
        name: String = "name",
        /// Its identity, once it is bound.
        uid: String = "uid",
    }
}

object! {
    /// From which nodes a volume can be reached.
    pub struct VolumeNodeAffinity {
        /// None is all.
        required: Option<NodeSelector> = "required",
    }
}

object! {
    /// A volume of a CSI driver.
    pub struct CsiSource {
        /// The driver.
        driver: String = "driver",
        /// The driver's name for it.
        handle: String = "volumeHandle",
    }
}

words! {
    /// When a claim gets its volume.
    pub enum BindingMode {
        /// At once.
        Immediate = "Immediate",
        /// When its first pod has a node.
        WaitForFirstConsumer = "WaitForFirstConsumer",
    }
}

object! {
    /// How volumes of a kind are made.
    pub struct StorageClass {
        /// Its name.
        metadata: Metadata = "metadata",
        /// Who makes them; `kubernetes.io/no-provisioner` for nobody.
        provisioner: String = "provisioner",
        /// When a claim gets its volume.
        binding_mode: Option<BindingMode> = "volumeBindingMode",
        /// Where they can be made; none is everywhere.
        allowed_topologies: Vec<TopologyTerm> = "allowedTopologies",
    }
}

object! {
    /// Places: all of these must hold.
    pub struct TopologyTerm {
        /// Conditions on labels of the node.
        expressions: Vec<TopologyRequirement> = "matchLabelExpressions",
    }
}

object! {
    /// A label of a node and the values that will do.
    pub struct TopologyRequirement {
        /// The label.
        key: String = "key",
        /// The values.
        values: Vec<String> = "values",
    }
}

object! {
    /// The drivers of a node.
    pub struct CsiNode {
        /// The name of the node.
        metadata: Metadata = "metadata",
        /// The drivers.
        spec: CsiNodeSpec = "spec",
    }
}

object! {
    /// The drivers of a node.
    pub struct CsiNodeSpec {
        /// Each with its limit.
        drivers: Vec<CsiNodeDriver> = "drivers",
    }
}

object! {
    /// A driver on a node.
    pub struct CsiNodeDriver {
        /// Its name.
        name: String = "name",
        /// How many volumes it can attach.
        allocatable: CsiLimit = "allocatable",
    }
}

object! {
    /// How many volumes a driver can attach.
    pub struct CsiLimit {
        /// None is no limit.
        count: Option<i64> = "count",
    }
}

object! {
    /// A driver.
    pub struct CsiDriver {
        /// Its name.
        metadata: Metadata = "metadata",
        /// What it wants of the scheduler.
        spec: CsiDriverSpec = "spec",
    }
}

object! {
    /// What a driver wants of the scheduler.
    pub struct CsiDriverSpec {
        /// Whether the free space that it reports is to be looked at.
        storage_capacity: bool = "storageCapacity",
    }
}

object! {
    /// Free space for new volumes of a class, in some place.
    pub struct StorageCapacity {
        /// Identity.
        metadata: Metadata = "metadata",
        /// The class.
        class: String = "storageClassName",
        /// The nodes that reach it; none is nobody.
        topology: Option<LabelSelector> = "nodeTopology",
        /// How much is free.
        capacity: Option<Quantity> = "capacity",
        /// The largest volume that can be made, if that is known.
        maximum: Option<Quantity> = "maximumVolumeSize",
    }
}

object! {
    /// A volume that is attached to a node, or about to be.
    pub struct Attachment {
        /// Identity.
        metadata: Metadata = "metadata",
        /// What is attached where.
        spec: AttachmentSpec = "spec",
    }
}

object! {
    /// What is attached where.
    pub struct AttachmentSpec {
        /// The driver.
        attacher: String = "attacher",
        /// The node.
        node: String = "nodeName",
        /// The volume.
        source: AttachmentSource = "source",
    }
}

object! {
    /// The volume of an attachment.
    pub struct AttachmentSource {
        /// Its name; none for volumes inline in pods.
        volume: Option<String> = "persistentVolumeName",
    }
}
