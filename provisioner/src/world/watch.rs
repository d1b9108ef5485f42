//! What a world tells the one who checks it: every effect, at the moment at which it happens.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Made, Registered};
use crate::ledger::Ledger;
use crate::names::{ClusterId, MachineId, MachineName};
use crate::provider::Machine;

/// Which computer acts: each has a ledger of its own.
pub type Seat = u8;

/// Something that changed, or a moment at which the engine may be killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect<'a> {
    /// Nothing changed: a step between two effects.
    Point,
    /// A machine was made, with this token.
    Created(&'a Machine, &'a str),
    /// A machine was deleted, because this computer asked for it.
    Deleted(&'a Machine, Seat),
    /// A machine went without being asked to, or by a person's hand.
    Lost(&'a Machine),
    /// A ledger was saved.
    Saved(Seat, Option<&'a Ledger>, &'a Ledger),
    /// A call that changes something reached a cloud that is not the ledger's.
    Elsewhere(&'a str),
    /// A script ran to its end.
    Ran(&'a Machine, &'a str),
    /// A call got another answer than it should.
    Fault(&'a str, &'a str),
}

/// The whole truth at that moment.
pub(crate) struct Scene<'a> {
    /// True time, which no clock of an operator shows.
    pub(crate) now: Timestamp,
    /// Every machine that exists.
    pub(crate) made: &'a BTreeMap<MachineId, Made>,
    /// Since when each node is Ready, as long as its machine is up.
    pub(crate) nodes: &'a BTreeMap<(ClusterId, MachineName), Registered>,
    /// Every ledger, as saved.
    pub(crate) stored: &'a BTreeMap<Seat, Ledger>,
}

/// Follows a world.
pub(crate) trait Watch: Send {
    /// Called right after the effect, with the world as it is then.
    fn effect(&mut self, effect: Effect<'_>, scene: &Scene<'_>);
}
