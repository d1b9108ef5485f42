//! Machines, recipes and clusters.
//!
//! State, observation and time go in; the next state and a list of actions come out; the shell saves the
//! state, then starts the actions. Modules in reading order.

pub mod names;
pub mod provider;
pub mod quantity;
pub mod recipe;
pub mod remote;
pub mod render;
pub mod spec;
pub mod yaml;
