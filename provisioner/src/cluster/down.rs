//! `cluster down`: by the cluster's file or its name, with or without what this computer remembers of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretSlice;
use tokio_util::sync::CancellationToken;

use super::site::{Site, SiteError};
use crate::events::Sink;
use crate::names::{MachineName, StepId};
use crate::provider::{Machine, Scope};
use crate::recipe::{Fact, Hook, Host, RenderError, Scripts};
use crate::remote::Job;
use crate::teardown::{self, Down, DownError};

/// No recipes: a cluster that is taken down at once needs none, and its files may be gone.
pub(super) struct NoScripts;

impl Scripts for NoScripts {
    fn job(&self, _: &Host, step: &StepId, _: BTreeMap<StepId, SecretSlice<u8>>) -> Result<Job, RenderError> {
        Err(RenderError { what: step.to_string(), why: "nothing is configured while a cluster goes down".into() })
    }
    fn fact(&self, _: &Host, fact: &StepId) -> Result<Fact, RenderError> {
        Err(RenderError { what: fact.to_string(), why: "nothing is asked while a cluster goes down".into() })
    }
    fn hook(&self, _: &Host, _: Hook) -> Result<Vec<String>, RenderError> {
        Ok(Vec::new())
    }
}

/// What is there to be removed.
pub async fn doomed(site: &Site) -> Result<Vec<Machine>, SiteError> {
    let scope = Scope::Cluster { name: site.name.clone(), id: Some(site.record.id.clone()) };
    let mut machines = site.provider.list(&scope).await?;
    machines.retain(|machine| machine.tags.cluster == site.record.id);
    machines.sort_by(|a, b| a.tags.machine.cmp(&b.tags.machine));
    Ok(machines)
}

/// Removes the cluster and, once nothing is left, what this computer remembers of it.
pub async fn run(site: Site, events: Sink, cancel: &CancellationToken) -> Result<Down, DownError> {
    let parts = site.parts(Arc::new(NoScripts), events);
    let down = teardown::down(parts, site.ledger.clone(), Duration::ZERO, cancel).await?;
    if down == Down::Gone {
        // A folder that cannot be removed holds nothing of the cloud; the next `up` uses it again.
        if let Err(error) = site.dir.remove() {
            tracing::warn!(%error, "the cluster is gone, its folder is not");
        }
    }
    Ok(down)
}

/// The rows of a ledger that no machine was listed for: shown, so that nothing is skipped silently.
pub fn unlisted(site: &Site, machines: &[Machine]) -> Vec<MachineName> {
    let listed: Vec<_> = machines.iter().map(|machine| &machine.tags.machine).collect();
    site.ledger.rows().keys().filter(|name| !listed.contains(name)).cloned().collect()
}
