//! Observed time: how long each row has been asked for, seen, missing, booting.
//!
//! Each pass with a complete list adds `clamp(now − last pass, 0, 30 s)`; a new process starts at zero. So neither
//! a night without the tool nor a wrong clock ages anything. Never saved.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::ledger::{Ledger, Phase};
use crate::names::MachineName;

/// The most that one pass adds: a pass that comes later than this was not watching.
const PASS_MAX: Duration = Duration::from_secs(30);

/// The ages of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Age {
    /// Since the cloud was last asked to make it; `None`: not asked by this process, and born in it.
    pub asked: Option<Duration>,
    /// Since it was last in a list; `None`: never seen by this process.
    pub seen: Option<Duration>,
    /// In Creating and Configuring, without the time that it waited for another machine.
    pub boot: Duration,
    /// Ready and running, but its Node known to be missing or not ready.
    pub node: Duration,
    /// In the phase below; [`within`](Self::within) reads it.
    pub phase: Duration,
    /// The phase that the row had in the last pass.
    pub in_phase: Option<Phase>,
}

impl Age {
    /// How long the row has been in this phase; zero if it is only about to be.
    pub fn within(&self, phase: Phase) -> Duration {
        if self.in_phase == Some(phase) { self.phase } else { Duration::ZERO }
    }
    /// The same age, in this phase for so long.
    #[must_use]
    pub fn having(self, phase: Phase, time: Duration) -> Self {
        Self { phase: time, in_phase: Some(phase), ..self }
    }
}

/// The ages of all rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ages {
    last: Option<Timestamp>,
    watched: Duration,
    rows: BTreeMap<MachineName, Age>,
}

/// What one pass saw, as far as ages go.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// Rows whose machine is in the list.
    pub listed: BTreeSet<MachineName>,
    /// Rows that wait for another machine: their boot does not age.
    pub paused: BTreeSet<MachineName>,
    /// Rows whose Node is known to be missing or not ready while their machine runs.
    pub nodeless: BTreeSet<MachineName>,
}

impl Ages {
    /// For a ledger that another process wrote: any of its rows may have been asked for or seen just now.
    pub fn resume(ledger: &Ledger) -> Self {
        let zero = Some(Duration::ZERO);
        let age = |phase| Age { asked: zero, seen: zero, in_phase: Some(phase), ..Age::default() };
        let rows = ledger.rows().iter().map(|(name, row)| (name.clone(), age(row.phase()))).collect();
        Self { last: None, watched: Duration::ZERO, rows }
    }

    /// The ages of a row; all zero for one that is new.
    pub fn of(&self, name: &MachineName) -> Age {
        self.rows.get(name).copied().unwrap_or_default()
    }

    /// How long this process has watched.
    pub fn watched(&self) -> Duration {
        self.watched
    }

    /// The cloud is being asked for this machine now.
    pub fn ask(&mut self, name: &MachineName) {
        self.rows.entry(name.clone()).or_default().asked = Some(Duration::ZERO);
    }

    /// One pass with a complete list.
    pub fn pass(&mut self, now: Timestamp, ledger: &Ledger, sight: &Sight) {
        let passed = self.last.map_or(0, |last| now.duration_since(last).as_millis());
        let passed = Duration::from_millis(u64::try_from(passed).unwrap_or(0)).min(PASS_MAX);
        self.last = Some(now);
        self.watched += passed;
        self.rows.retain(|name, _| ledger.row(name).is_some());
        for (name, row) in ledger.rows() {
            let age = self.rows.entry(name.clone()).or_default();
            let phase = row.phase();
            age.asked = age.asked.map(|asked| asked + passed);
            age.seen = if sight.listed.contains(name) {
                Some(Duration::ZERO)
            } else {
                age.seen.map(|seen| seen + passed)
            };
            age.phase = if age.in_phase == Some(phase) { age.phase + passed } else { Duration::ZERO };
            age.in_phase = Some(phase);
            match (phase.boots(), sight.paused.contains(name)) {
                (true, false) => age.boot += passed,
                (true, true) => {}
                (false, _) => age.boot = Duration::ZERO,
            }
            age.node = if sight.nodeless.contains(name) { age.node + passed } else { Duration::ZERO };
        }
    }

    /// For tables of tests: the ages of one row as given.
    pub fn set(&mut self, name: &MachineName, age: Age) {
        self.rows.insert(name.clone(), age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{CloudId, ClusterId, LedgerId, MachineId, PoolName};
    use crate::provider::Owner;

    #[test]
    fn a_night_and_a_wrong_clock_age_nothing() {
        let mut ledger = Ledger::new(
            LedgerId::from("l1"),
            Owner::Cli,
            ClusterId::new("lab1-7k2m9qxa").unwrap(),
            CloudId::from("here"),
        );
        let name = MachineName::new("lab1-workers-1").unwrap();
        let new = crate::plan::fixtures::new_row(&PoolName::new("workers").unwrap());
        let start = Timestamp::from_second(1_000_000).unwrap();
        ledger.adopt(name.clone(), MachineId::from("m1"), new, start).unwrap();
        let mut ages = Ages::resume(&ledger);
        // A second of watching, a night's sleep, a clock set back by a day, another second.
        for second in [1_000_000, 1_000_001, 1_040_001, 953_601, 953_602] {
            ages.pass(Timestamp::from_second(second).unwrap(), &ledger, &Sight::default());
        }
        let expected = Duration::from_secs(1 + 30 + 1);
        assert_eq!((ages.of(&name).seen, ages.of(&name).boot), (Some(expected), expected));
    }
}
