//! Taints and what puts up with them.

use super::reason::{Found, Reason};
use crate::view::{Effect, Node, Taint, Toleration, TolerationOperator};

/// What cordoning a node puts on it.
pub(super) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Whether a taint keeps pods from being scheduled at all: `PreferNoSchedule` is a preference.
fn keeps_away(taint: &Taint) -> bool {
    matches!(taint.effect, Effect::NoSchedule | Effect::NoExecute)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    if !toleration.effect.as_str().is_empty() && toleration.effect != taint.effect {
        return false;
    }
    if !toleration.key.is_empty() && toleration.key != taint.key {
        return false;
    }
    match &toleration.operator {
        TolerationOperator::Exists => true,
        TolerationOperator::Equal => toleration.value == taint.value,
        // An absent operator is Equal. Lt and Gt are behind a gate that is off, and then tolerate nothing.
        TolerationOperator::Other(word) => word.is_empty() && toleration.value == taint.value,
    }
}

fn any_tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// The taints that keep a pod with these tolerations away.
pub(super) fn untolerated<'a>(
    taints: &'a [Taint],
    tolerations: &'a [Toleration],
) -> impl Iterator<Item = &'a Taint> {
    taints.iter().filter(|taint| keeps_away(taint) && !any_tolerates(tolerations, taint))
}

/// Says which taints of a node are in the way, and whether it is cordoned.
pub(super) fn check(tolerations: &[Toleration], node: &Node, found: &mut Found) {
    if node.spec.unschedulable && !tolerates_cordon(tolerations) {
        found.add(|| Reason::Cordoned);
    }
    for taint in untolerated(&node.spec.taints, tolerations) {
        found.add(|| Reason::tainted(taint));
        if found.is_enough() {
            return;
        }
    }
}

fn tolerates_cordon(tolerations: &[Toleration]) -> bool {
    any_tolerates(tolerations, &cordon())
}

/// The taint of a cordoned node.
pub(super) fn cordon() -> Taint {
    Taint { key: UNSCHEDULABLE.to_owned(), effect: Effect::NoSchedule, ..Taint::default() }
}
