//! What the autoscaler may do, and when: limits and durations, validated.
//!
//! The cluster file has them, the daemon obeys them. Every field has a default that is said beside it; a value that cannot be
//! obeyed is refused by [`Policy::check`], all of them at once.

mod price;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::price::{Price, PriceError};
use crate::names::{PoolName, ShapeName};
use crate::quantity::{Cpu, Memory};
use crate::spec::{Pool, Shape, Spec};

/// The autoscaler's limits and durations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How long a node must have had nothing to do before it goes. 5 minutes: longer than most gaps between the jobs of one
    /// queue, and far below what is billed at least.
    #[serde(with = "span")]
    pub idle: Duration,
    /// How long a machine that still boots may be wanted by nobody before it is called off. 30 seconds: longer than the
    /// scheduler takes to bind pods to room that became free.
    #[serde(with = "span")]
    pub unwanted_boot: Duration,
    /// Percent of a node's cpu or memory, whichever is more, below which its pods may be moved so that it can go; 0 for never.
    pub under_used: u8,
    /// How long a drain may take before it is called off.
    #[serde(with = "span")]
    pub drain_timeout: Duration,
    /// Room that is kept free, so that pods need not wait for a boot.
    pub head_room: Option<HeadRoom>,
    /// How fast.
    pub rate: Rate,
    /// How much.
    pub max: Maxima,
    /// Nodes that may be removed within an hour, the empty ones too. 1000: a cluster may shrink as fast as it grew; a mistake
    /// may not take all of a large one.
    pub destroy_per_hour: u32,
    /// By what shapes are compared.
    pub expander: Expander,
    /// Prices per hour of shapes, in whatever currency, for the expander `price` and the maximum.
    pub prices: BTreeMap<ShapeName, Price>,
    /// What a core and a gibibyte weigh where there are no prices. 6 and 1: the usual ratio of list prices.
    pub weights: Weights,
    /// Whether a node is bought only if the backlog would still need it once it is ready.
    pub boot_aware: bool,
    /// Pods of lower priority buy no node. -10: below what people give, above what placeholders get.
    pub expendable_below: i64,
    /// Schedulers that do not say that a pod is unschedulable: their pods count from the moment they wait.
    pub bypassed_schedulers: Vec<String>,
    /// Taints that agents of the cluster take away when a node is up, by key.
    pub startup_taints: Vec<String>,
    /// More of some pools.
    pub pools: BTreeMap<PoolName, PoolPolicy>,
}

/// What one pool has of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolPolicy {
    /// In place of the cluster's.
    #[serde(with = "span::optional")]
    pub idle: Option<Duration>,
}

/// "N free slots of this size."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRoom {
    /// How many.
    pub slots: u32,
    /// Of which size.
    pub of: Slot,
}

/// The size of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Processors.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
}

/// How fast the cluster may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Machines added within a minute. 300, as Slurm has it: what a large cloud takes without throttling.
    pub up: u32,
    /// Nodes removed within a minute. 60, as Slurm has it.
    pub down: u32,
    /// Machines that boot at the same time. 1000: the largest scale-out of Cluster Autoscaler.
    pub booting: u32,
}

/// How large the elastic part may become; none is no limit beside those of the pools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Maxima {
    /// Machines.
    pub nodes: Option<u32>,
    /// Processors of their shapes.
    pub cpu: Option<Cpu>,
    /// Memory of their shapes.
    pub memory: Option<Memory>,
    /// What they cost in an hour.
    pub price: Option<Price>,
}

/// By what shapes are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expander {
    /// By price where all shapes have one, by weight where not.
    #[default]
    Auto,
    /// By price.
    Price,
    /// By weight.
    Weight,
}

/// What a core and a gibibyte weigh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// A core.
    pub cpu: u32,
    /// A gibibyte.
    pub memory: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5 * 60),
            unwanted_boot: Duration::from_secs(30),
            under_used: 50,
            drain_timeout: Duration::from_secs(10 * 60),
            head_room: None,
            rate: Rate::default(),
            max: Maxima::default(),
            destroy_per_hour: 1000,
            expander: Expander::Auto,
            prices: BTreeMap::new(),
            weights: Weights { cpu: 6, memory: 1 },
            boot_aware: true,
            expendable_below: -10,
            bypassed_schedulers: Vec::new(),
            startup_taints: Vec::new(),
            pools: BTreeMap::new(),
        }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self { up: 300, down: 60, booting: 1000 }
    }
}

