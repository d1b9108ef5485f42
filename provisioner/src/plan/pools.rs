//! How many machines there are to be: adoption, surplus, deficit.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Decided, Draft, MachineState, Nodes, Reason, Stop, Subject, owner_of};
use crate::ledger::{Backoff, Leaving, NewRow};
use crate::names::{ImageName, MachineName, PoolName, Zone};
use crate::provider::{Machine, Owner};
use crate::spec::{Pool, Role, Shape};

impl Draft<'_> {
    /// Machines of this ledger without a row get one. Never deleted for lack of a row: this ledger may be
    /// an older copy.
    pub(super) fn adopt(&mut self) -> Decided {
        let rowless: Vec<&Machine> = self
            .ours
            .iter()
            .filter(|(name, _)| self.ledger.row(name).is_none())
            .filter_map(|(_, group)| group.first().copied())
            .collect();
        for machine in rowless {
            let tags = &machine.tags;
            let pool = self.spec.pools.get(&tags.pool);
            // The plain image, whatever it booted: then its steps are checked, which costs little.
            let new = NewRow {
                pool: tags.pool.clone(),
                role: pool.map_or(Role::Worker, |pool| pool.role),
                shape: machine.shape.clone(),
                image: pool.map_or_else(|| ImageName(String::new()), |pool| pool.image.clone()),
                zone: None,
                expose: pool.map_or_else(Vec::new, |pool| self.exposed(pool)),
                expires: tags.expires,
            };
            let born: Timestamp = machine.created.unwrap_or(self.now);
            self.ledger.adopt(tags.machine.clone(), machine.id.clone(), new, born)?;
        }
        Ok(())
    }

    fn exposed(&self, pool: &Pool) -> Vec<u16> {
        if pool.role == Role::FrontEnd { self.spec.network.expose.clone() } else { Vec::new() }
    }

    pub(super) fn is_mine(&self, name: &PoolName) -> bool {
        self.spec.pools.get(name).is_some_and(|pool| owner_of(pool) == self.ledger.owner)
    }

    /// Live rows by pool, newest first.
    pub(super) fn live_rows(&self) -> BTreeMap<PoolName, Vec<(u64, MachineName)>> {
        let mut live: BTreeMap<PoolName, Vec<_>> = BTreeMap::new();
        for (name, row) in self.ledger.rows().iter().filter(|(_, row)| row.phase().is_live()) {
            live.entry(row.pool.clone()).or_default().push((row.born.ordinal, name.clone()));
        }
        for rows in live.values_mut() {
            rows.sort_by(|a, b| b.cmp(a));
        }
        live
    }

    /// Pools that are gone, another owner's or too large: the newest rows drain. Of a pool of the daemon's that is too large
    /// `decide` picks the rows, since it knows what runs on them.
    pub(super) fn surplus(&mut self) -> Decided {
        for (pool, rows) in self.live_rows() {
            let most = match self.spec.pools.get(&pool) {
                Some(_) if self.is_mine(&pool) && self.lives_elsewhere() => continue,
                Some(asked) if self.is_mine(&pool) => *asked.size.end() as usize,
                _ => 0,
            };
            for (_, name) in rows.iter().take(rows.len().saturating_sub(most)) {
                if self.holds_state(name) {
                    return Err(Box::new(Stop::FrontEndSurplus { name: name.clone() }));
                }
                self.ledger.drain(name, Leaving::Surplus)?;
            }
        }
        Ok(())
    }

    /// Pools below their minimum get rows with fresh ordinals, front-ends first.
    pub(super) fn deficit(&mut self) -> Decided {
        let live = self.live_rows();
        let mut pools: Vec<_> =
            self.spec.pools.iter().filter(|(_, pool)| owner_of(pool) == self.ledger.owner).collect();
        pools.sort_by_key(|(name, pool)| (pool.role, *name));
        for (name, pool) in pools {
            let have = live.get(name).map_or(0, Vec::len) + self.coming_back(name);
            let (lack, room) = self.lack(name, pool, have);
            if lack > room {
                let reason = Reason::Full { max: *pool.size.end() };
                self.wait(Subject::Pool(name.clone()), reason, Duration::ZERO, None);
            }
            // What is given up with its front-end goes first: a cloud's quota may have no room for both.
            let lack = lack.saturating_sub(self.given_up_rows(name));
            if lack.min(room) > 0 {
                // The pool may have been the other owner's before.
                let machines = self.seen.machines.as_deref().unwrap_or(&[]);
                let of_pool = machines.iter().filter(|machine| machine.tags.pool == *name);
                self.ledger.raise_past(of_pool.map(|machine| &machine.tags.machine));
            }
            for _ in 0..lack.min(room) {
                let Some((shape, zone)) = self.place(name, pool)? else { break };
                let new = NewRow {
                    pool: name.clone(),
                    role: pool.role,
                    shape,
                    image: pool.boots().clone(),
                    zone,
                    expose: self.exposed(pool),
                    expires: self.spec.expires,
                };
                let added = self.ledger.add(new, self.now)?;
                self.row(&added)?;
            }
        }
        Ok(())
    }

    /// How many machines a pool with so many live rows lacks, and how many it has room for: others' count too.
    pub(super) fn lack(&self, name: &PoolName, pool: &Pool, have: usize) -> (u32, u32) {
        let have = u32::try_from(have).unwrap_or(u32::MAX);
        let others = self.others.get(name).copied().unwrap_or(0);
        let room = pool.size.end().saturating_sub(have.saturating_add(others));
        (pool.size.start().saturating_sub(have), room)
    }

    /// The first shape and zone that did not fail lately; a wait if there is none.
    fn place(&mut self, name: &PoolName, pool: &Pool) -> Result<Option<(Shape, Option<Zone>)>, Box<Stop>> {
        let zones: Vec<Option<Zone>> = match pool.zones.is_empty() {
            true => vec![None],
            false => pool.zones.iter().cloned().map(Some).collect(),
        };
        let mut soonest: Option<(i64, Backoff)> = None;
        let mut given_up = true;
        let mut last_words = String::new();
        for shape in &pool.shapes {
            for zone in &zones {
                let backoff = self.ledger.backoff(name, &shape.name, zone.as_ref());
                given_up &= match (backoff, self.seen.limits.give_up) {
                    (Some(backoff), Some(most)) => backoff.failures >= most,
                    _ => false,
                };
                if let Some(backoff) = backoff {
                    last_words.clone_from(&backoff.why);
                }
                match backoff.and_then(|backoff| Some((backoff.remaining_secs(self.now)?, backoff))) {
                    None if !given_up => return Ok(Some((shape.clone(), zone.clone()))),
                    None => {}
                    Some((left, backoff)) if soonest.as_ref().is_none_or(|(best, _)| left < *best) => {
                        soonest = Some((left, backoff.clone()));
                    }
                    Some(_) => {}
                }
            }
        }
        if given_up {
            return Err(Box::new(Stop::GivenUp { pool: name.clone(), why: last_words }));
        }
        let Some((left, backoff)) = soonest else { return Ok(None) };
        let secs = |n: i64| Duration::from_secs(u64::try_from(n).unwrap_or(0));
        let (since, limit) = (secs(backoff.delay_secs() - left), secs(backoff.delay_secs()));
        self.wait(Subject::Pool(name.clone()), Reason::Backoff { why: backoff.why }, since, Some(limit));
        Ok(None)
    }

    /// `up` is not done before the daemon's pools have their minimum.
    pub(super) fn minimum(&mut self) {
        if self.ledger.owner != Owner::Cli {
            return;
        }
        let Nodes::Known(nodes) = &self.seen.nodes else { return };
        let machines = self.seen.machines.as_deref().unwrap_or(&[]);
        for (name, pool) in self.spec.pools.iter().filter(|(_, pool)| owner_of(pool) == Owner::Autoscaler) {
            let is_ready = |m: &&Machine| {
                m.tags.pool == *name
                    && m.state == MachineState::Running
                    && nodes.get(&m.tags.machine).is_some_and(|node| node.ready)
            };
            let have = u32::try_from(machines.iter().filter(is_ready).count()).unwrap_or(u32::MAX);
            let want = *pool.size.start();
            if have < want {
                let since = self.seen.ages.watched();
                self.waits.push(super::Wait {
                    subject: Subject::Pool(name.clone()),
                    reason: Reason::Minimum { have, want },
                    since,
                    limit: None,
                });
            }
        }
    }
}
