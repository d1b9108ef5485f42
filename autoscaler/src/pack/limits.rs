//! How much more may be bought: limits of pools and of the cluster, counted down while a plan grows.

use std::collections::BTreeMap;
use std::fmt;

use provisioner::ledger::Ledger;
use provisioner::names::PoolName;
use provisioner::policy::{Policy, Price};
use provisioner::quantity::{Cpu, Memory};
use provisioner::spec::Shape;
use serde::Serialize;

use super::offer::Source;

/// A limit that is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "limit", rename_all = "kebab-case")]
pub enum Limit {
    /// The pool's own maximum.
    Pool {
        /// How many there are.
        have: u32,
        /// How many there may be.
        most: u32,
    },
    /// The maximum of machines.
    Nodes {
        /// How many there may be.
        most: u32,
    },
    /// The maximum of processors.
    Cpu {
        /// With the machine that was wanted.
        with: String,
        /// At most.
        most: String,
    },
    /// The maximum of memory.
    Memory {
        /// With the machine that was wanted.
        with: String,
        /// At most.
        most: String,
    },
    /// The maximum of costs.
    Price {
        /// With the machine that was wanted.
        with: String,
        /// At most.
        most: String,
    },
    /// As many as may be added within a minute.
    Rate {
        /// How many.
        per_minute: u32,
    },
    /// As many as may boot at a time.
    Booting {
        /// How many.
        most: u32,
    },
}

impl Limit {
    /// One word per kind, for metrics, logs and events.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pool { .. } => "PoolMaximum",
            Self::Nodes { .. } => "NodesMaximum",
            Self::Cpu { .. } => "CpuMaximum",
            Self::Memory { .. } => "MemoryMaximum",
            Self::Price { .. } => "PriceMaximum",
            Self::Rate { .. } => "RateLimit",
            Self::Booting { .. } => "BootingLimit",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool { have, most } => write!(f, "the pool has {have} of at most {most} machines"),
            Self::Nodes { most } => write!(f, "the cluster has its maximum of {most} elastic machines"),
            Self::Cpu { with, most } => write!(f, "the cluster would have {with} cpu, {most} at most"),
            Self::Memory { with, most } => write!(f, "the cluster would have {with} memory, {most} at most"),
            Self::Price { with, most } => write!(f, "an hour would cost {with}, {most} at most"),
            Self::Rate { per_minute } => write!(f, "{per_minute} machines were added within a minute"),
            Self::Booting { most } => write!(f, "{most} machines boot already"),
        }
    }
}

/// What is still allowed.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    policy: Policy,
    pools: BTreeMap<PoolName, (u32, u32)>,
    nodes: u32,
    fresh: u32,
    booting: u32,
    cpu: u64,
    memory: u64,
    micros: u64,
}

fn micros(policy: &Policy, shape: &Shape) -> u64 {
    policy.price(shape).map_or(0, |price| price.micros)
}

impl Allowance {
    /// What the limits leave, given what there is. Rows on their way out count for the cluster: their machines are still there.
    pub(crate) fn of(source: &Source<'_>, others: &BTreeMap<PoolName, u32>) -> Self {
        let ledger: &Ledger = source.ledger;
        let mut allowance = Self {
            policy: source.policy.clone(),
            pools: source.pools().map(|(name, pool)| (name.clone(), (0, *pool.size.end()))).collect(),
            nodes: 0,
            fresh: 0,
            booting: 0,
            cpu: 0,
            memory: 0,
            micros: 0,
        };
        for (pool, count) in others {
            if let Some((have, _)) = allowance.pools.get_mut(pool) {
                *have = have.saturating_add(*count);
            }
        }
        for row in ledger.rows().values() {
            if let Some((have, _)) = allowance.pools.get_mut(&row.pool).filter(|_| row.phase().is_live()) {
                *have = have.saturating_add(1);
            }
            allowance.count(&row.shape);
            let age = source.now.duration_since(row.born.at).as_secs();
            allowance.fresh += u32::from((0..60).contains(&age));
            allowance.booting += u32::from(row.phase().boots());
        }
        allowance
    }

    fn count(&mut self, shape: &Shape) {
        self.nodes = self.nodes.saturating_add(1);
        self.cpu = self.cpu.saturating_add(shape.cpu.millis);
        self.memory = self.memory.saturating_add(shape.memory.bytes);
        self.micros = self.micros.saturating_add(micros(&self.policy, shape));
    }

    /// Whether one more of a shape is allowed.
    ///
    /// # Errors
    /// The first limit that is reached.
    pub(crate) fn allows(&self, pool: &PoolName, shape: &Shape) -> Result<(), Limit> {
        let (have, most) = self.pools.get(pool).copied().unwrap_or((0, 0));
        if have >= most {
            return Err(Limit::Pool { have, most });
        }
        let max = &self.policy.max;
        if let Some(most) = max.nodes.filter(|most| self.nodes >= *most) {
            return Err(Limit::Nodes { most });
        }
        self.allows_size(shape)?;
        let rate = &self.policy.rate;
        if self.fresh >= rate.up {
            return Err(Limit::Rate { per_minute: rate.up });
        }
        if self.booting >= rate.booting {
            return Err(Limit::Booting { most: rate.booting });
        }
        Ok(())
    }

    fn allows_size(&self, shape: &Shape) -> Result<(), Limit> {
        let max = &self.policy.max;
        let cpu = self.cpu.saturating_add(shape.cpu.millis);
        if let Some(most) = max.cpu.filter(|most| cpu > most.millis) {
            return Err(Limit::Cpu { with: Cpu { millis: cpu }.to_string(), most: most.to_string() });
        }
        let memory = self.memory.saturating_add(shape.memory.bytes);
        if let Some(most) = max.memory.filter(|most| memory > most.bytes) {
            return Err(Limit::Memory { with: Memory { bytes: memory }.to_string(), most: most.to_string() });
        }
        let cost = self.micros.saturating_add(micros(&self.policy, shape));
        if let Some(most) = max.price.filter(|most| cost > most.micros) {
            return Err(Limit::Price { with: Price { micros: cost }.to_string(), most: most.to_string() });
        }
        Ok(())
    }

    /// One more is bought.
    pub(crate) fn buy(&mut self, pool: &PoolName, shape: &Shape) {
        if let Some((have, _)) = self.pools.get_mut(pool) {
            *have = have.saturating_add(1);
        }
        self.count(shape);
        self.fresh = self.fresh.saturating_add(1);
        self.booting = self.booting.saturating_add(1);
    }

    /// One that was bought in this plan gets another size, if that is allowed.
    pub(crate) fn exchange(&mut self, from: &Shape, to: &Shape) -> Result<(), Limit> {
        let mut without = self.clone_sizes();
        without.0 = without.0.saturating_sub(from.cpu.millis);
        without.1 = without.1.saturating_sub(from.memory.bytes);
        without.2 = without.2.saturating_sub(micros(&self.policy, from));
        let before = self.clone_sizes();
        (self.cpu, self.memory, self.micros) = without;
        if let Err(limit) = self.allows_size(to) {
            (self.cpu, self.memory, self.micros) = before;
            return Err(limit);
        }
        self.cpu = self.cpu.saturating_add(to.cpu.millis);
        self.memory = self.memory.saturating_add(to.memory.bytes);
        self.micros = self.micros.saturating_add(micros(&self.policy, to));
        Ok(())
    }

    const fn clone_sizes(&self) -> (u64, u64, u64) {
        (self.cpu, self.memory, self.micros)
    }
}
