//! `plan()`: what was asked for, what was decided and what was seen go in; the next ledger, the actions and
//! the waits come out.
//!
//! Pure: no clock, no I/O, no chance. Invariants: at most one action for each machine; missing information
//! leads to no deletion; a plan with a [`Stop`] changes nothing and does nothing; matching goes by ids.
//! ```text
//! stops ─► closing? ─► everything goes
//!     └──► adopt ─► surplus ─► recall ─► each row ─► vanished together? ─► deficit ─► Plan
//! ```

mod action;
mod closing;
mod elsewhere;
mod gone;
mod observe;
mod pools;
mod rebuild;
mod recall;
mod rows;
mod stop;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::ledger::{Illegal, Ledger, Phase, changes, steps_hash};
use crate::names::{MachineName, PoolName};
use crate::provider::{Machine, MachineState, Owner};
use crate::spec::{Pool, Role, Spec};

pub use action::Action;
pub use observe::{Busy, Held, Limits, NodeState, Nodes, Observation};
pub use rebuild::lost_front_end;
pub use stop::Stop;
pub use wait::{Reason, Subject, Wait};

/// What is to be done next.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The next state: saved before anything is done.
    pub ledger: Ledger,
    /// What to do: one action for each machine at most, front-ends first.
    pub actions: Vec<Action>,
    /// What is not done yet, and why. No action and no wait: settled.
    pub waits: Vec<Wait>,
    /// Why nothing is done any more.
    pub stop: Option<Stop>,
    /// Ready machines whose recipes have changed since: they are left as they are.
    pub outdated: Vec<MachineName>,
}

impl Plan {
    /// Whether there is nothing to do and nothing to wait for.
    pub fn is_settled(&self) -> bool {
        self.actions.is_empty() && self.waits.is_empty() && self.stop.is_none()
    }
    /// The plan as text: what changes against the ledger before, then actions, waits and the stop.
    pub fn describe(&self, before: &Ledger) -> String {
        let mut text: String =
            changes(before, &self.ledger).iter().map(|change| format!("{change}\n")).collect();
        text.push_str(&self.to_string());
        text
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for action in &self.actions {
            writeln!(f, "do {action}")?;
        }
        for wait in &self.waits {
            writeln!(f, "wait {wait}")?;
        }
        match &self.stop {
            Some(stop) => writeln!(f, "stop: {stop}"),
            None => Ok(()),
        }
    }
}

/// Whose a pool is: one of a fixed size is the command line's, one with a range is the daemon's;
/// front-ends are always the command line's, because the daemon lives on one.
pub fn owner_of(pool: &Pool) -> Owner {
    if pool.is_elastic() { Owner::Autoscaler } else { Owner::Cli }
}

/// The one function that decides. `now` is the pass's time; everything else that changes is in `seen`.
pub fn plan(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut draft = Draft::new(spec, ledger, seen, now);
    let stop = match draft.decide() {
        Ok(()) => return draft.finish(),
        Err(stop) => *stop,
    };
    if let Some(rebuilt) = rebuild::given_up(ledger, &seen.limits, &stop) {
        return plan(spec, &rebuilt, seen, now);
    }
    // The ledger as it was: a stop decides nothing.
    Plan {
        ledger: ledger.clone(),
        actions: Vec::new(),
        waits: Vec::new(),
        stop: Some(stop),
        outdated: Vec::new(),
    }
}

/// A decision that may end the whole plan.
type Decided = Result<(), Box<Stop>>;

impl From<Illegal> for Box<Stop> {
    fn from(illegal: Illegal) -> Self {
        Box::new(Stop::Defect { why: illegal.to_string() })
    }
}

/// A plan in the making.
struct Draft<'a> {
    spec: &'a Spec,
    seen: &'a Observation,
    now: Timestamp,
    ledger: Ledger,
    actions: Vec<Action>,
    waits: Vec<Wait>,
    outdated: Vec<MachineName>,
    /// Names with an action already: no second one in this plan.
    taken: BTreeSet<MachineName>,
    /// Machines of this ledger, by name, lowest id first.
    ours: BTreeMap<&'a MachineName, Vec<&'a Machine>>,
    /// Machines of the other owner, by pool.
    others: BTreeMap<&'a PoolName, u32>,
    /// Rows whose machine is not in the list and quiet: how many, and those that are gone for sure.
    missing: usize,
    vanished: Vec<MachineName>,
    /// Rows whose machine is not in the list, where the cluster's network is not there either.
    unfounded: Vec<MachineName>,
    nodes_wanted: bool,
    /// Draining rows that their pool wants back.
    recalled: BTreeSet<MachineName>,
    /// One hash over the steps of each pool, and over none: made once, not for each of a thousand machines.
    steps: BTreeMap<&'a PoolName, String>,
    no_steps: String,
}

