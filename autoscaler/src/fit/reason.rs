//! Why a pod does not fit: one variant per kind of obstacle, with its numbers.
//!
//! [`Reason::word`] is the same word in logs, metrics, events and `explain`; `Display` is for people, and reads well after
//! "the pod does not fit on the node: ".

use std::fmt;

use super::resources::shown;
use crate::view::Taint;

/// Why a pod does not fit on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node does not exist.
    NoSuchNode {
        /// Its name.
        node: String,
    },
    /// Too little of a resource is free: thousandths of cpu, whole units of everything else.
    Resource {
        /// The resource.
        name: String,
        /// What the pod wants.
        wants: i64,
        /// What is free; negative where the node is overbooked.
        free: i64,
        /// What there is for pods in all.
        of: i64,
    },
    /// As many pods as the node takes.
    Pods {
        /// How many there are.
        used: usize,
        /// How many it takes.
        limit: i64,
    },
    /// Somebody still has to open a gate of the pod.
    Gated {
        /// The gates.
        gates: Vec<String>,
    },
    /// The pod insists on another node.
    OtherNode {
        /// Which.
        wants: String,
    },
    /// Cordoned.
    Cordoned,
    /// It is on its way out.
    Leaving,
    /// A taint that the pod does not tolerate.
    Tainted {
        /// `key=value:effect`.
        taint: String,
    },
    /// A label that the pod's node selector wants.
    Selector {
        /// The label.
        key: String,
        /// Its value.
        wants: String,
        /// What the node has.
        has: Option<String>,
    },
    /// No term of the pod's node affinity matches.
    NodeAffinity {
        /// For each term the first condition that fails, in words.
        terms: Vec<String>,
    },
    /// Another pod has the port.
    HostPort {
        /// `80/TCP`.
        port: String,
        /// Who has it.
        taken_by: String,
    },
    /// No pod that this one must be near.
    Affinity {
        /// The label that says what is near.
        key: String,
        /// Its value on this node; none if it has none.
        place: Option<String>,
    },
    /// A pod that this one must not be near.
    AntiAffinity {
        /// The label that says what is near.
        key: String,
        /// Its value on this node.
        place: String,
        /// How many.
        pods: i64,
    },
    /// A pod that does not want this one near.
    Repelled {
        /// The label that says what is near.
        key: String,
        /// Its value on this node.
        place: String,
        /// How many.
        pods: i64,
    },
    /// The node has no label that a spread needs.
    SpreadLabel {
        /// The label.
        key: String,
    },
    /// The pods would be spread too unevenly.
    Spread {
        /// The label that says what is one place.
        key: String,
        /// Its value on this node.
        place: String,
        /// Pods that would be here.
        here: i64,
        /// Pods in the emptiest place.
        least: i64,
        /// How far they may be apart.
        max_skew: i64,
    },
    /// A claim that nobody can use now.
    Claim {
        /// The claim.
        claim: String,
        /// What is wrong, in words.
        problem: String,
    },
    /// A volume that cannot be reached from this node.
    VolumePlace {
        /// The claim.
        claim: String,
        /// What is wrong, in words.
        problem: String,
    },
    /// As many volumes of a driver as the node takes.
    VolumeLimit {
        /// The driver.
        driver: String,
        /// New ones.
        wants: usize,
        /// Those that are attached.
        used: usize,
        /// How many it takes.
        limit: i64,
    },
    /// A disk that a pod of this node has.
    DiskConflict {
        /// The volume of the pod.
        volume: String,
        /// Who has it.
        taken_by: String,
    },
    /// The pod has a selector that no cluster would take: it matches nothing.
    BrokenSelector {
        /// Where.
        place: String,
        /// What is wrong, in words.
        problem: String,
    },
}

