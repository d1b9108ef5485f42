//! A cluster in memory that the real `decide()` plans for: whole days of it in milliseconds, and the same day for two policies.
//!
//! ```text
//!   story ─► arrivals, ends, boots, faults in the order of time ─► cluster ─► scheduler ─► tick: decide() or CLUES ─► machines
//!                                                                     └──────────────── account, timeline ◄───────────┘
//! ```
//!
//! Deterministic: time is a number that the story moves, chance comes from the story's seed. Invariants: a pod runs only where
//! [`fit`](crate::fit) says that it may; machines are made and removed through the ledger alone; the autoscaler sees nothing but
//! the view that Kubernetes would give it.
//!
//! Left out, on purpose: the scheduler's other scores (balance, images, spreads, preferences), its back-off and preemption; images
//! are there when a pod is bound; the engine's steps stand for one boot time; a cloud refuses nothing.

mod clues;
mod cluster;
mod log;
mod machines;
mod objects;
pub mod paper;
mod run;
mod scheduler;
mod story;

pub use self::log::Account;
pub use self::run::{Outcome, run};
pub use self::story::{Autoscaler, Budget, Fault, Jobs, Pool, Span, Story};

#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod tests;
