//! What every object has, and how objects select each other.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::read::{object, words};
use crate::quantity::Quantity;

/// Labels or annotations.
pub type Labels = BTreeMap<String, String>;

/// Amounts by the name of a resource.
pub type ResourceList = BTreeMap<String, Quantity>;

object! {
    /// Identity, labels and life time of an object.
    pub struct Metadata {
        /// Unique in its namespace at any one time.
        name: String = "name",
        /// Empty for nodes, volumes and whatever else belongs to the whole cluster.
        namespace: String = "namespace",
        /// Unique for ever.
        uid: String = "uid",
        /// What selectors look at.
        labels: Labels = "labels",
        /// What nobody selects by.
        annotations: Labels = "annotations",
        /// When the API server stored it first; an unreadable time is 1970.
        creation_timestamp: Option<Timestamp> = "creationTimestamp",
        /// When it is to be gone; there as soon as somebody asked for its deletion.
        deletion_timestamp: Option<Timestamp> = "deletionTimestamp",
        /// Who made it.
        owners: Vec<Owner> = "ownerReferences",
    }
}

object! {
    /// Another object that this one belongs to.
    pub struct Owner {
        /// `Job`, `ReplicaSet`, `DaemonSet`, …
        kind: String = "kind",
        /// Its name.
        name: String = "name",
        /// Its identity.
        uid: String = "uid",
        /// Whether it is the one that manages this object.
        controller: bool = "controller",
    }
}

impl Metadata {
    /// The owner that manages this object, if one does.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// `namespace/name`, or the name alone.
    pub fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

words! {
    /// How a requirement compares.
    pub enum Operator {
        /// The label has one of the values.
        In = "In",
        /// The label has none of the values, or is not there.
        NotIn = "NotIn",
        /// The label is there.
        Exists = "Exists",
        /// The label is not there.
        DoesNotExist = "DoesNotExist",
        /// The label is a whole number above the value.
        Gt = "Gt",
        /// The label is a whole number below the value.
        Lt = "Lt",
    }
}

object! {
    /// A condition on one label, or on one field of a node.
    pub struct Requirement {
        /// The label.
        key: String = "key",
        /// The comparison.
        operator: Operator = "operator",
        /// With what.
        values: Vec<String> = "values",
    }
}

object! {
    /// Which objects, by their labels. Empty selects all; where it is optional, none selects nothing.
    pub struct LabelSelector {
        /// Labels with exactly these values.
        match_labels: Labels = "matchLabels",
        /// And all of these.
        match_expressions: Vec<Requirement> = "matchExpressions",
    }
}

object! {
    /// A namespace; its labels count in the affinity of pods.
    pub struct Namespace {
        /// Name and labels.
        metadata: Metadata = "metadata",
    }
}

object! {
    /// A pod that runs once on every node that it suits.
    pub struct DaemonSet {
        /// Identity.
        metadata: Metadata = "metadata",
        /// The rest.
        spec: DaemonSetSpec = "spec",
    }
}

object! {
    /// What a DaemonSet runs.
    pub struct DaemonSetSpec {
        /// The pods.
        template: PodTemplate = "template",
    }
}

object! {
    /// Pods to be.
    pub struct PodTemplate {
        /// Their labels.
        metadata: Metadata = "metadata",
        /// What they run.
        spec: super::PodSpec = "spec",
    }
}

object! {
    /// How many pods of a kind may be evicted.
    pub struct DisruptionBudget {
        /// Identity.
        metadata: Metadata = "metadata",
        /// Which pods.
        spec: DisruptionBudgetSpec = "spec",
        /// How many now.
        status: DisruptionBudgetStatus = "status",
    }
}

object! {
    /// Which pods a budget guards. Its numbers are judged by the disruption controller: the status has the result.
    pub struct DisruptionBudgetSpec {
        /// None selects nothing, empty selects all pods of the namespace.
        selector: Option<LabelSelector> = "selector",
    }
}

object! {
    /// The state of a budget, as the disruption controller counted it.
    pub struct DisruptionBudgetStatus {
        /// How many evictions are allowed now.
        disruptions_allowed: i64 = "disruptionsAllowed",
        /// Healthy pods.
        current_healthy: i64 = "currentHealthy",
        /// Healthy pods that must stay.
        desired_healthy: i64 = "desiredHealthy",
    }
}
