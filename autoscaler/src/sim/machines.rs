//! The engine and the cloud as one: the ledger's rows become machines, and machines go when their rows say so.
//!
//! Minima and maxima are the engine's here as in the product: `decide()` knows nothing of the first, and shrinks nothing for
//! the second.

use std::sync::Arc;

use provisioner::ledger::{Leaving, NewRow, Phase};
use provisioner::names::{MachineId, MachineName, PoolName};
use provisioner::provider::dice::Random;

use super::log::Life;
use super::objects;
use super::run::{Event, Run};

/// From the registration of a node to its first Ready, in milliseconds: what a network plugin needs.
const JOIN: i64 = 5_000;
/// From a delete call until the machine is gone, in milliseconds.
const GOING: i64 = 5_000;
/// How long Kubernetes waits for a silent kubelet: the node monitor's default.
const SILENT: i64 = 40_000;
/// How long a machine must be missing from the cloud's list before that counts, as in the engine.
const SETTLE: i64 = 60_000;

impl Run<'_> {
    /// A row for one more machine.
    pub(super) fn add_row(&mut self, pool: &PoolName) -> Option<MachineName> {
        let of = self.spec.pools.get(pool)?;
        let row = NewRow {
            pool: pool.clone(),
            role: of.role,
            shape: of.shapes.first()?.clone(),
            image: of.boots().clone(),
            zone: None,
            expose: Vec::new(),
            expires: None,
        };
        let now = self.now();
        self.ledger.add(row, now).ok()
    }

    pub(super) fn live(&self, pool: &PoolName) -> Vec<MachineName> {
        let rows = self.ledger.rows().iter().filter(|(_, row)| row.pool == *pool && row.phase().is_live());
        let mut rows: Vec<_> = rows.map(|(name, row)| (row.born.ordinal, name.clone())).collect();
        rows.sort();
        rows.into_iter().map(|(_, name)| name).collect()
    }

    /// What the engine does by itself: pools below their minimum grow, pools above their maximum shrink, the newest first.
    pub(super) fn keep_sizes(&mut self) {
        let pools: Vec<_> =
            self.spec.pools.iter().map(|(name, pool)| (name.clone(), pool.size.clone())).collect();
        for (pool, size) in pools {
            let live = self.live(&pool);
            for _ in live.len()..*size.start() as usize {
                let _ = self.add_row(&pool);
            }
            let draining = |name: &&MachineName| self.phase(name) != Some(Phase::Draining);
            let live: Vec<MachineName> = live.iter().filter(draining).cloned().collect();
            for name in live.iter().skip(*size.end() as usize) {
                let ready = self.phase(name) == Some(Phase::Ready);
                let done = match ready {
                    true => self.ledger.drain(name, Leaving::Surplus),
                    false => self.ledger.delete(name, Leaving::Surplus),
                };
                debug_assert!(done.is_ok(), "{done:?}");
            }
        }
    }

    /// Asks the cloud for what the ledger says.
    pub(super) fn follow(&mut self) {
        let rows: Vec<_> = self.ledger.rows().iter().map(|(name, row)| (name.clone(), row.clone())).collect();
        for (name, row) in rows {
            if row.phase() == Phase::Deleting {
                if self.going.insert(name.clone()) {
                    self.later(GOING, Event::Gone(name));
                }
            } else if !self.lives.contains_key(&name) {
                self.lives.insert(name.clone(), Life { created: self.at, gone: None, ran: false });
                let _ = self.ledger.sight(&name, &MachineId(format!("m-{name}")));
                let pool = &self.story.pools[row.pool.as_str()];
                let boot = around(&mut self.dice, pool.boot.0, pool.boot_spread);
                self.later((boot - JOIN).max(0), Event::Registers(name.clone()));
                self.later(boot.max(JOIN), Event::Ready(name));
            }
        }
    }

    fn boots(&self, name: &MachineName) -> bool {
        self.phase(name).is_some_and(Phase::boots)
    }

    pub(super) fn registers(&mut self, name: &MachineName) {
        if !self.boots(name) || self.is_dead(name) {
            return;
        }
        let _ = self.ledger.configure(name);
        let Some(row) = self.ledger.row(name) else { return };
        let called = row.pool.as_str();
        let node = objects::node(name, called, &self.story.pools[called], &row.shape, self.now());
        self.cluster.nodes.insert(name.to_string(), Arc::new(node));
        self.changed = true;
    }

    pub(super) fn ready(&mut self, name: &MachineName) {
        if self.boots(name) && !self.is_dead(name) {
            let _ = self.ledger.ready(name, &[]);
            let now = self.now();
            self.cluster.set_ready(name.as_str(), true, now);
            self.log.say(self.at, format_args!("node {name} is Ready"));
            self.changed = true;
        }
    }

    pub(super) fn gone(&mut self, name: &MachineName) {
        if let Some(life) = self.lives.get_mut(name) {
            life.gone.get_or_insert(self.at);
        }
        let now = self.now();
        self.cluster.drop_node(name.as_str(), now);
        let _ = self.ledger.forget(name);
        self.log.say(self.at, format_args!("machine {name} is gone"));
        self.changed = true;
    }

    /// A machine is gone from one moment to the next; Kubernetes and the cloud notice later.
    pub(super) fn dies(&mut self, name: &MachineName) {
        let Some(life) = self.lives.get_mut(name) else { return };
        life.gone.get_or_insert(self.at);
        self.log.say(self.at, format_args!("machine {name} dies"));
        self.later(SILENT, Event::Silent(name.clone()));
        self.later(SETTLE, Event::Missed(name.clone()));
    }

    pub(super) fn silent(&mut self, name: &MachineName) {
        let now = self.now();
        self.cluster.set_ready(name.as_str(), false, now);
        self.changed = true;
    }

    /// The engine has looked for the machine for long enough, and the cloud says that it is not there.
    pub(super) fn missed(&mut self, name: &MachineName) {
        let done = self.ledger.delete(name, Leaving::Vanished);
        if done.is_ok() {
            self.log.say(self.at, format_args!("row {name}: Deleting ({})", Leaving::Vanished));
        }
        self.follow();
    }

    pub(super) fn is_dead(&self, name: &MachineName) -> bool {
        self.lives.get(name).is_some_and(|life| life.gone.is_some())
    }

    pub(super) fn phase(&self, name: &MachineName) -> Option<Phase> {
        self.ledger.row(name).map(provisioner::ledger::Row::phase)
    }
}

/// A time that is off by at most so many percent to either side.
fn around(dice: &mut Random, time: i64, percent: u64) -> i64 {
    let most = u64::try_from(time).unwrap_or(0).saturating_mul(percent) / 100;
    let off = dice.below(most.saturating_mul(2).saturating_add(1));
    time + i64::try_from(off).unwrap_or(0) - i64::try_from(most).unwrap_or(0)
}
