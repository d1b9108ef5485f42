//! CLUES, to compare with: what the paper's cluster was scaled by, written anew from a description of what it does.
//!
//! It polls. Pending pods go, first come first served, to the first node that has room: one that is on, one that boots, one that
//! it has just chosen, or else the next one that is off, up to the limit; who cannot be served blocks those behind. It believes
//! the declared size of a node that is off or boots. A node without pods for longer than the idle time goes off. What would make
//! it look worse is left out: the minute for which a pod must have waited first, serial calls to the cloud, and its faults.

use std::collections::BTreeMap;

use provisioner::ledger::{Leaving, Phase};
use provisioner::names::{MachineName, PoolName};

use super::run::Run;

/// How often it looks, in milliseconds: the paper's templates set 20 s.
pub(super) const POLL: i64 = 20_000;
/// When it looks first: pods come, on average, in the middle between two polls.
pub(super) const FIRST: i64 = POLL / 2;

/// What it remembers.
#[derive(Debug, Default)]
pub(super) struct Clues {
    idle_since: BTreeMap<MachineName, i64>,
}

/// Thousandths of cpu, and bytes.
type Room = (u64, u64);

impl Run<'_> {
    /// One poll.
    pub(super) fn clues(&mut self) {
        self.keep_sizes();
        self.power_on();
        self.power_off();
        self.follow();
    }

    fn power_on(&mut self) {
        let mut rooms: Vec<Room> = self.on().chain(self.booting()).collect();
        let waits = self.cluster.pods.values().filter(|one| one.over.is_none() && !one.is_running());
        let wants: Vec<Room> = waits.map(|one| (one.jobs.cpu.millis, one.jobs.memory.bytes)).collect();
        for (cpu, memory) in wants {
            let fits = |room: &&mut Room| room.0 >= cpu && room.1 >= memory;
            if let Some(room) = rooms.iter_mut().find(fits) {
                *room = (room.0 - cpu, room.1 - memory);
                continue;
            }
            let Some((pool, room)) = self.next_off(cpu, memory) else { break };
            if let Some(name) = self.add_row(&pool) {
                self.log.say(self.at, format_args!("CLUES powers {name} on"));
                rooms.push((room.0 - cpu, room.1 - memory));
            }
        }
    }

    fn declared(&self, pool: &PoolName) -> Room {
        let pool = &self.story.pools[pool.as_str()];
        (pool.cpu.millis, pool.memory.bytes)
    }

    /// What is free on nodes that are on.
    fn on(&self) -> impl Iterator<Item = Room> {
        let ready = self.ledger.rows().iter().filter(|(_, row)| row.phase() == Phase::Ready);
        ready.map(|(name, row)| {
            let pool = &self.story.pools[row.pool.as_str()];
            let has = (
                pool.cpu.millis.saturating_sub(pool.reserved_cpu.millis),
                pool.memory.bytes.saturating_sub(pool.reserved_memory.bytes),
            );
            let here = self
                .cluster
                .pods
                .values()
                .filter(|one| one.over.is_none() && one.pod.spec.node_name == name.as_str());
            here.fold(has, |room, one| {
                (room.0.saturating_sub(one.jobs.cpu.millis), room.1.saturating_sub(one.jobs.memory.bytes))
            })
        })
    }

    /// What it believes of nodes that boot.
    fn booting(&self) -> impl Iterator<Item = Room> {
        self.ledger.rows().values().filter(|row| row.phase().boots()).map(|row| self.declared(&row.pool))
    }

    /// The first pool that may grow and whose nodes are large enough.
    fn next_off(&self, cpu: u64, memory: u64) -> Option<(PoolName, Room)> {
        self.spec.pools.iter().find_map(|(name, pool)| {
            let room = self.declared(name);
            let fits = room.0 >= cpu && room.1 >= memory && self.live(name).len() < *pool.size.end() as usize;
            fits.then(|| (name.clone(), room))
        })
    }

    fn power_off(&mut self) {
        let ready = self.ledger.rows().iter().filter(|(_, row)| row.phase() == Phase::Ready);
        let ready: Vec<(MachineName, PoolName)> =
            ready.map(|(name, row)| (name.clone(), row.pool.clone())).collect();
        for (name, pool) in ready {
            let busy =
                |one: &super::cluster::Live| one.over.is_none() && one.pod.spec.node_name == name.as_str();
            if self.cluster.pods.values().any(busy) {
                self.clues.idle_since.remove(&name);
                continue;
            }
            let since = *self.clues.idle_since.entry(name.clone()).or_insert(self.at);
            let least = self.spec.pools.get(&pool).map_or(0, |pool| *pool.size.start() as usize);
            let long = i64::try_from(self.story.policy.idle.as_millis()).unwrap_or(i64::MAX);
            if self.at - since > long && self.live(&pool).len() > least {
                self.log.say(self.at, format_args!("CLUES powers {name} off"));
                self.cluster.cordon(name.as_str(), true);
                let done = self.ledger.drain(&name, Leaving::Surplus);
                let done = done.and_then(|()| self.ledger.delete(&name, Leaving::Surplus));
                debug_assert!(done.is_ok(), "{done:?}");
            }
        }
    }
}
