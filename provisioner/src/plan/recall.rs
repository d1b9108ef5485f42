//! Draining is called off when the pool grows again: a machine that works already is better than a new one.
//!
//! A row stays Draining until its node is known to take work again; only then is it Ready. So a run that is killed in
//! between leaves nothing that the next one would not see.

use super::{Action, Decided, Draft, MachineState, Nodes, Reason, owner_of};
use crate::ledger::Phase;
use crate::names::{MachineName, PoolName};
use crate::provider::Machine;

impl Draft<'_> {
    /// Picks the Draining rows that pools below their minimum want back. The lowest ordinals first: surplus drains
    /// the newest first, so what was sent away last comes back first.
    pub(super) fn recall(&mut self) {
        if self.lives_elsewhere() {
            // Its drains are called off by `decide`, which knows who needs the node.
            return;
        }
        let live = self.live_rows();
        for (name, pool) in self.spec.pools.iter().filter(|(_, pool)| owner_of(pool) == self.ledger.owner) {
            let (lack, room) = self.lack(name, pool, live.get(name).map_or(0, Vec::len));
            let lack = usize::try_from(lack.min(room)).unwrap_or(usize::MAX);
            if lack == 0 {
                continue;
            }
            let rows = self.ledger.rows().iter();
            let mut leaving: Vec<_> = rows
                .filter(|(_, row)| row.pool == *name && row.phase() == Phase::Draining)
                .filter(|(name, _)| self.may_return(name))
                .map(|(name, row)| (row.born.ordinal, name.clone()))
                .collect();
            leaving.sort();
            self.recalled.extend(leaving.into_iter().take(lack).map(|(_, name)| name));
        }
    }

    /// Not empty yet, and there: what is empty already is as good as gone.
    fn may_return(&self, name: &MachineName) -> bool {
        let is_there =
            |machine: &Machine| matches!(machine.state, MachineState::Running | MachineState::Building);
        !self.seen.drained.contains(name) && self.machine(name).is_some_and(is_there)
    }

    /// A recalled row: its node takes work again, then it is what it was.
    pub(super) fn returning(&mut self, name: &MachineName, machine: Option<&Machine>) -> Decided {
        if self.seen.uncordoned.contains(name) || self.seen.nodes == Nodes::Unused {
            self.ledger.undrain(name)?;
            return self.live(name, machine);
        }
        match self.teller() {
            Some(on) => self.act(Action::Uncordon { name: name.clone(), on }),
            None => {
                let since = self.seen.ages.of(name).within(Phase::Draining);
                self.wait_machine(name, Reason::FrontEnd, since, None);
            }
        }
        Ok(())
    }

    /// Recalled rows of a pool that are not live again yet.
    pub(super) fn coming_back(&self, pool: &PoolName) -> usize {
        let is_on_its_way = |name: &&MachineName| {
            let row = self.ledger.row(name);
            row.is_some_and(|row| row.pool == *pool && row.phase() == Phase::Draining)
        };
        self.recalled.iter().filter(is_on_its_way).count()
    }

    /// Rows of a pool that were given up with their front-end and are not gone yet.
    pub(super) fn given_up_rows(&self, pool: &PoolName) -> u32 {
        let rows = self.ledger.rows().values();
        let count = rows.filter(|row| row.pool == *pool && row.is_given_up()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
