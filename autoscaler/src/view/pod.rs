//! Pods: what deciding needs of them, no image, no command, no environment.

use jiff::Timestamp;

use super::meta::{LabelSelector, Labels, Metadata, ResourceList};
use super::node::NodeSelector;
use super::read::{object, words};

object! {
    /// A pod.
    pub struct Pod {
        /// Identity and labels.
        metadata: Metadata = "metadata",
        /// What it asks for.
        spec: PodSpec = "spec",
        /// What has become of it.
        status: PodStatus = "status",
    }
}

object! {
    /// What a pod asks for.
    pub struct PodSpec {
        /// The node it is bound to, or insists on; empty while it is not.
        node_name: String = "nodeName",
        /// Labels that its node must have.
        node_selector: Labels = "nodeSelector",
        /// More conditions on the node and on the pods around.
        affinity: Affinity = "affinity",
        /// Taints that it puts up with.
        tolerations: Vec<Toleration> = "tolerations",
        /// What runs together.
        containers: Vec<Container> = "containers",
        /// What runs before, one after another, and sidecars.
        init_containers: Vec<Container> = "initContainers",
        /// What the runtime needs on top.
        overhead: ResourceList = "overhead",
        /// Requests of the pod as a whole: they replace the sum of its containers.
        resources: Resources = "resources",
        /// How evenly pods like it must be spread.
        topology_spread_constraints: Vec<SpreadConstraint> = "topologySpreadConstraints",
        /// While there is one, nobody schedules the pod.
        scheduling_gates: Vec<Gate> = "schedulingGates",
        /// What it mounts.
        volumes: Vec<Volume> = "volumes",
        /// Higher goes first, and may push others off.
        priority: i64 = "priority",
        /// Which scheduler takes care of it.
        scheduler_name: String = "schedulerName",
        /// Whether it lives in the node's own network.
        host_network: bool = "hostNetwork",
        /// How long it may take to stop, in seconds.
        termination_grace_period_seconds: Option<i64> = "terminationGracePeriodSeconds",
    }
}

object! {
    /// One container: its requests and ports.
    pub struct Container {
        /// Its name in the pod.
        name: String = "name",
        /// What it asks for.
        resources: Resources = "resources",
        /// What it listens on.
        ports: Vec<Port> = "ports",
        /// `Always` on an init container makes it a sidecar.
        restart_policy: String = "restartPolicy",
    }
}

impl Container {
    /// Whether this init container keeps running beside the pod.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy == "Always"
    }
}

object! {
    /// Requests; the API server sets a missing request to the limit, so limits say nothing more here.
    pub struct Resources {
        /// What must be free on the node.
        requests: ResourceList = "requests",
    }
}

object! {
    /// A port of a container.
    pub struct Port {
        /// The port of the node that it takes; 0 for none.
        host_port: i64 = "hostPort",
        /// On which address; empty for all.
        host_ip: String = "hostIP",
        /// `TCP` where none is said.
        protocol: String = "protocol",
    }
}

words! {
    /// What a taint does to a pod that does not tolerate it.
    pub enum Effect {
        /// It is not scheduled here.
        NoSchedule = "NoSchedule",
        /// It is scheduled here if nothing else is left.
        PreferNoSchedule = "PreferNoSchedule",
        /// It is not scheduled here, and leaves if it is here.
        NoExecute = "NoExecute",
    }
}

words! {
    /// How a toleration compares with a taint.
    pub enum TolerationOperator {
        /// Same value; also where no operator is said.
        Equal = "Equal",
        /// Any value.
        Exists = "Exists",
    }
}

object! {
    /// A taint that a pod puts up with.
    pub struct Toleration {
        /// Empty for all.
        key: String = "key",
        /// The comparison.
        operator: TolerationOperator = "operator",
        /// With what.
        value: String = "value",
        /// Empty for all.
        effect: Effect = "effect",
    }
}

object! {
    /// Required conditions. Preferences are left out on purpose: they never buy a node.
    pub struct Affinity {
        /// On the node.
        node: NodeAffinity = "nodeAffinity",
        /// Pods that must be near.
        pod: PodAffinity = "podAffinity",
        /// Pods that must not be near.
        anti: PodAffinity = "podAntiAffinity",
    }
}

