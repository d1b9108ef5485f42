//! The transitions: every way in which a ledger changes.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Backoff, Born, Closing, Done, Leaving, Ledger, NewRow, Phase, Row, backoff_key, kept, steps_hash,
};
use crate::names::{MachineId, MachineName, NameError};
use crate::spec::{Role, Step};

/// A transition that the phases do not allow: a mistake of the caller, never of the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// There is no such row.
    #[error("{0} has no row in the ledger")]
    NoRow(MachineName),
    /// The name has a row already.
    #[error("{0} has a row in the ledger already")]
    Taken(MachineName),
    /// The phase has no such arrow.
    #[error("{machine} is {from}: it cannot become {to}")]
    Arrow {
        /// The machine.
        machine: MachineName,
        /// What it is.
        from: Phase,
        /// What it should have become.
        to: &'static str,
    },
    /// The names do not make a machine name.
    #[error("machine name {0}")]
    Name(#[from] NameError),
}

/// Phases with [`Phase::is_live`].
const LIVE: [Phase; 3] = [Phase::Creating, Phase::Configuring, Phase::Ready];

impl Ledger {
    fn at(&mut self, name: &MachineName, from: &[Phase], to: &'static str) -> Result<&mut Row, Illegal> {
        let row = self.rows.get_mut(name).ok_or_else(|| Illegal::NoRow(name.clone()))?;
        if from.contains(&row.phase) {
            Ok(row)
        } else {
            Err(Illegal::Arrow { machine: name.clone(), from: row.phase, to })
        }
    }

    /// Adds a row with a fresh ordinal; returns its name.
    pub fn add(&mut self, new: NewRow, now: Timestamp) -> Result<MachineName, Illegal> {
        let cluster = self.cluster.name().ok_or_else(|| crate::names::NameError {
            reason: format!("of cluster id {}: it has no name in front of its random part", self.cluster),
        })?;
        let name = MachineName::of(&cluster, &new.pool, self.next_ordinal)?;
        let born = Born { at: now, ordinal: self.next_ordinal };
        self.insert(name.clone(), born, new, Phase::Creating, None)?;
        Ok(name)
    }

    /// Takes in a machine that is ours but has no row. It begins with its first step: the checks of done
    /// steps make them no-ops.
    pub fn adopt(
        &mut self,
        name: MachineName,
        id: MachineId,
        new: NewRow,
        at: Timestamp,
    ) -> Result<(), Illegal> {
        let ordinal = name.ordinal().unwrap_or(self.next_ordinal);
        let front_end = new.role == Role::FrontEnd;
        self.insert(name.clone(), Born { at, ordinal }, new, Phase::Configuring, Some(id))?;
        // Whether it ever was Ready nobody remembers. A front-end that was holds what cannot be made again, so one that
        // may have been is treated as one.
        if let Some(row) = self.rows.get_mut(&name).filter(|_| front_end) {
            row.was_ready = true;
        }
        Ok(())
    }

    fn insert(
        &mut self,
        name: MachineName,
        born: Born,
        new: NewRow,
        phase: Phase,
        machine: Option<MachineId>,
    ) -> Result<(), Illegal> {
        if self.rows.contains_key(&name) {
            return Err(Illegal::Taken(name));
        }
        self.next_ordinal = self.next_ordinal.max(born.ordinal + 1);
        let NewRow { pool, role, shape, image, zone, expose, expires } = new;
        let row = Row {
            pool,
            role,
            born,
            shape,
            image,
            zone,
            expose,
            expires,
            phase,
            machine,
            done: Done::Steps(BTreeMap::new()),
            was_ready: false,
            rejoined: false,
            restarted: false,
            host_key_rotated: false,
            tries: 0,
            leaving: None,
        };
        self.rows.insert(name, row);
        Ok(())
    }

    /// Records the machine's id at first sight; later sights change nothing.
    pub fn sight(&mut self, name: &MachineName, id: &MachineId) -> Result<(), Illegal> {
        let row = self.rows.get_mut(name).ok_or_else(|| Illegal::NoRow(name.clone()))?;
        row.machine.get_or_insert_with(|| id.clone());
        Ok(())
    }

