//! What is told of a story: a timeline for people, and an account of what it cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use provisioner::names::MachineName;

use crate::decide::{Subject, Wait};

/// What a story cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// From the first arrival to the end of the last job, in milliseconds.
    pub makespan: i64,
    /// From the create call of each machine until it is gone, or the story ends, in milliseconds.
    pub machine_time: i64,
    /// Of that what machines cost that never ran a pod.
    pub wasted: i64,
    /// Machines that never ran a pod.
    pub wasted_machines: usize,
    /// The most machines at one time.
    pub peak: usize,
    /// Jobs that ended.
    pub jobs: usize,
    /// Pods that still wait at the end.
    pub waiting: usize,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = |millis: i64| millis / 1000;
        write!(
            f,
            "{} jobs in {} s; {} machine-seconds, {} of them wasted on {} machines; at most {} machines",
            self.jobs,
            secs(self.makespan),
            secs(self.machine_time),
            secs(self.wasted),
            self.wasted_machines,
            self.peak
        )?;
        if self.waiting > 0 {
            write!(f, "; {} pods wait", self.waiting)?;
        }
        Ok(())
    }
}

/// One machine's life, for the account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) created: i64,
    pub(super) gone: Option<i64>,
    /// Whether a pod ever ran on it.
    pub(super) ran: bool,
}

/// The timeline in the making.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) lines: Vec<String>,
    said: BTreeSet<String>,
    pub(super) jobs: usize,
    pub(super) first: Option<i64>,
    pub(super) last: i64,
}

impl Log {
    pub(super) fn say(&mut self, at: i64, what: impl fmt::Display) {
        self.lines.push(format!("{:>6}.{}s  {what}", at / 1000, at % 1000 / 100));
    }

    /// Waits are told when they begin, not at every pass.
    pub(super) fn waits(&mut self, at: i64, waits: &[Wait]) {
        let key = |wait: &Wait| match &wait.subject {
            Subject::Pods(..) => wait.why.word().to_owned(),
            other => format!("{} {other}", wait.why.word()),
        };
        for wait in waits {
            if !self.said.contains(&key(wait)) {
                self.say(at, format_args!("wait: {wait}"));
            }
        }
        self.said = waits.iter().map(key).collect();
    }

    pub(super) fn account(&self, lives: &BTreeMap<MachineName, Life>, end: i64, waiting: usize) -> Account {
        let cost = |life: &Life| life.gone.unwrap_or(end).min(end) - life.created;
        let idle = || lives.values().filter(|life| !life.ran);
        let alive = |at: i64| {
            lives.values().filter(|life| life.created <= at && life.gone.is_none_or(|gone| gone > at)).count()
        };
        Account {
            makespan: self.last - self.first.unwrap_or(0).min(self.last),
            machine_time: lives.values().map(cost).sum(),
            wasted: idle().map(cost).sum(),
            wasted_machines: idle().count(),
            peak: lives.values().map(|life| alive(life.created)).max().unwrap_or(0),
            jobs: self.jobs,
            waiting,
        }
    }
}
