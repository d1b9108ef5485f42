//! Recipes: how one piece of software gets onto a machine.
//!
//! A recipe is a folder with `recipe.yaml`, POSIX sh scripts and templates; adding one needs no Rust.
//! ```text
//! load (folder -> Recipe, all problems) -> order (needs) -> resolve (spec + recipes -> steps of each pool)
//!                                                        -> render (step + values -> one script)
//! ```

mod check;
mod cookbook;
mod inputs;
mod job;
mod least;
pub mod load;
pub mod model;
mod order;
mod parse;
mod problem;
mod resolve;
mod samples;
#[cfg(test)]
mod tests;
mod values;

pub use check::{Report, Texts, check};
pub use cookbook::Cookbook;
pub use least::TooSmall;
pub use parse::Recipe;
pub use problem::Problem;
pub use resolve::{Bakery, Blobs, Resolved};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use secrecy::SecretSlice;

use crate::names::{ClusterId, MachineId, MachineName, PoolName, StepId, Zone};
use crate::remote::Job;
use crate::spec::{Role, Shape};

/// What a script may know of the machine that it is rendered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its name; the node's name too.
    pub name: MachineName,
    /// Its pool.
    pub pool: PoolName,
    /// What it is for.
    pub role: Role,
    /// The cloud's id of it.
    pub machine: MachineId,
    /// Where other machines reach it.
    pub address: IpAddr,
    /// Its size.
    pub shape: Shape,
    /// Where it stands.
    pub zone: Option<Zone>,
    /// The front-ends, lowest ordinal first: name and address.
    pub front_ends: Vec<(MachineName, IpAddr)>,
    /// Addresses under which the operator reaches exposed ports (for certificates).
    pub operator_addresses: Vec<IpAddr>,
}

/// A script that a front-end is asked, and how long its answer may be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// POSIX sh; the fact is what it prints.
    pub script: String,
    /// `None`: ask anew each time.
    pub keep: Option<Duration>,
}

/// The scripts about the cluster as a whole that recipes may bring (see [`model::Hooks`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Prints the nodes.
    Nodes,
    /// Empties a node.
    Drain,
    /// Lets a node take work again.
    Uncordon,
    /// Forgets a node.
    Forget,
    /// Prints a kubeconfig.
    Kubeconfig,
    /// Ends when the cluster is usable.
    Settled,
    /// Imports an image archive.
    LoadImage,
    /// Ends the baking of an image.
    Bake,
    /// Puts the daemon's configuration in place and lets it obey.
    Daemon,
}

/// A recipe cannot be rendered for this machine. Found at plan time wherever it can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("recipe {what}: {why}")]
pub struct RenderError {
    /// `kubernetes/init`.
    pub what: String,
    /// The template engine's words, with file and line; never a value.
    pub why: String,
}

/// What the engine needs of recipes: a seam, so that engine tests need none.
pub trait Scripts: Send + Sync {
    /// The job of one step on one machine. `facts` has every fact that the step names.
    fn job(
        &self,
        host: &Host,
        step: &StepId,
        facts: BTreeMap<StepId, SecretSlice<u8>>,
    ) -> Result<Job, RenderError>;
    /// The script of a fact, rendered for the front-end that is asked.
    fn fact(&self, front_end: &Host, fact: &StepId) -> Result<Fact, RenderError>;
    /// All scripts of a hook, in the recipes' order, rendered for the front-end (or machine) they run on;
    /// each takes its subject as `$1`. Empty if no recipe has one.
    fn hook(&self, on: &Host, hook: Hook) -> Result<Vec<String>, RenderError>;
}