    /// The machine is there: Creating becomes Configuring.
    pub fn configure(&mut self, name: &MachineName) -> Result<(), Illegal> {
        self.at(name, &[Phase::Creating], "Configuring")?.phase = Phase::Configuring;
        Ok(())
    }

    /// A step is behind it.
    pub fn step_done(&mut self, name: &MachineName, step: &Step) -> Result<(), Illegal> {
        let row = self.at(name, &[Phase::Configuring], "further configured")?;
        if let Done::Steps(done) = &mut row.done {
            done.insert(step.id.clone(), kept(&step.hash));
        }
        Ok(())
    }

    /// Its next step failed once more.
    pub fn step_failed(&mut self, name: &MachineName) -> Result<(), Illegal> {
        let row = self.at(name, &[Phase::Configuring], "tried again")?;
        row.tries = row.tries.saturating_add(1);
        Ok(())
    }

    /// The second host key is in place.
    pub fn host_key_replaced(&mut self, name: &MachineName) -> Result<(), Illegal> {
        let row = self.rows.get_mut(name).ok_or_else(|| Illegal::NoRow(name.clone()))?;
        row.host_key_rotated = true;
        Ok(())
    }

    /// All steps are done: Configuring becomes Ready, its list of steps one hash, and what held its
    /// pool, shape and zone back is over.
    pub fn ready(&mut self, name: &MachineName, steps: &[Step]) -> Result<(), Illegal> {
        let row = self.at(name, &[Phase::Configuring], "Ready")?;
        row.phase = Phase::Ready;
        row.done = Done::All(steps_hash(steps));
        row.was_ready = true;
        let key = backoff_key(&row.pool, &row.shape.name, row.zone.as_ref());
        self.backoff.remove(&key);
        Ok(())
    }

    /// A Ready machine was given what these steps would have done: it is no longer behind its recipes.
    pub fn reconfigured(&mut self, name: &MachineName, steps: &[Step]) -> Result<(), Illegal> {
        let row = self.at(name, &[Phase::Ready], "Ready")?;
        row.done = Done::All(steps_hash(steps));
        Ok(())
    }

    /// Its Node is missing: Ready becomes Configuring with `again` to do once more, all else done.
    pub fn rejoin(&mut self, name: &MachineName, steps: &[Step], again: &Step) -> Result<(), Illegal> {
        let row = self.at(name, &[Phase::Ready], "Configuring")?;
        let kept_steps = steps.iter().filter(|step| step.id != again.id);
        row.done = Done::Steps(kept_steps.map(|step| (step.id.clone(), kept(&step.hash))).collect());
        row.phase = Phase::Configuring;
        row.rejoined = true;
        // The machine keeps the result of the join step's unit: the second run needs a unit of its own.
        row.tries = row.tries.saturating_add(1);
        Ok(())
    }

    /// Its machine is being started from its disk: its Node's last word is from before.
    pub fn restart(&mut self, name: &MachineName) -> Result<(), Illegal> {
        self.at(name, &LIVE, "started again")?.restarted = true;
        Ok(())
    }

    /// Its Node is Ready, and has said so itself since the last start: an earlier start or second join counts no more.
    pub fn node_is_ready(&mut self, name: &MachineName) -> Result<(), Illegal> {
        let row = self.at(name, &[Phase::Ready], "confirmed")?;
        (row.rejoined, row.restarted) = (false, false);
        Ok(())
    }

    /// A live row becomes Draining.
    pub fn drain(&mut self, name: &MachineName, why: Leaving) -> Result<(), Illegal> {
        let row = self.at(name, &LIVE, "Draining")?;
        row.phase = Phase::Draining;
        row.leaving = Some(why);
        Ok(())
    }

    /// Draining is called off: back to Ready, or to its steps if it never was.
    pub fn undrain(&mut self, name: &MachineName) -> Result<(), Illegal> {
        let row = self.at(name, &[Phase::Draining], "Ready")?;
        let all = matches!(row.done, Done::All(_));
        row.phase = if all {
            Phase::Ready
        } else if row.machine.is_some() {
            Phase::Configuring
        } else {
            Phase::Creating
        };
        row.leaving = None;
        Ok(())
    }

