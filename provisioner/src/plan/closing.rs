//! The cluster is being taken down: nothing is created, everything goes.

use std::collections::BTreeSet;

use super::{Action, Decided, Draft};
use crate::ledger::{Leaving, Phase};
use crate::names::{MachineId, MachineName};

impl Draft<'_> {
    pub(super) fn close(&mut self) -> Decided {
        let grace = self.ledger.closing.as_ref().map_or(0, |closing| closing.grace_secs);
        for name in self.names() {
            match self.ledger.row(&name).map(crate::ledger::Row::phase) {
                Some(Phase::Ready) if grace > 0 => self.ledger.drain(&name, Leaving::Closing)?,
                Some(Phase::Draining) if grace > 0 => {}
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

    /// Taking down goes by cluster id, whoever the owner: what has no row goes too.
    fn rowless(&mut self) {
        let machines = self.seen.machines.as_deref().unwrap_or(&[]);
        let known: BTreeSet<&MachineId> =
            self.ours.keys().filter_map(|name| self.machine(name)).map(|machine| &machine.id).collect();
        let rest: Vec<(MachineName, MachineId)> = machines
            .iter()
            .filter(|machine| machine.tags.cluster == self.ledger.cluster && !known.contains(&machine.id))
            .map(|machine| (machine.tags.machine.clone(), machine.id.clone()))
            .collect();
        for (name, id) in rest {
            self.act(Action::Delete { name, id });
        }
    }
}
