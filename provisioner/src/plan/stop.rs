//! What ends a run: nothing is started any more, and a person decides.

use std::fmt;

use serde::Serialize;

use crate::duration::short;
use crate::ledger::Ledger;
use crate::names::{CloudId, ClusterId, LedgerId, MachineName, PoolName, StepId};
use std::time::Duration;

/// Why the engine stops. The text names what is lost or wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Stop {
    /// A front-end is gone for good, and what it held with it.
    FrontEndLost {
        /// The machine.
        name: MachineName,
        /// What happened to it.
        why: String,
        /// Whether other front-ends have the same data.
        others: bool,
    },
    /// A front-end that holds the cluster's data is above its pool's size.
    FrontEndSurplus {
        /// The machine.
        name: MachineName,
    },
    /// Machines of this cluster's name belong to another cluster id.
    NameClash {
        /// The other id.
        other: ClusterId,
        /// Its machines.
        machines: Vec<MachineName>,
    },
    /// Machines of this owner belong to another ledger.
    OtherLedger {
        /// The other ledger.
        other: LedgerId,
        /// Its machines.
        machines: Vec<MachineName>,
    },
    /// The ledger was written for another cloud.
    WrongCloud {
        /// The ledger's.
        ledger: CloudId,
        /// The one that answers.
        seen: CloudId,
    },
    /// Too many machines are gone at once.
    Vanished {
        /// Which.
        machines: Vec<MachineName>,
        /// Of how many.
        of: usize,
    },
    /// Machines are not in the list, and the cluster's network is not there either.
    NoGround {
        /// Which.
        machines: Vec<MachineName>,
        /// Of how many.
        of: usize,
    },
    /// The cluster is being taken down.
    Closing {
        /// Since when.
        since: jiff::Timestamp,
    },
    /// Every shape and zone of a pool failed again and again.
    GivenUp {
        /// The pool.
        pool: PoolName,
        /// The cloud's last words.
        why: String,
    },
    /// A front-end runs but its node does not become Ready.
    NodeNotReady {
        /// The machine.
        name: MachineName,
        /// Why not.
        why: String,
        /// For how long.
        since: Duration,
    },
    /// A step failed as often as it is tried.
    StepFailed {
        /// The machine.
        name: MachineName,
        /// The step.
        step: StepId,
        /// How it ended.
        why: String,
        /// The last lines of its output.
        tail: Vec<String>,
    },
    /// A job on a machine failed in a way that does not pass.
    JobFailed {
        /// The machine.
        name: MachineName,
        /// What was done.
        what: String,
        /// The chain of errors, in words.
        why: String,
    },
    /// The network that the machines stand on could not be made.
    Scaffold {
        /// The cluster.
        cluster: ClusterId,
        /// The cloud's words.
        why: String,
    },
    /// The ledger does not allow what the plan wanted: a defect of this program.
    Defect {
        /// What.
        why: String,
    },
}

impl Stop {
    /// A cluster that is being taken down is not built any further.
    pub fn closing(ledger: &Ledger) -> Option<Self> {
        ledger.closing.as_ref().map(|closing| Self::Closing { since: closing.at })
    }
}

fn list(machines: &[MachineName]) -> String {
    // Enough to recognise the cluster, few enough for one line.
    const SHOWN: usize = 8;
    let mut text = machines.iter().take(SHOWN).map(MachineName::as_str).collect::<Vec<_>>().join(", ");
    if machines.len() > SHOWN {
        text.push_str(&format!(" and {} more", machines.len() - SHOWN));
    }
    text
}

fn lost(f: &mut fmt::Formatter<'_>, name: &MachineName, why: &str, others: bool) -> fmt::Result {
    write!(f, "front-end {name} is lost ({why})")?;
    if others {
        return f.write_str(
            "; the other front-ends still hold the cluster's state; bring the machine back if you can, else remove its \
             etcd member and then the machine by hand",
        );
    }
    f.write_str(
        ", and with it the cluster's state: every Kubernetes object, certificate and token; bring the machine back if \
         you can, else `cluster up --rebuild-front-end` makes a new one and replaces every worker with it",
    )
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrontEndLost { name, why, others } => lost(f, name, why, *others),
            Self::FrontEndSurplus { name } => write!(
                f,
                "front-end {name} is more than was asked for, but holds cluster state; ask for as many front-ends \
                 as there are"
            ),
            Self::NameClash { other, machines } => write!(
                f,
                "another cluster of this name is there: {} of cluster id {other}; choose another name, take that one over \
                 with `continuum cluster adopt`, or take it down first",
                list(machines)
            ),
            Self::OtherLedger { other, machines } => write!(
                f,
                "{} belong to ledger {other}, not to this one: another computer or folder manages them; use that one, \
                 or take them over with `continuum cluster adopt`",
                list(machines)
            ),
            Self::WrongCloud { ledger, seen } => write!(
                f,
                "the ledger is for cloud {ledger}, but {seen} answers; check the provider's settings in the cluster file"
            ),
            Self::Vanished { machines, of } => write!(
                f,
                "{} of {of} machines are gone together, though nobody here deleted them: {}; check the cloud; if \
                 they are really lost, say so with `--accept-lost`",
                machines.len(),
                list(machines)
            ),
            Self::NoGround { machines, of } => write!(
                f,
                "the cluster's network is not in this cloud, and neither are {} of {of} machines: {}; was it taken \
                 down from another computer, or is this another cloud? the same command again asks for each \
                 machine; `cluster down` forgets them",
                machines.len(),
                list(machines)
            ),
            Self::Closing { since } => write!(
                f,
                "the cluster is being taken down since {since}; end that first, with `cluster down`"
            ),
            Self::GivenUp { pool, why } => write!(
                f,
                "no machine of pool {pool} could be made, in any of its shapes and zones: {why}; ask for another \
                 shape or zone, or try again later"
            ),
            Self::NodeNotReady { name, why, since } => {
                write!(
                    f,
                    "the node of front-end {name} is not ready after {}: {why}; look at the machine, and if it cannot \
                     be mended, `cluster up --rebuild-front-end` makes a new one and replaces every worker with it",
                    short(*since)
                )
            }
            Self::StepFailed { name, step, why, .. } => write!(f, "step {step} failed on {name}: {why}"),
            Self::JobFailed { name, what, why } => write!(f, "{what} failed for {name}: {why}"),
            Self::Scaffold { cluster, why } => {
                write!(f, "the network of cluster {cluster} could not be made: {why}")
            }
            Self::Defect { why } => write!(f, "the engine contradicts itself: {why}; please report this"),
        }
    }
}