    /// Any row becomes Deleting. The first reason stays: it is the one that tells what happened.
    pub fn delete(&mut self, name: &MachineName, why: Leaving) -> Result<(), Illegal> {
        let row = self.rows.get_mut(name).ok_or_else(|| Illegal::NoRow(name.clone()))?;
        row.phase = Phase::Deleting;
        row.leaving.get_or_insert(why);
        Ok(())
    }

    /// The cluster's front-end is given up by a person, and every worker with it: all of them become Deleting, in one
    /// step, so that no half of this decision can ever be saved. What was being deleted already keeps its reason.
    pub fn give_up_front_end(&mut self, name: &MachineName, what: String) -> Result<(), Illegal> {
        self.at(name, &LIVE, "given up")?;
        for (other, row) in self.rows.iter_mut().filter(|(_, row)| row.phase != Phase::Deleting) {
            row.phase = Phase::Deleting;
            row.leaving =
                Some(if other == name { Leaving::GivenUp(what.clone()) } else { Leaving::FrontEndGivenUp });
        }
        Ok(())
    }

    /// The machine is gone: the row goes too. Its ordinal is not used again.
    pub fn forget(&mut self, name: &MachineName) -> Result<(), Illegal> {
        self.at(name, &[Phase::Deleting], "forgotten")?;
        self.rows.remove(name);
        Ok(())
    }

    /// The cluster is being taken down. The first time counts.
    pub fn close(&mut self, closing: Closing) {
        self.closing.get_or_insert(closing);
    }

    /// The pool, shape and zone of a row failed by `count` more, if the row was born after the last failure:
    /// machines that were asked for together fail together, and that is one failure.
    pub fn fail(
        &mut self,
        name: &MachineName,
        why: String,
        now: Timestamp,
        count: u32,
    ) -> Result<(), Illegal> {
        let row = self.rows.get(name).ok_or_else(|| Illegal::NoRow(name.clone()))?;
        let entry = self.backoff.entry(backoff_key(&row.pool, &row.shape.name, row.zone.as_ref()));
        let fresh = Backoff { failures: 0, since: row.born.at, why: String::new() };
        let backoff = entry.or_insert(fresh);
        if backoff.failures == 0 || row.born.at > backoff.since {
            backoff.failures = backoff.failures.saturating_add(count);
            backoff.since = now;
        }
        backoff.why = why;
        Ok(())
    }

    /// A new attempt by a person: what failed before counts no more.
    pub fn clear_backoff(&mut self) {
        self.backoff.clear();
    }

    /// Notes that a machine was given up for lost, and drops what is older than an hour.
    pub fn note_destroyed(&mut self, now: Timestamp) {
        self.destroyed.retain(|at| now.duration_since(*at).as_secs() < 3600);
        self.destroyed.push(now);
    }
}

/// A difference between two ledgers, for people and for the events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A new row.
    Added(MachineName, Phase),
    /// Another phase.
    Phase(MachineName, Phase, Phase, Option<Leaving>),
    /// The row is gone.
    Forgotten(MachineName),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(name, phase) => write!(f, "row {name}: new, {phase}"),
            Self::Phase(name, from, to, None) => write!(f, "row {name}: {from} -> {to}"),
            Self::Phase(name, from, to, Some(why)) => write!(f, "row {name}: {from} -> {to} ({why})"),
            Self::Forgotten(name) => write!(f, "row {name}: forgotten"),
        }
    }
}

/// What differs between two ledgers' rows, by name.
pub fn changes(before: &Ledger, after: &Ledger) -> Vec<Change> {
    let mut found = Vec::new();
    for (name, row) in &after.rows {
        match before.rows.get(name) {
            None => found.push(Change::Added(name.clone(), row.phase)),
            Some(was) if was.phase != row.phase => {
                found.push(Change::Phase(name.clone(), was.phase, row.phase, row.leaving.clone()));
            }
            Some(_) => {}
        }
    }
    for name in before.rows.keys().filter(|name| !after.rows.contains_key(*name)) {
        found.push(Change::Forgotten(name.clone()));
    }
    found
}
