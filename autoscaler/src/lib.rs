//! The node autoscaler: what to add and what to remove, and why.
//!
//! Modules in reading order: [`quantity`] and [`view`] are what a cluster holds, as plain data; [`fit`] says which pods may go
//! where; [`learned`] is what was found by watching; [`pack`] says where waiting pods go and what to buy for them; [`decide`] edits the
//! ledger; [`explain`] says why, in the same words; [`sim`] plays
//! stories with all of it. All of it is a function of its arguments.

pub mod ask;
pub mod daemon;
pub mod decide;
pub mod explain;
pub mod fence;
pub mod fit;
pub mod forecast;
pub mod here;
pub mod kube;
pub mod learned;
pub mod pack;
pub mod quantity;
pub mod serve;
pub mod sim;
pub mod status;
pub mod tick;
pub mod view;