object! {
    /// Conditions on a node.
    pub struct NodeAffinity {
        /// None is no condition; without terms it matches nothing.
        required: Option<NodeSelector> = "requiredDuringSchedulingIgnoredDuringExecution",
    }
}

object! {
    /// Conditions on pods.
    pub struct PodAffinity {
        /// All of these.
        required: Vec<PodAffinityTerm> = "requiredDuringSchedulingIgnoredDuringExecution",
    }
}

object! {
    /// Pods, and how near is near. The API server has merged `matchLabelKeys` into the selector already.
    pub struct PodAffinityTerm {
        /// Which pods; none selects nothing.
        selector: Option<LabelSelector> = "labelSelector",
        /// In these namespaces; none and no selector of namespaces is the pod's own.
        namespaces: Vec<String> = "namespaces",
        /// And in namespaces with these labels; empty selects all.
        namespace_selector: Option<LabelSelector> = "namespaceSelector",
        /// Nodes with the same value of this label are one place.
        topology_key: String = "topologyKey",
    }
}

words! {
    /// What happens where a spread cannot be kept.
    pub enum Unsatisfiable {
        /// The pod waits.
        DoNotSchedule = "DoNotSchedule",
        /// A preference only.
        ScheduleAnyway = "ScheduleAnyway",
    }
}

words! {
    /// Whether nodes that the pod may not use count as places.
    pub enum Inclusion {
        /// They do not count.
        Honor = "Honor",
        /// They count.
        Ignore = "Ignore",
    }
}

object! {
    /// How far the numbers of pods in two places may be apart.
    pub struct SpreadConstraint {
        /// At most so far.
        max_skew: i64 = "maxSkew",
        /// Nodes with the same value of this label are one place.
        topology_key: String = "topologyKey",
        /// Whether it is required.
        when_unsatisfiable: Unsatisfiable = "whenUnsatisfiable",
        /// Which pods are counted; none selects nothing.
        selector: Option<LabelSelector> = "labelSelector",
        /// With fewer places than this the emptiest place counts as empty.
        min_domains: Option<i64> = "minDomains",
        /// Nodes that the pod's selector and affinity rule out; `Honor` where none is said.
        node_affinity_policy: Option<Inclusion> = "nodeAffinityPolicy",
        /// Nodes whose taints the pod does not tolerate; `Ignore` where none is said.
        node_taints_policy: Option<Inclusion> = "nodeTaintsPolicy",
        /// Only pods with the same values of these labels are counted.
        match_label_keys: Vec<String> = "matchLabelKeys",
    }
}

object! {
    /// Something that must be taken away before the pod may be scheduled.
    pub struct Gate {
        /// Its name.
        name: String = "name",
    }
}

object! {
    /// A volume of a pod: the kinds that decide where the pod may go, and those that decide whether it may move.
    pub struct Volume {
        /// Its name in the pod.
        name: String = "name",
        /// A claim.
        claim: Option<ClaimSource> = "persistentVolumeClaim",
        /// A claim that lives as long as the pod: `<pod>-<volume>`.
        ephemeral: Option<Present> = "ephemeral",
        /// Scratch space, lost with the pod.
        empty_dir: Option<EmptyDir> = "emptyDir",
        /// A folder of the node.
        host_path: Option<Present> = "hostPath",
        /// An old kind that only one node may write.
        gce_disk: Option<GceDisk> = "gcePersistentDisk",
        /// An old kind that only one pod of a node may use.
        aws_disk: Option<AwsDisk> = "awsElasticBlockStore",
        /// A disk over the network.
        iscsi: Option<Iscsi> = "iscsi",
        /// A Ceph image.
        rbd: Option<Rbd> = "rbd",
    }
}

object! {
    /// Something of which only the presence counts.
    pub struct Present {}
}

object! {
    /// A claim by name, in the pod's namespace.
    pub struct ClaimSource {
        /// The claim.
        name: String = "claimName",
    }
}

object! {
    /// Scratch space.
    pub struct EmptyDir {
        /// `Memory` is gone with the pod anyway.
        medium: String = "medium",
    }
}

