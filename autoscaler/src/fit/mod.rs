//! Which pods fit where, exactly as kube-scheduler's Filter plugins see it.
//!
//! ```text
//!   KubeView ─► State ─┐
//!                      ├─► Check (one pod, counted once) ─► fits / reasons, node by node
//!   pod ───────────────┘
//! ```
//!
//! One file per family of predicates. Required conditions only: a preference never buys a node. Everything is a function of its
//! arguments, and equal arguments give equal answers, down to the order of reasons. `tests/lab/scheduler` runs the scheduler's
//! own plugins over generated clusters and `autoscaler/tests/scheduler` demands the same verdicts.

mod check;
mod new_node;
mod node_affinity;
mod pod_affinity;
mod ports;
mod reason;
mod requests;
mod resources;
mod selector;
mod spread;
mod state;
mod taints;
mod volumes;

use std::sync::Arc;

pub use self::check::Check;
pub use self::new_node::{NoRoom, daemon_pods, has_taint_of_boot, imagine, missing, template, when_ready};
pub use self::reason::Reason;
pub use self::requests::{Judge, requests};
pub use self::resources::Amounts;
pub(crate) use self::resources::shown;
pub(crate) use self::selector::Selector;
pub use self::state::{NodeId, NodeState, Resident, State};
use crate::view::Pod;

/// Whether a pod fits on a node of a cluster. For many nodes, or many pods, a [`Check`] is cheaper.
///
/// # Errors
/// Every reason why it does not, in an order that depends on nothing but the arguments.
pub fn fits(pod: &Arc<Pod>, node: &str, state: &State) -> Result<(), Vec<Reason>> {
    let Some(id) = state.find(node) else {
        return Err(vec![Reason::NoSuchNode { node: node.to_owned() }]);
    };
    Check::new(pod, state).reasons(state, id)
}

#[cfg(test)]
mod places_tests;
#[cfg(test)]
mod tests;
