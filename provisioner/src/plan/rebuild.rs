//! A front-end that is lost and that a person gives up: the cluster is made anew on the same network, under the same id.
//!
//! The stop is the evidence, the person's word turns it into a decision. The whole decision is in the ledger before
//! anything is done, so whoever goes on after a kill needs no word any more.

use super::{Limits, Stop};
use crate::ledger::{Leaving, Ledger};
use crate::names::MachineName;
use crate::spec::Role;

/// The front-end that this stop says is lost for good, if it is the only one: with it everything that Kubernetes
/// knew is lost, and only a person may go on.
pub fn lost_front_end(ledger: &Ledger, stop: &Stop) -> Option<(MachineName, String)> {
    let (name, why) = match stop {
        Stop::FrontEndLost { name, why, others: false } => (name, why.clone()),
        Stop::NodeNotReady { name, .. } => (name, Leaving::NodeLost.to_string()),
        _ => return None,
    };
    let wanted = |row: &crate::ledger::Row| row.role == Role::FrontEnd && row.phase().is_live();
    let mut others = ledger.rows().iter().filter(|(other, row)| *other != name && wanted(row));
    let is_live = ledger.row(name).is_some_and(wanted);
    (is_live && others.next().is_none()).then(|| (name.clone(), why))
}

/// The ledger in which the front-end is given up, if the stop is about the one that a person gave up. Its row leaves
/// in it, so the same word never gives up another one.
pub(super) fn given_up(ledger: &Ledger, limits: &Limits, stop: &Stop) -> Option<Ledger> {
    let (lost, why) = lost_front_end(ledger, stop)?;
    if limits.give_up_front_end.as_ref() != Some(&lost) {
        return None;
    }
    let mut next = ledger.clone();
    next.give_up_front_end(&lost, why).ok()?;
    Some(next)
}
