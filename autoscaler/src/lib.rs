//! The node autoscaler: what to add and what to remove, and why.
//!
//! Modules in reading order: [`quantity`] and [`view`] are what a cluster holds, as plain data; [`fit`] says which pods may go
//! where. All of it is a function of its arguments.

pub mod fit;
pub mod quantity;
pub mod view;
