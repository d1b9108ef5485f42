//! The daemon's ledger has no front-end: the one that it runs on is the command line's, and is there as long as the daemon is.
//!
//! It was Ready before the daemon was installed on it, so whatever other machines need of it is behind it.

use super::{Action, Draft, MachineState, Reason};
use crate::ledger::Phase;
use crate::names::MachineName;
use crate::provider::Owner;
use crate::spec::{Role, Step};

impl Draft<'_> {
    /// Whether the front-ends are another ledger's.
    pub(super) fn lives_elsewhere(&self) -> bool {
        self.ledger.owner == Owner::Autoscaler
    }

    /// A front-end of the other owner that runs; the same one as long as it does.
    pub(super) fn front_end_elsewhere(&self) -> Option<MachineName> {
        let machines = self.seen.machines.as_deref().unwrap_or(&[]);
        let is_front_end = |pool| self.spec.pools.get(pool).is_some_and(|pool| pool.role == Role::FrontEnd);
        let mut found: Vec<&MachineName> = machines
            .iter()
            .filter(|m| m.tags.cluster == self.ledger.cluster && m.tags.ledger != self.ledger.id)
            .filter(|m| is_front_end(&m.tags.pool) && m.state == MachineState::Running && m.address.is_some())
            .map(|machine| &machine.tags.machine)
            .collect();
        found.sort();
        found.first().map(|name| (*name).clone())
    }

    /// Starts a step of a machine of the daemon's.
    pub(super) fn step_from_elsewhere(&mut self, name: &MachineName, step: &Step) {
        let from = self.front_end_elsewhere();
        if from.is_none() && !(step.after.is_empty() && step.facts.is_empty()) {
            let since = self.seen.ages.of(name).within(Phase::Configuring);
            return self.wait_machine(name, Reason::FrontEnd, since, None);
        }
        let from = from.filter(|_| !step.facts.is_empty());
        self.act(Action::RunStep { name: name.clone(), step: step.clone(), from });
    }
}
