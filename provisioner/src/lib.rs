//! Machines, recipes and clusters.
//!
//! State, observation and time go in; the next state and a list of actions come out; the shell saves the
//! state, then starts the actions. Modules in reading order.

pub mod adopt;
pub mod ages;
pub mod api;
pub mod bundle;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod cluster_file;
pub mod crash;
pub mod diagnostic;
pub mod duration;
pub mod env;
pub mod events;
pub mod handover;
pub mod keys;
pub mod ledger;
pub mod names;
pub mod plan;
pub mod policy;
pub mod provider;
pub mod quantity;
pub mod recipe;
pub mod reconcile;
pub mod remote;
pub mod render;
pub mod report;
pub mod shellcheck;
pub mod sim;
pub mod spec;
pub mod state;
pub mod store;
pub mod teardown;
pub mod templates;
pub mod tosca;
pub mod tree;
pub mod world;
pub mod yaml;
