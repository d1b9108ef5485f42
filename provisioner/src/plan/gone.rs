//! What is done with machines that leave, were lost, or are not in the list.

use std::time::Duration;

use super::observe::share;
use super::{Action, Decided, Draft, Nodes, Reason, Stop};
use crate::ledger::{Leaving, Phase};
use crate::names::MachineName;
use crate::provider::{Machine, MachineState};
use crate::spec::Role;

impl Draft<'_> {
    /// Seen before, not in the list. A short list is no evidence: only a direct question is, asked in a pass
    /// that found the cluster's scaffold, and only after the settle time.
    pub(super) fn not_listed(&mut self, name: &MachineName) {
        let since = self.seen.ages.of(name).seen.unwrap_or(Duration::ZERO);
        let Some(id) = self.ledger.row(name).and_then(|row| row.machine().cloned()) else { return };
        let wait = |why: &str| Reason::Missing { why: why.to_owned() };
        if !self.quiet(name) {
            let limit = Some(self.seen.limits.settle);
            self.wait_machine(name, wait("it was there a moment ago"), since, limit);
        } else if !self.seen.scaffold {
            self.unfounded.extend(self.seen.no_scaffold.then(|| name.clone()));
            self.wait_machine(name, wait("the cluster's network is not found either"), since, None);
        } else {
            self.missing += 1;
            match self.seen.exists.get(&id) {
                Some(false) => self.vanished.push(name.clone()),
                Some(true) => {
                    self.wait_machine(name, wait("the cloud says that it exists"), since, None);
                }
                None => {
                    self.act(Action::Exists { name: name.clone(), id });
                    self.wait_machine(name, wait("the cloud is asked"), since, None);
                }
            }
        }
    }

    /// Gives up those that are gone for sure, unless so many are missing together that something else is wrong.
    pub(super) fn give_up_vanished(&mut self) -> Decided {
        let vanished = std::mem::take(&mut self.vanished);
        let rows = self.ledger.rows().values();
        let of = rows.filter(|row| row.machine().is_some() && row.phase() != Phase::Deleting).count();
        let most = share(of, 1);
        if !self.seen.limits.accept_vanished && !vanished.is_empty() && self.missing > most {
            if vanished.len() > most {
                return Err(Box::new(Stop::Vanished { machines: vanished, of }));
            }
            for name in vanished {
                let since = self.seen.ages.of(&name).seen.unwrap_or(Duration::ZERO);
                let why = "it is gone, and others are missing too".to_owned();
                self.wait_machine(&name, Reason::Missing { why }, since, None);
            }
            return Ok(());
        }
        for name in vanished {
            self.lose(&name, Leaving::Vanished)?;
        }
        Ok(())
    }

    /// Rows whose machine is not listed, in a cloud where the cluster has no network either: no evidence that they
    /// are gone, and nothing that could still come. A person knows more.
    pub(super) fn without_ground(&self) -> Decided {
        if self.unfounded.is_empty() {
            return Ok(());
        }
        let of = self.ledger.rows().values().filter(|row| row.machine().is_some()).count();
        Err(Box::new(Stop::NoGround { machines: self.unfounded.clone(), of }))
    }

    /// Whether the cluster would lose something for good with this machine.
    pub(super) fn holds_state(&self, name: &MachineName) -> bool {
        let Some(row) = self.ledger.row(name).filter(|row| row.role == Role::FrontEnd) else { return false };
        let joined = |other: &crate::ledger::Row| {
            let steps = self.spec.pools.get(&other.pool).map_or(&[][..], |pool| pool.steps.as_slice());
            steps.iter().any(|step| !step.after.is_empty() && other.has_passed(&step.id))
        };
        let mut others = self.ledger.rows().iter().filter(|(other, _)| *other != name);
        // A front-end that never was Ready may hold what workers have joined already.
        row.was_ready() || others.any(|(_, other)| other.phase() != Phase::Deleting && joined(other))
    }

    /// A live or draining machine that is broken, late or gone: it is deleted, and its pool gets a new name.
    pub(super) fn lose(&mut self, name: &MachineName, why: Leaving) -> Decided {
        if self.holds_state(name) {
            let others = self.front_ends().any(|other| other != *name);
            let why = why.to_string();
            return Err(Box::new(Stop::FrontEndLost { name: name.clone(), why, others }));
        }
        // Only what was Ready may have had work on it: the rest costs nothing to replace.
        let had_work = self.ledger.row(name).is_some_and(crate::ledger::Row::was_ready);
        if had_work {
            let most = share(self.ledger.rows().len(), self.seen.limits.destroy_per_hour);
            let within = |at: &&jiff::Timestamp| self.now.duration_since(**at).as_secs() < 3600;
            if self.ledger.destroyed.iter().filter(within).count() >= most {
                let reason = Reason::Budget { why: why.to_string() };
                self.wait_machine(name, reason, Duration::ZERO, Some(Duration::from_secs(3600)));
                return Ok(());
            }
            self.ledger.note_destroyed(self.now);
        }
        if matches!(why, Leaving::Failed(_) | Leaving::BootTimeout) && !had_work {
            self.ledger.fail(name, why.to_string(), self.now, 1)?;
        }
        self.ledger.delete(name, why)?;
        self.deleting(name, self.machine(name))
    }

    pub(super) fn draining(&mut self, name: &MachineName, machine: Option<&Machine>) -> Decided {
        let Some(row) = self.ledger.row(name) else { return Ok(()) };
        let never_used = !row.was_ready() && !row.has_begun();
        let seen_before = row.machine().is_some();
        let why = row.leaving().cloned().unwrap_or(Leaving::Surplus);
        let limit = match &self.ledger.closing {
            Some(closing) => Duration::from_secs(closing.grace_secs),
            None => self.seen.limits.drain_timeout,
        };
        let since = self.seen.ages.of(name).within(Phase::Draining);
        // The daemon's nodes are emptied by `decide`, which also knows when it takes too long.
        let decided_elsewhere = self.lives_elsewhere() && self.ledger.closing.is_none();
        // It was to go anyway, so it goes: whether it is gone is asked of every row that is deleted.
        if since >= limit && !decided_elsewhere {
            self.ledger.delete(name, why)?;
            return self.deleting(name, machine);
        }
        let empty = match machine.map(|machine| &machine.state) {
            None if seen_before => {
                self.not_listed(name);
                return Ok(());
            }
            None | Some(MachineState::Failed(_) | MachineState::Stopped) => true,
            Some(MachineState::Building | MachineState::Running) => false,
        };
        let drained = self.seen.drained.contains(name) || self.seen.nodes == Nodes::Unused;
        if empty || never_used || drained {
            self.ledger.delete(name, why)?;
            return self.deleting(name, machine);
        }
        if decided_elsewhere {
            return Ok(());
        }
        match self.teller() {
            Some(on) => self.act(Action::Drain { name: name.clone(), on }),
            None => self.wait_machine(name, Reason::FrontEnd, since, Some(limit)),
        }
        Ok(())
    }

    pub(super) fn deleting(&mut self, name: &MachineName, machine: Option<&Machine>) -> Decided {
        if let Some(machine) = machine {
            self.act(Action::Delete { name: name.clone(), id: machine.id.clone() });
            return Ok(());
        }
        let Some(row) = self.ledger.row(name) else { return Ok(()) };
        let since = self.seen.ages.of(name).within(Phase::Deleting);
        let refused = matches!(row.leaving(), Some(Leaving::Refused(_)));
        let gone = match row.machine() {
            // Never seen: a create call may still be on its way, unless the cloud refused it.
            None => refused || self.quiet(name),
            Some(id) => match self.seen.exists.get(id) {
                Some(exists) => !exists,
                None => {
                    let id = id.clone();
                    self.act(Action::Exists { name: name.clone(), id });
                    return Ok(());
                }
            },
        };
        if gone {
            self.forget(name, since)
        } else {
            self.wait_machine(name, Reason::Deleting, since, None);
            Ok(())
        }
    }

    /// The machine is gone: the cluster forgets its node, then the row goes.
    fn forget(&mut self, name: &MachineName, since: Duration) -> Decided {
        let Some(row) = self.ledger.row(name) else { return Ok(()) };
        let may_have_node = row.was_ready() || row.has_begun();
        let tell = may_have_node
            && row.role == Role::Worker
            && !row.is_given_up()
            && self.ledger.closing.is_none()
            && self.seen.nodes != Nodes::Unused
            && !self.seen.forgotten.contains(name);
        if tell {
            if let Some(on) = self.teller() {
                self.act(Action::ForgetNode { name: name.clone(), on });
                return Ok(());
            }
            // A front-end on its way will answer; without any there is nobody left who remembers.
            if self.lives_elsewhere() || self.front_ends().next().is_some() {
                self.wait_machine(name, Reason::FrontEnd, since, None);
                return Ok(());
            }
        }
        Ok(self.ledger.forget(name)?)
    }
}
