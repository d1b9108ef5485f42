//! What happens while the engine works, for whoever wants to follow: lines, JSONL, a timeline.
//!
//! Events tell; they decide nothing. They hold no secret and no output of scripts but the last lines of a failed one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::ledger::{Change, Phase};
use crate::names::{MachineName, PoolName};
use crate::plan::{Stop, Wait};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The ledger's generation then.
    pub generation: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A pass made a plan that differs from the one before.
    Planned {
        /// Rows.
        rows: usize,
        /// Actions in the plan.
        actions: usize,
        /// Waits in the plan.
        waits: usize,
    },
    /// A new row.
    Added {
        /// The machine.
        machine: MachineName,
        /// Its pool.
        pool: PoolName,
    },
    /// A row has another phase.
    Phase {
        /// The machine.
        machine: MachineName,
        /// Its pool.
        pool: PoolName,
        /// Before.
        from: Phase,
        /// Now.
        to: Phase,
        /// Why, when it leaves.
        why: Option<String>,
    },
    /// A row is gone.
    Forgotten {
        /// The machine.
        machine: MachineName,
    },
    /// A job began.
    Started {
        /// The machine.
        machine: MachineName,
        /// Its pool, where it has a row.
        pool: Option<PoolName>,
        /// `create`, `kubernetes/init`, …
        job: String,
    },
    /// A job ended well.
    Finished {
        /// The machine.
        machine: MachineName,
        /// Its pool, where it has a row.
        pool: Option<PoolName>,
        /// The job.
        job: String,
        /// How long it took.
        took: Duration,
        /// Whether it changed something, where the job says so.
        changed: Option<bool>,
    },
    /// A job ended badly.
    Failed {
        /// The machine.
        machine: MachineName,
        /// Its pool, where it has a row.
        pool: Option<PoolName>,
        /// The job.
        job: String,
        /// How long it took.
        took: Duration,
        /// Why, the chain of errors in words.
        why: String,
        /// The last lines of its output.
        tail: Vec<String>,
        /// Whether it will be tried again.
        again: bool,
    },
    /// The set of waits is another one; times are as of now.
    Waits {
        /// All of them.
        waits: Vec<Wait>,
    },
    /// Nothing is left to do.
    Settled {
        /// Since the run began.
        took: Duration,
    },
    /// Nothing is started any more.
    Stopped {
        /// Why.
        stop: Stop,
        /// The same as text.
        text: String,
    },
    /// A person asked to stop; what runs is finished.
    Interrupted {
        /// Jobs that still run.
        running: usize,
    },
}

/// Where events go. Called from the engine's task: must not block for long.
#[derive(Clone)]
pub struct Sink(Arc<dyn Fn(Event) + Send + Sync>);

impl Sink {
    /// Calls this for each event.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }
    /// Nobody listens.
    pub fn none() -> Self {
        Self::new(|_| {})
    }
    /// Tells.
    pub fn tell(&self, at: Timestamp, generation: u64, what: What) {
        (self.0)(Event { at, generation, what });
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

impl What {
    /// The event of a change of rows. `pool` is the row's.
    pub fn of(change: &Change, pool: impl Fn(&MachineName) -> Option<PoolName>) -> Option<Self> {
        Some(match change {
            Change::Added(machine, _) => Self::Added { pool: pool(machine)?, machine: machine.clone() },
            Change::Phase(machine, from, to, why) => Self::Phase {
                pool: pool(machine)?,
                machine: machine.clone(),
                from: *from,
                to: *to,
                why: why.as_ref().map(ToString::to_string),
            },
            Change::Forgotten(machine) => Self::Forgotten { machine: machine.clone() },
        })
    }
}
