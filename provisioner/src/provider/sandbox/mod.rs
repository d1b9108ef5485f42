//! Machines on this computer: a small cloud made of Linux namespaces, run by an agent.

use serde::{Deserialize, Serialize};

/// `provider: {type: sandbox, …}` of the cluster file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which sandbox cloud of this computer; several live side by side.
    #[serde(default = "default_instance")]
    pub instance: String,
}

fn default_instance() -> String {
    "default".into()
}

impl Default for Config {
    fn default() -> Self {
        Self { instance: default_instance() }
    }
}
