//! Machines, recipes and clusters.
//!
//! State, observation and time go in; the next state and a list of actions come out; the shell saves the
//! state, then starts the actions. Modules in reading order.

pub mod names;
pub mod quantity;
pub mod duration;
pub mod clock;
pub mod env;
pub mod cache;
pub mod spec;
pub mod diagnostic;
pub mod tree;
pub mod yaml;
pub mod tosca;
pub mod cluster_file;
pub mod render;
pub mod recipe;
pub mod bundle;
pub mod ledger;
pub mod ages;
pub mod plan;
pub mod events;
pub mod store;
pub mod provider;
pub mod remote;
pub mod keys;
pub mod reconcile;
pub mod teardown;
pub mod world;
pub mod state;
pub mod cluster;
pub mod report;
pub mod cli;
pub mod templates;