impl Reason {
    /// One word per kind, for metrics, logs and events.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoSuchNode { .. } => "NoSuchNode",
            Self::Resource { .. } => "InsufficientResource",
            Self::Pods { .. } => "TooManyPods",
            Self::Gated { .. } => "SchedulingGated",
            Self::OtherNode { .. } => "NodeName",
            Self::Cordoned => "Unschedulable",
            Self::Leaving => "Leaving",
            Self::Tainted { .. } => "UntoleratedTaint",
            Self::Selector { .. } => "NodeSelector",
            Self::NodeAffinity { .. } => "NodeAffinity",
            Self::HostPort { .. } => "HostPort",
            Self::Affinity { .. } => "PodAffinity",
            Self::AntiAffinity { .. } => "PodAntiAffinity",
            Self::Repelled { .. } => "ExistingAntiAffinity",
            Self::SpreadLabel { .. } => "TopologySpreadLabel",
            Self::Spread { .. } => "TopologySpread",
            Self::Claim { .. } => "Claim",
            Self::VolumePlace { .. } => "VolumeTopology",
            Self::VolumeLimit { .. } => "VolumeLimit",
            Self::DiskConflict { .. } => "DiskConflict",
            Self::BrokenSelector { .. } => "BrokenSelector",
        }
    }

    /// Whether the pod would not fit here even if every other pod were gone: a fresh node like this one would not help.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Resource { wants, of, .. } => *wants > *of,
            Self::Pods { limit, .. } => *limit < 1,
            Self::VolumeLimit { wants, limit, .. } => *wants as i64 > *limit,
            Self::HostPort { .. }
            | Self::AntiAffinity { .. }
            | Self::Repelled { .. }
            | Self::Affinity { .. }
            | Self::Spread { .. }
            | Self::DiskConflict { .. } => false,
            _ => true,
        }
    }

    pub(crate) fn tainted(taint: &Taint) -> Self {
        Self::Tainted { taint: taint.to_string() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNode { node } => write!(f, "there is no node {node}"),
            Self::Resource { name, wants, free, of } => {
                let [wants, free, of] = [*wants, *free, *of].map(|amount| shown(name, amount));
                write!(f, "it wants {wants} {name}, {free} of {of} is free")
            }
            Self::Pods { used, limit } => write!(f, "{used} pods run here, the node takes {limit}"),
            Self::Gated { gates } => write!(f, "it waits for the scheduling gate {}", gates.join(", ")),
            Self::OtherNode { wants } => write!(f, "it insists on the node {wants}"),
            Self::Cordoned => f.write_str("the node is cordoned"),
            Self::Leaving => f.write_str("the node is on its way out"),
            Self::Tainted { taint } => write!(f, "it does not tolerate the taint {taint}"),
            Self::Selector { key, wants, has: Some(has) } => {
                write!(f, "its node selector wants {key}={wants}, the node has {has}")
            }
            Self::Selector { key, wants, has: None } => {
                write!(f, "its node selector wants {key}={wants}, the node has no such label")
            }
            Self::NodeAffinity { terms } if terms.is_empty() => {
                f.write_str("its node affinity has no term, so it matches no node")
            }
            Self::NodeAffinity { terms } => write!(f, "its node affinity wants {}", terms.join("; or ")),
            Self::HostPort { port, taken_by } => {
                write!(f, "the port {port} of the node is taken by {taken_by}")
            }
            Self::Affinity { key, place: Some(place) } => {
                write!(f, "no pod that it must be near runs in {key}={place}")
            }
            Self::Affinity { key, place: None } => {
                write!(f, "the node has no label {key}, by which it must be near other pods")
            }
            Self::AntiAffinity { key, place, pods } => {
                write!(f, "pods that it must not be near run in {key}={place}: {pods}")
            }
            Self::Repelled { key, place, pods } => {
                write!(f, "pods that do not want it near run in {key}={place}: {pods}")
            }
            Self::SpreadLabel { key } => {
                write!(f, "the node has no label {key}, by which its pods are spread")
            }
            Self::Spread { key, place, here, least, max_skew } => write!(
                f,
                "its spread: {key}={place} would have {here}, the emptiest place has {least}, at most {max_skew} apart"
            ),
            Self::Claim { claim, problem } | Self::VolumePlace { claim, problem } => {
                write!(f, "the claim {claim} {problem}")
            }
            Self::VolumeLimit { driver, wants, used, limit } => {
                write!(f, "it wants {wants} more volumes of {driver}, {used} of {limit} are attached")
            }
            Self::DiskConflict { volume, taken_by } => {
                write!(f, "the disk of its volume {volume} is in use by {taken_by}")
            }
            Self::BrokenSelector { place, problem } => write!(f, "its {place} {problem}"),
        }
    }
}

/// Collects reasons, or only whether there is one: a packer asks a million times, people ask once.
pub(crate) struct Found {
    reasons: Option<Vec<Reason>>,
    any: bool,
}

impl Found {
    /// Every reason.
    pub(crate) const fn all() -> Self {
        Self { reasons: Some(Vec::new()), any: false }
    }

    /// Only whether there is one.
    pub(crate) const fn first() -> Self {
        Self { reasons: None, any: false }
    }

    pub(crate) fn add(&mut self, reason: impl FnOnce() -> Reason) {
        self.any = true;
        if let Some(reasons) = &mut self.reasons {
            reasons.push(reason());
        }
    }

    /// Nothing more need be looked at.
    pub(crate) const fn is_enough(&self) -> bool {
        self.any && self.reasons.is_none()
    }

    pub(crate) const fn any(&self) -> bool {
        self.any
    }

    pub(crate) fn into_result(self) -> Result<(), Vec<Reason>> {
        if self.any { Err(self.reasons.unwrap_or_default()) } else { Ok(()) }
    }
}