object! {
    /// A disk of Google's cloud.
    pub struct GceDisk {
        /// Its name.
        name: String = "pdName",
        /// Many may read.
        read_only: bool = "readOnly",
    }
}

object! {
    /// A disk of Amazon's cloud.
    pub struct AwsDisk {
        /// Its id.
        id: String = "volumeID",
    }
}

object! {
    /// A disk over the network.
    pub struct Iscsi {
        /// Its name.
        iqn: String = "iqn",
        /// Many may read.
        read_only: bool = "readOnly",
    }
}

object! {
    /// A Ceph image.
    pub struct Rbd {
        /// Where the cluster answers.
        monitors: Vec<String> = "monitors",
        /// The pool.
        pool: String = "pool",
        /// The image.
        image: String = "image",
        /// Many may read.
        read_only: bool = "readOnly",
    }
}

words! {
    /// The life of a pod.
    pub enum Phase {
        /// Not all of it runs yet.
        Pending = "Pending",
        /// It runs.
        Running = "Running",
        /// It ended well: it uses nothing any more.
        Succeeded = "Succeeded",
        /// It ended badly: it uses nothing any more.
        Failed = "Failed",
    }
}

object! {
    /// What has become of a pod.
    pub struct PodStatus {
        /// Where it is in its life.
        phase: Phase = "phase",
        /// What is true of it, and since when.
        conditions: Vec<Condition> = "conditions",
        /// The node where others are pushed off for it.
        nominated_node_name: String = "nominatedNodeName",
        /// What its containers really have.
        container_statuses: Vec<ContainerStatus> = "containerStatuses",
        /// What its sidecars really have.
        init_container_statuses: Vec<ContainerStatus> = "initContainerStatuses",
        /// What the pod as a whole really has.
        resources: Option<Resources> = "resources",
        /// What the pod as a whole was promised by its node.
        allocated_resources: ResourceList = "allocatedResources",
        /// When its node took it.
        start_time: Option<Timestamp> = "startTime",
    }
}

object! {
    /// Something that is true of a pod or node.
    pub struct Condition {
        /// What.
        kind: String = "type",
        /// `True`, `False` or `Unknown`.
        status: String = "status",
        /// One word.
        reason: String = "reason",
        /// A sentence.
        message: String = "message",
        /// Since when.
        last_transition_time: Option<Timestamp> = "lastTransitionTime",
    }
}

object! {
    /// What a container really has, which differs from its request while it is resized in place.
    pub struct ContainerStatus {
        /// Its name in the pod.
        name: String = "name",
        /// What its cgroup has; none before it runs.
        resources: Option<Resources> = "resources",
        /// What the node promised.
        allocated_resources: ResourceList = "allocatedResources",
    }
}

impl Pod {
    /// Whether it has ended: then it uses nothing and wants nothing.
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase, Phase::Succeeded | Phase::Failed)
    }

    /// A condition by its type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Whether it waits for a node and the scheduler has found none: only such a pod is a reason to buy one. A pod that the
    /// scheduler has not looked at yet, that is gated, that is on its way out, or for which others are being pushed off, is not.
    pub fn is_unplaced(&self) -> bool {
        let refused = |c: &Condition| c.status == "False" && c.reason == "Unschedulable";
        self.spec.node_name.is_empty()
            && !self.is_over()
            && self.metadata.deletion_timestamp.is_none()
            && self.spec.scheduling_gates.is_empty()
            && self.status.nominated_node_name.is_empty()
            && self.condition("PodScheduled").is_some_and(refused)
    }

    /// The pod that its controller would make in its place: bound to no node, with no history.
    #[must_use]
    pub fn anew(&self) -> Self {
        let mut pod = Self { status: PodStatus::default(), ..self.clone() };
        pod.spec.node_name.clear();
        pod.metadata.deletion_timestamp = None;
        pod
    }

    /// Whether it is the API server's picture of a static pod: its kubelet runs it, nobody can move it.
    pub fn is_mirror(&self) -> bool {
        self.metadata.annotations.contains_key("kubernetes.io/config.mirror")
    }
}
