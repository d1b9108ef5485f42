//! The cluster is being taken down: nothing is created, everything goes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Action, Decided, Draft, Reason};
use crate::ledger::{Leaving, Phase, Row};
use crate::names::{MachineId, MachineName};
use crate::spec::Role;

impl Draft<'_> {
    pub(super) fn close(&mut self) -> Decided {
        let grace = self.ledger.closing.as_ref().map_or(0, |closing| closing.grace_secs);
        let used =
            |row: &Row| row.role == Role::Worker && matches!(row.phase(), Phase::Ready | Phase::Draining);
        let drains = grace > 0 && self.ledger.rows().values().any(used);
        for name in self.names() {
            let row = self.ledger.row(&name);
            match row.map(|row| (row.role, row.phase())) {
                Some((Role::FrontEnd, Phase::Ready)) if drains => {
                    self.wait_machine(&name, Reason::Last, Duration::ZERO, None);
                    continue;
                }
                Some((Role::Worker, Phase::Ready)) if drains => self.ledger.drain(&name, Leaving::Closing)?,
                Some((Role::Worker, Phase::Draining)) if drains => {}
                Some(_) => self.ledger.delete(&name, Leaving::Closing)?,
                None => {}
            }
            self.row(&name)?;
        }
        // What vanished by itself saves us the trouble; its row goes like every other.
        for name in std::mem::take(&mut self.vanished) {
            self.ledger.delete(&name, Leaving::Closing)?;
            self.deleting(&name, None)?;
        }
        self.rowless();
        Ok(())
    }

    /// Taking down goes by cluster id, whoever the owner: what has no row goes too. The daemon takes only its own down: it
    /// lives on one of the others.
    fn rowless(&mut self) {
        let own_only = self.lives_elsewhere();
        let machines = self.seen.machines.as_deref().unwrap_or(&[]);
        let known: BTreeSet<&MachineId> =
            self.ours.keys().filter_map(|name| self.machine(name)).map(|machine| &machine.id).collect();
        let rest: Vec<(MachineName, MachineId)> = machines
            .iter()
            .filter(|machine| machine.tags.cluster == self.ledger.cluster && !known.contains(&machine.id))
            .filter(|machine| !own_only || machine.tags.ledger == self.ledger.id)
            .map(|machine| (machine.tags.machine.clone(), machine.id.clone()))
            .collect();
        for (name, id) in rest {
            self.act(Action::Delete { name, id });
        }
    }
}
