//! Why something does not happen now: every wait has a reason that a user can read, and a word for machines.

use std::fmt;

use provisioner::names::{MachineName, PoolName};
use serde::Serialize;

use super::rules::Hold;
use crate::pack::Limit;

/// Something that does not happen now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// Who waits.
    pub subject: Subject,
    /// For what.
    pub why: Why,
}

/// Who waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// All pods that no scheduler could tell from this one, `namespace/name`, and how many they are.
    Pods(String, usize),
    /// A machine.
    Machine(MachineName),
    /// A pool.
    Pool(PoolName),
    /// All of it.
    Cluster,
}

/// For what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Why {
    /// The view may be old: nothing is decided on it.
    Stale {
        /// What is known.
        why: String,
    },
    /// The cluster is being taken down.
    Closing,
    /// A pod fits on nothing that could be bought: `explain` has the reasons.
    FitsNowhere,
    /// A pod could be helped, but for a limit.
    Limit {
        /// Which.
        limit: Limit,
    },
    /// Something that could help failed lately.
    Backoff {
        /// The last words.
        why: String,
        /// Seconds until the next try.
        secs: i64,
    },
    /// Room on what runs will be free before a new machine would be ready.
    SoonFree {
        /// Seconds that a new machine takes.
        boot_secs: u64,
    },
    /// So many nodes are not ready that something else is wrong: none is removed.
    Frozen {
        /// Not ready.
        not_ready: usize,
        /// Of so many.
        of: usize,
    },
    /// As many nodes were removed as may be within a minute or an hour.
    Budget {
        /// How many.
        removed: usize,
        /// In which time.
        within: &'static str,
    },
    /// The pool has its minimum.
    Minimum {
        /// How many.
        size: u32,
    },
    /// Somebody said that the node is to stay.
    Annotated {
        /// With which annotation.
        annotation: String,
    },
    /// Somebody cordoned the node: it is theirs.
    Cordoned,
    /// A pod keeps the node.
    Held {
        /// `namespace/name`.
        pod: String,
        /// Why.
        hold: Hold,
    },
    /// A pod of the node has no other place.
    NoPlace {
        /// `namespace/name`.
        pod: String,
    },
    /// The drain was called off: pods want the node.
    Wanted,
    /// Pods have still to go.
    Draining {
        /// How many.
        pods: usize,
    },
    /// The drain took too long and was called off.
    DrainTimeout,
    /// A new row could not be made, or a transition was refused: a mistake of this program.
    Defect {
        /// Its words.
        why: String,
    },
}

impl Why {
    /// One word per kind, for metrics, logs and events.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Stale { .. } => "StaleView",
            Self::Closing => "Closing",
            Self::FitsNowhere => "FitsNowhere",
            Self::Limit { limit } => limit.word(),
            Self::Backoff { .. } => "Backoff",
            Self::SoonFree { .. } => "SoonFree",
            Self::Frozen { .. } => "Frozen",
            Self::Budget { .. } => "DestructionBudget",
            Self::Minimum { .. } => "PoolMinimum",
            Self::Annotated { .. } => "ScaleDownDisabledAnnotation",
            Self::Cordoned => "Unschedulable",
            Self::Held { hold, .. } => hold.word(),
            Self::NoPlace { .. } => "NoPlaceToMovePods",
            Self::Wanted => "Wanted",
            Self::Draining { .. } => "Draining",
            Self::DrainTimeout => "DrainTimeout",
            Self::Defect { .. } => "Defect",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods(one, 1) => write!(f, "pod {one}"),
            Self::Pods(one, count) => write!(f, "pod {one} and {} like it", count - 1),
            Self::Machine(name) => write!(f, "{name}"),
            Self::Pool(name) => write!(f, "pool {name}"),
            Self::Cluster => f.write_str("cluster"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { why } => write!(f, "nothing is decided, the view may be old: {why}"),
            Self::Closing => f.write_str("the cluster is being taken down"),
            Self::FitsNowhere => f.write_str("fits on nothing that could be added"),
            Self::Limit { limit } => limit.fmt(f),
            Self::Backoff { why, secs } => {
                write!(f, "what may take it failed lately and is tried again in {secs}s: {why}")
            }
            Self::SoonFree { boot_secs } => {
                write!(f, "room will be free within the {boot_secs}s that a new machine takes")
            }
            Self::Frozen { not_ready, of } => {
                write!(
                    f,
                    "{not_ready} of {of} nodes are not ready: none is removed before that is understood"
                )
            }
            Self::Budget { removed, within } => write!(f, "{removed} nodes were removed within {within}"),
            Self::Minimum { size } => write!(f, "the pool has its minimum of {size}"),
            Self::Annotated { annotation } => write!(f, "its annotation {annotation} keeps it"),
            Self::Cordoned => f.write_str("somebody cordoned it: it is theirs to remove"),
            Self::Held { pod, hold } => write!(f, "pod {pod}: {hold}"),
            Self::NoPlace { pod } => write!(f, "pod {pod} has no other place"),
            Self::Wanted => f.write_str("its drain is called off: pods want it"),
            Self::Draining { pods } => write!(f, "{pods} pods have still to go"),
            Self::DrainTimeout => f.write_str("its drain took too long and is called off"),
            Self::Defect { why } => write!(f, "a mistake of this program: {why}"),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.why)
    }
}
