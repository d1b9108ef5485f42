//! What is said to be coming: pods that do not exist yet, and when.
//!
//! A forecast never takes a place from a pod that exists, and its pods count as soon as a machine that is asked for now would
//! be ready for them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::view::Pod;

/// What is said to be coming.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forecast {
    /// In no order.
    pub demands: Vec<Demand>,
}

/// Some pods that are expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// What they are like.
    pub pod: Arc<Pod>,
    /// How many.
    pub count: u32,
    /// When they are there, at the earliest.
    pub at: Timestamp,
}

impl Forecast {
    /// The pods that a machine which is asked for now, and boots for so long, would not be too early for.
    pub fn due(&self, now: Timestamp, boot: Duration) -> impl Iterator<Item = &Arc<Pod>> {
        let boot = i64::try_from(boot.as_secs()).unwrap_or(i64::MAX);
        let due = move |demand: &&Demand| demand.at.duration_since(now).as_secs() <= boot;
        self.demands.iter().filter(due).flat_map(|one| std::iter::repeat_n(&one.pod, one.count as usize))
    }
}
