//! Whether a pod may be moved: Cluster Autoscaler's rules, in their order, and both families of annotations.
//!
//! Two rules are stricter: a running Job is not restarted to save a node unless it says that it may be, and a budget holds also
//! for pods that say so. Budgets are tracked over a whole plan (`guards.rs`).

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::view::Pod;

const SAFE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
const SAFE_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
const DAEMON: &str = "cluster-autoscaler.kubernetes.io/daemonset-pod";
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// How much longer than its grace a pod may take to end before it no longer counts, in seconds; Cluster Autoscaler's.
const LONG_TERMINATING: i64 = 30;
/// How long a pod of the system without a budget keeps its node, in seconds; Cluster Autoscaler's.
const SYSTEM: i64 = 3600;

/// What is to become of a pod whose node goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to its node, or has ended: it does not count.
    Ignored,
    /// It is ending already.
    Ends,
    /// It may be moved.
    Moves,
    /// It may not.
    Stays(Hold),
}

/// Why a pod may not be moved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "hold", rename_all = "kebab-case")]
pub enum Hold {
    /// It says that it wants to end by itself.
    OnCompletion,
    /// It says that it must not be moved.
    NotSafe {
        /// By which annotation.
        annotation: String,
    },
    /// Nothing would make it again.
    Bare,
    /// What made it may not make it again.
    Controller {
        /// Its kind.
        kind: String,
    },
    /// A Job would begin again.
    Job,
    /// A young pod of the system without a budget.
    System,
    /// Data that only this node has.
    LocalStorage {
        /// The volume.
        volume: String,
    },
    /// A budget that is used up.
    Budget {
        /// `namespace/name`.
        budget: String,
    },
    /// Two budgets, which no eviction gets past.
    Budgets {
        /// Both.
        budgets: Vec<String>,
    },
}

impl Hold {
    /// One word per kind, for metrics, logs and events.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::OnCompletion => "BlockedByOnCompletionPod",
            Self::NotSafe { .. } => "NotSafeToEvict",
            Self::Bare => "NotReplicated",
            Self::Controller { .. } => "CustomController",
            Self::Job => "RunningJob",
            Self::System => "SystemPod",
            Self::LocalStorage { .. } => "LocalStorage",
            Self::Budget { .. } => "DisruptionBudget",
            Self::Budgets { .. } => "TwoDisruptionBudgets",
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnCompletion => f.write_str("it is to end by itself"),
            Self::NotSafe { annotation } => write!(f, "its annotation {annotation} keeps it here"),
            Self::Bare => f.write_str("nothing would make it again"),
            Self::Controller { kind } => write!(f, "it belongs to a {kind}, which may not make it again"),
            Self::Job => f.write_str("a running Job would begin again"),
            Self::System => f.write_str("it is a young pod of the system without a disruption budget"),
            Self::LocalStorage { volume } => {
                write!(f, "the data of its volume {volume} are on this node only")
            }
            Self::Budget { budget } => write!(f, "the disruption budget {budget} allows no eviction now"),
            Self::Budgets { budgets } => {
                write!(
                    f,
                    "it has two disruption budgets, which no eviction gets past: {}",
                    budgets.join(", ")
                )
            }
        }
    }
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.get(key).map(String::as_str)
}

/// Whether a pod may be moved, budgets left out.
pub fn verdict(pod: &Pod, now: Timestamp) -> Verdict {
    if pod.is_mirror() {
        return Verdict::Ignored;
    }
    if let Some(end) = pod.metadata.deletion_timestamp {
        let late = now.duration_since(end).as_secs() > LONG_TERMINATING;
        return if late { Verdict::Ignored } else { Verdict::Ends };
    }
    let kind = pod.metadata.controller().map(|owner| owner.kind.as_str());
    if kind == Some("DaemonSet") || annotation(pod, DAEMON) == Some("true") || pod.is_over() {
        return Verdict::Ignored;
    }
    // What somebody said for this very pod: a wish to stay is stronger than leave to go.
    if let Some(hold) = disruption(pod, now) {
        return Verdict::Stays(hold);
    }
    match annotation(pod, SAFE) {
        Some("true") => return Verdict::Moves,
        Some("on-completion") => return Verdict::Stays(Hold::OnCompletion),
        _ => {}
    }
    let held = by_controller(kind)
        .or_else(|| system(pod, now))
        .or_else(|| not_safe(pod))
        .or_else(|| local_storage(pod));
    held.map_or(Verdict::Moves, Verdict::Stays)
}

/// `true` keeps it for ever, a duration keeps it while it is younger.
fn disruption(pod: &Pod, now: Timestamp) -> Option<Hold> {
    let value = annotation(pod, DO_NOT_DISRUPT)?;
    let holds = match provisioner::duration::parse(value) {
        Ok(span) => {
            let age = pod.metadata.creation_timestamp.map_or(0, |born| now.duration_since(born).as_secs());
            u64::try_from(age).unwrap_or(0) < span.as_secs()
        }
        Err(_) => value == "true",
    };
    holds.then(|| Hold::NotSafe { annotation: DO_NOT_DISRUPT.to_owned() })
}

fn not_safe(pod: &Pod) -> Option<Hold> {
    (annotation(pod, SAFE) == Some("false")).then(|| Hold::NotSafe { annotation: SAFE.to_owned() })
}

fn by_controller(kind: Option<&str>) -> Option<Hold> {
    match kind {
        None => Some(Hold::Bare),
        Some("ReplicaSet" | "ReplicationController" | "StatefulSet") => None,
        Some("Job") => Some(Hold::Job),
        Some(kind) => Some(Hold::Controller { kind: kind.to_owned() }),
    }
}

/// Budgets of the system's pods are looked at with all others; one without is protected while it is young.
fn system(pod: &Pod, now: Timestamp) -> Option<Hold> {
    let age = pod.metadata.creation_timestamp.map_or(0, |born| now.duration_since(born).as_secs());
    (pod.metadata.namespace == "kube-system" && age < SYSTEM).then_some(Hold::System)
}

fn local_storage(pod: &Pod) -> Option<Hold> {
    let safe: Vec<&str> =
        annotation(pod, SAFE_VOLUMES).unwrap_or_default().split(',').map(str::trim).collect();
    let is_local = |volume: &&crate::view::Volume| {
        volume.host_path.is_some() || volume.empty_dir.as_ref().is_some_and(|dir| dir.medium != "Memory")
    };
    let volumes = pod.spec.volumes.iter().filter(is_local);
    let mut lost = volumes.filter(|volume| !safe.contains(&volume.name.as_str()));
    lost.next().map(|volume| Hold::LocalStorage { volume: volume.name.clone() })
}