impl<'a> Draft<'a> {
    fn new(spec: &'a Spec, ledger: &Ledger, seen: &'a Observation, now: Timestamp) -> Self {
        let mut ours: BTreeMap<&MachineName, Vec<&Machine>> = BTreeMap::new();
        let mut others: BTreeMap<&PoolName, u32> = BTreeMap::new();
        let machines = seen.machines.as_deref().unwrap_or(&[]);
        for machine in machines.iter().filter(|machine| machine.tags.cluster == ledger.cluster) {
            if machine.tags.ledger == ledger.id {
                ours.entry(&machine.tags.machine).or_default().push(machine);
            } else {
                *others.entry(&machine.tags.pool).or_default() += 1;
            }
        }
        for group in ours.values_mut() {
            group.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Self {
            spec,
            seen,
            now,
            ledger: ledger.clone(),
            actions: Vec::new(),
            waits: Vec::new(),
            outdated: Vec::new(),
            taken: BTreeSet::new(),
            ours,
            others,
            missing: 0,
            vanished: Vec::new(),
            unfounded: Vec::new(),
            nodes_wanted: false,
            recalled: BTreeSet::new(),
            steps: spec.pools.iter().map(|(name, pool)| (name, steps_hash(&pool.steps))).collect(),
            no_steps: steps_hash(&[]),
        }
    }

    fn decide(&mut self) -> Decided {
        if self.ledger.cloud != self.seen.cloud {
            let (ledger, seen) = (self.ledger.cloud.clone(), self.seen.cloud.clone());
            return Err(Box::new(Stop::WrongCloud { ledger, seen }));
        }
        if let Err(why) = &self.seen.machines {
            // Without a list there is nothing to match rows with: jobs that run go on, none starts.
            self.wait(Subject::Cluster, Reason::Cloud { why: why.clone() }, Duration::ZERO, None);
            self.wait_for_jobs();
            return Ok(());
        }
        if self.ledger.closing.is_some() {
            return self.close();
        }
        self.clashes()?;
        self.adopt()?;
        self.surplus()?;
        self.recall();
        for name in self.names() {
            self.row(&name)?;
        }
        self.without_ground()?;
        self.give_up_vanished()?;
        self.deficit()?;
        self.minimum();
        self.ask_for_nodes();
        Ok(())
    }

    fn clashes(&self) -> Decided {
        let machines = self.seen.machines.as_deref().unwrap_or(&[]);
        let names = |of: &dyn Fn(&Machine) -> bool| {
            machines.iter().filter(|m| of(m)).map(|m| m.tags.machine.clone()).collect::<Vec<_>>()
        };
        if let Some(clash) = machines.iter().find(|m| m.tags.cluster != self.ledger.cluster) {
            let other = clash.tags.cluster.clone();
            let machines = names(&|m| m.tags.cluster == other);
            return Err(Box::new(Stop::NameClash { other, machines }));
        }
        let strange = |m: &Machine| m.tags.owner == self.ledger.owner && m.tags.ledger != self.ledger.id;
        if let Some(other) = machines.iter().find(|m| strange(m)) {
            let other = other.tags.ledger.clone();
            let machines = names(&|m| strange(m) && m.tags.ledger == other);
            return Err(Box::new(Stop::OtherLedger { other, machines }));
        }
        Ok(())
    }

    fn names(&self) -> Vec<MachineName> {
        self.ledger.rows().keys().cloned().collect()
    }

    fn wait(&mut self, subject: Subject, reason: Reason, since: Duration, limit: Option<Duration>) {
        self.waits.push(Wait { subject, reason, since, limit });
    }

    fn wait_machine(&mut self, name: &MachineName, reason: Reason, since: Duration, limit: Option<Duration>) {
        self.wait(Subject::Machine(name.clone()), reason, since, limit);
    }

    fn wait_for_jobs(&mut self) {
        for (name, busy) in &self.seen.busy {
            let reason = Reason::Job { what: busy.what.clone() };
            self.waits.push(Wait {
                subject: Subject::Machine(name.clone()),
                reason,
                since: busy.since,
                limit: None,
            });
        }
    }

    /// Does it, unless a job runs for that machine, one failed a moment ago, or it has an action already.
    fn act(&mut self, action: Action) {
        let name = action.name().clone();
        if let Some(busy) = self.seen.busy.get(&name) {
            self.wait_machine(&name, Reason::Job { what: busy.what.clone() }, busy.since, None);
        } else if let Some(held) = self.seen.held.get(&name) {
            let row = self.ledger.row(&name).map(crate::ledger::Row::phase);
            let limit = row.is_some_and(Phase::boots).then_some(self.seen.limits.boot_timeout);
            self.wait_machine(&name, Reason::Retry { why: held.why.clone() }, held.since, limit);
        } else if self.taken.insert(name) {
            self.actions.push(action);
        }
    }

    /// A front-end that can be asked and told: Ready, running and with an address; lowest ordinal first.
    fn teller(&self) -> Option<MachineName> {
        if self.lives_elsewhere() {
            return self.front_end_elsewhere();
        }
        self.front_ends().find(|name| {
            self.ledger.row(name).is_some_and(|row| row.phase() == Phase::Ready) && self.reachable(name)
        })
    }

    /// Front-end rows that are wanted, lowest ordinal first.
    fn front_ends(&self) -> impl Iterator<Item = MachineName> + '_ {
        let mut found: Vec<_> = self
            .ledger
            .rows()
            .iter()
            .filter(|(_, row)| row.role == Role::FrontEnd && row.phase().is_live())
            .map(|(name, row)| (row.born.ordinal, name.clone()))
            .collect();
        found.sort();
        found.into_iter().map(|(_, name)| name)
    }

    fn reachable(&self, name: &MachineName) -> bool {
        self.machine(name).is_some_and(|m| m.state == MachineState::Running && m.address.is_some())
    }

    /// The machine of a row: the one with the recorded id, or the lowest if none is recorded.
    fn machine(&self, name: &MachineName) -> Option<&'a Machine> {
        let group = self.ours.get(name)?;
        match self.ledger.row(name)?.machine() {
            Some(id) => group.iter().find(|machine| machine.id == *id).copied(),
            None => group.first().copied(),
        }
    }

    fn finish(mut self) -> Plan {
        let rows = self.ledger.rows();
        let rank = |name: &MachineName| rows.get(name).is_none_or(|row| row.role != Role::FrontEnd);
        self.actions.sort_by_key(|action| rank(action.name()));
        Plan {
            actions: self.actions,
            waits: self.waits,
            stop: None,
            outdated: self.outdated,
            ledger: self.ledger,
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod fixtures;
