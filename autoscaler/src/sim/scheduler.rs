//! A scheduler that binds as kube-scheduler would: what our own [`fit`](crate::fit) allows, and of that the least allocated node.
//!
//! Upstream's default profile adds scores for balance, images, preferences and spreads, and draws lots between equals; here the
//! name decides between equals, so that a story is the same each time.

use std::sync::Arc;

use crate::fit::{Amounts, Check, NodeId, NodeState, Resident, State};
use crate::view::Pod;

/// The node for a pod, if there is one.
pub(super) fn choose(pod: &Arc<Pod>, state: &State) -> Option<NodeId> {
    let check = Check::new(pod, state);
    let feasible = state.ids().filter(|(id, _)| check.fits(state, *id));
    let scored = feasible.map(|(id, node)| (id, score(node, check.wants())));
    // The first of the best: nodes come by name.
    scored
        .fold(None, |best: Option<(NodeId, i64)>, one| best.filter(|best| best.1 >= one.1).or(Some(one)))
        .map(|(id, _)| id)
}

/// Binds a pod in the scheduler's own picture.
pub(super) fn assume(pod: &Arc<Pod>, state: &mut State, id: NodeId) {
    state.place(Arc::new(Resident::new(Arc::clone(pod))), id);
}

/// `LeastAllocated`: the free part of cpu and memory after the pod, 0 to 100 each, and the mean of both.
fn score(node: &NodeState, wants: &Amounts) -> i64 {
    let free = |has: i64, used: i64, wants: i64| match has.saturating_sub(used).saturating_sub(wants) {
        left if has <= 0 || left < 0 => 0,
        left => left.saturating_mul(100) / has,
    };
    let (has, used) = (node.has(), node.used());
    (free(has.cpu, used.cpu, wants.cpu) + free(has.memory, used.memory, wants.memory)) / 2
}
