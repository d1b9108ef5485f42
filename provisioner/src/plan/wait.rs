//! Why something does not happen now: every wait has a reason that a user can read.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::duration::short;
use crate::names::{MachineName, PoolName, StepId};

/// Something that is not done yet, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// Who waits.
    pub subject: Subject,
    /// For what.
    pub reason: Reason,
    /// Observed time since when.
    pub since: Duration,
    /// After how long something else happens.
    pub limit: Option<Duration>,
}

/// Who waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
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
pub enum Reason {
    /// A job runs.
    Job {
        /// What it does.
        what: String,
    },
    /// The last job failed in a way that passes; the next try comes soon.
    Retry {
        /// What failed.
        why: String,
    },
    /// The cloud was asked and does not list it yet.
    NotListed,
    /// The machine is being made or boots.
    Booting,
    /// The machine was stopped and is starting.
    Starting,
    /// A step must be done on a front-end first.
    Step {
        /// The step.
        step: StepId,
        /// The front-end that has it to do, if there is one.
        on: Option<MachineName>,
    },
    /// No front-end answers yet that could be asked or told.
    FrontEnd,
    /// Its node is not there or not Ready.
    Node {
        /// Why not.
        why: String,
    },
    /// The nodes are not known.
    NodesUnknown {
        /// Why not.
        why: String,
    },
    /// It is not in the list, which is no evidence that it is gone.
    Missing {
        /// What else is known.
        why: String,
    },
    /// A front-end goes after the machines that it empties.
    Last,
    /// It is being deleted.
    Deleting,
    /// Another machine of the same name is being deleted first.
    Duplicate,
    /// Every shape and zone failed lately.
    Backoff {
        /// The last words.
        why: String,
    },
    /// Machines were given up for lost too often within an hour.
    Budget {
        /// What it would be given up for.
        why: String,
    },
    /// The daemon's pool has fewer Ready nodes than its minimum.
    Minimum {
        /// Ready.
        have: u32,
        /// At least.
        want: u32,
    },
    /// Machines of others fill the pool.
    Full {
        /// At most.
        max: u32,
    },
    /// The cloud does not answer.
    Cloud {
        /// Its words.
        why: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(name) => f.pad(name.as_str()),
            Self::Pool(name) => write!(f, "pool {name}"),
            Self::Cluster => f.pad("cluster"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job { what } => write!(f, "{what} runs"),
            Self::Retry { why } => write!(f, "will be tried again: {why}"),
            Self::NotListed => f.write_str("asked for, not listed yet"),
            Self::Booting => f.write_str("boots"),
            Self::Starting => f.write_str("starts from its disk"),
            Self::Step { step, on: Some(on) } => write!(f, "waits for {step} on {on}"),
            Self::Step { step, on: None } => write!(f, "waits for {step} on a front-end"),
            Self::FrontEnd => f.write_str("waits for a front-end that answers"),
            Self::Node { why } => write!(f, "its node is not ready: {why}"),
            Self::NodesUnknown { why } => write!(f, "nodes are not known: {why}"),
            Self::Missing { why } => write!(f, "not in the cloud's list: {why}"),
            Self::Last => f.write_str("goes last, after the machines that it empties"),
            Self::Deleting => f.write_str("is being deleted"),
            Self::Duplicate => f.write_str("another machine of this name is deleted first"),
            Self::Backoff { why } => write!(f, "tries again later: {why}"),
            Self::Budget { why } => {
                write!(f, "too many machines were lost within an hour to replace one more: {why}")
            }
            Self::Minimum { have, want } => write!(f, "{have} of at least {want} nodes are ready"),
            Self::Full { max } => write!(f, "has its maximum of {max} machines, others' among them"),
            Self::Cloud { why } => write!(f, "the cloud does not answer: {why}"),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}", self.subject, self.reason, short(self.since))?;
        match self.limit {
            Some(limit) => write!(f, " of {})", short(limit)),
            None => f.write_str(")"),
        }
    }
}