/// Something in a policy that cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A share above the whole.
    #[error("under_used is {0}: it is a percentage, at most 100")]
    UnderUsed(u8),
    /// Nothing could ever happen.
    #[error("{0} is 0: nothing could ever change; leave it out, or pause the autoscaler")]
    Zero(&'static str),
    /// A pool that is not there.
    #[error("there is no pool {0} in the cluster")]
    NoPool(PoolName),
    /// Shapes are to be compared by prices that are not known.
    #[error("the shape {0} has no price: give it one under prices, or let expander be weight")]
    NoPrice(ShapeName),
    /// Both weights are zero.
    #[error("weights are 0 and 0: every shape would weigh the same")]
    Weights,
    /// The least that is asked for is more than the most.
    #[error("the pools have at least {least} machines together, max.nodes is {most}")]
    Minimum {
        /// The pools' minima together.
        least: u32,
        /// `max.nodes`.
        most: u32,
    },
    /// A slot of nothing.
    #[error("a slot of the head room has neither cpu nor memory")]
    EmptySlot,
}

impl Policy {
    /// Everything in it that cannot be obeyed for a cluster.
    pub fn check(&self, spec: &Spec) -> Vec<Problem> {
        self.check_pools(&spec.pools)
    }

    /// The same, where only the pools are known yet.
    pub fn check_pools(&self, pools: &BTreeMap<PoolName, Pool>) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.under_used > 100 {
            problems.push(Problem::UnderUsed(self.under_used));
        }
        let rates =
            [("rate.up", self.rate.up), ("rate.down", self.rate.down), ("rate.booting", self.rate.booting)];
        problems.extend(rates.iter().filter(|(_, n)| *n == 0).map(|(name, _)| Problem::Zero(name)));
        let absent = self.pools.keys().filter(|name| !pools.contains_key(*name));
        problems.extend(absent.cloned().map(Problem::NoPool));
        if self.weights.cpu == 0 && self.weights.memory == 0 {
            problems.push(Problem::Weights);
        }
        if self.head_room.as_ref().is_some_and(|room| room.of.cpu.millis == 0 && room.of.memory.bytes == 0) {
            problems.push(Problem::EmptySlot);
        }
        let elastic = || pools.values().filter(|pool| pool.is_elastic());
        if self.expander == Expander::Price || self.max.price.is_some() {
            let shapes = elastic().flat_map(|pool| &pool.shapes);
            let unpriced: std::collections::BTreeSet<_> =
                shapes.map(|shape| &shape.name).filter(|name| !self.prices.contains_key(*name)).collect();
            problems.extend(unpriced.into_iter().cloned().map(Problem::NoPrice));
        }
        let least = elastic().fold(0_u32, |sum, pool| sum.saturating_add(*pool.size.start()));
        if let Some(most) = self.max.nodes.filter(|most| *most < least) {
            problems.push(Problem::Minimum { least, most });
        }
        problems
    }

    /// What an hour of a shape costs, if that is known.
    pub fn price(&self, shape: &Shape) -> Option<Price> {
        self.prices.get(&shape.name).copied()
    }

    /// What shapes are compared by: the price in millionths, or a weight. `by_price` is [`Self::compares_prices`].
    pub fn cost(&self, shape: &Shape, by_price: bool) -> u64 {
        if by_price {
            return self.price(shape).map_or(u64::MAX, |price| price.micros);
        }
        let cpu = u128::from(shape.cpu.millis) * u128::from(self.weights.cpu) * 1000;
        let memory = (u128::from(shape.memory.bytes) * u128::from(self.weights.memory) * 1_000_000) >> 30;
        u64::try_from(cpu + memory).unwrap_or(u64::MAX)
    }

    /// Whether shapes of these pools are compared by their prices.
    pub fn compares_prices<'a>(&self, mut shapes: impl Iterator<Item = &'a Shape>) -> bool {
        match self.expander {
            Expander::Price => true,
            Expander::Weight => false,
            Expander::Auto => shapes.all(|shape| self.prices.contains_key(&shape.name)),
        }
    }

    /// How long a node of a pool must have had nothing to do.
    pub fn idle_of(&self, pool: &PoolName) -> Duration {
        self.pools.get(pool).and_then(|own| own.idle).unwrap_or(self.idle)
    }
}

/// Durations as people write them.
mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::duration;

    pub(super) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&duration::exact(*span))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        duration::parse(&text).map_err(|reason| D::Error::custom(format!("{text:?} {reason}")))
    }

    /// Those that need not be there.
    pub(super) mod optional {
        use super::{Deserialize, Deserializer, Duration, Error, Serializer, duration};

        pub(crate) fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
            match span {
                Some(span) => super::serialize(span, to),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
            let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
            let read = duration::parse(&text);
            read.map(Some).map_err(|reason| D::Error::custom(format!("{text:?} {reason}")))
        }
    }
}
