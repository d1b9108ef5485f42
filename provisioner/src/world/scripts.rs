//! Scripts and keys of a world: texts that its machines understand.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{SecretSlice, SecretString};

use crate::names::{MachineName, StepId};
use crate::provider::UserData;
use crate::recipe::{Fact, Hook, Host, RenderError, Scripts};
use crate::reconcile::HostKeys;
use crate::remote::Job;

/// Recipes without recipes, and keys without secrets.
#[derive(Debug, Clone, Copy)]
pub struct WorldScripts;

impl Scripts for WorldScripts {
    fn job(&self, _: &Host, step: &StepId, _: BTreeMap<StepId, SecretSlice<u8>>) -> Result<Job, RenderError> {
        Ok(Job {
            unit: format!("continuum-{}-{}", step.recipe, step.step),
            script: step.to_string(),
            files: Vec::new(),
            blobs: Vec::new(),
            timeout: Duration::from_secs(60),
        })
    }
    fn fact(&self, _: &Host, fact: &StepId) -> Result<Fact, RenderError> {
        Ok(Fact { script: fact.to_string(), keep: Some(Duration::from_secs(60)) })
    }
    fn hook(&self, _: &Host, hook: Hook) -> Result<Vec<String>, RenderError> {
        let script = match hook {
            Hook::Nodes => "nodes",
            Hook::Drain => "drain",
            Hook::Uncordon => "uncordon",
            Hook::Forget => "forget",
            Hook::Kubeconfig | Hook::Settled | Hook::LoadImage | Hook::Bake | Hook::Daemon => {
                return Ok(Vec::new());
            }
        };
        Ok(vec![script.to_owned()])
    }
}

impl HostKeys for WorldScripts {
    fn user_data(&self, machine: &MachineName, birth: Timestamp) -> UserData {
        UserData {
            host_key: SecretString::from(String::new()),
            host_key_public: self.first(machine, birth),
            authorized_keys: Vec::new(),
            script: String::new(),
        }
    }
    fn fingerprint(&self, machine: &MachineName, birth: Timestamp) -> String {
        format!("SHA256:{machine}/{birth}")
    }
    fn first(&self, machine: &MachineName, birth: Timestamp) -> String {
        format!("ssh-ed25519 first/{machine}/{birth}")
    }
    fn second(&self, machine: &MachineName, birth: Timestamp) -> String {
        format!("ssh-ed25519 second/{machine}/{birth}")
    }
    fn rotation(&self, _: &MachineName, _: Timestamp) -> Option<Job> {
        None
    }
}
