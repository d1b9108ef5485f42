//! `cluster adopt`: this computer becomes the one that manages a cluster, from its tags and its machines.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretSlice;
use tokio_util::sync::CancellationToken;

use super::site::{Site, SiteError, connect, draw};
use crate::adopt::{self, AdoptError, Adopted};
use crate::clock;
use crate::events::Sink;
use crate::keys::{self, Keys};
use crate::ledger::{CodecError, Ledger};
use crate::names::{ClusterId, ClusterName, LedgerId};
use crate::provider::{self, Machine, Owner, Provider, ProviderError, Scope};
use crate::recipe::Scripts;
use crate::reconcile::Parts;
use crate::remote::{Done, Job, Remote, RemoteError, SshRemote, Target};
use crate::spec::Spec;
use crate::state::{Record, StateDir, StateError};
use crate::store::{FileStore, Holder, Store, StoreError};

/// The machines that are there under a cluster's name, of all its ids.
pub async fn look(
    config: &provider::Config,
    name: &ClusterName,
) -> Result<(Arc<dyn Provider>, Vec<Machine>), ProviderError> {
    let provider = connect(config).await?;
    let machines = provider.list(&Scope::Cluster { name: name.clone(), id: None }).await?;
    Ok((provider, machines))
}

/// Opens the cluster for this computer: its lock, its keys, and a ledger that its machines can be taken into. What was
/// in its folder before is used as far as it is good, and kept beside where it is not.
pub async fn open(
    name: &ClusterName,
    config: &provider::Config,
    file: PathBuf,
    id: &ClusterId,
    machines: &[Machine],
) -> Result<Site, SiteError> {
    let dir = StateDir::of(name)?;
    dir.ensure()?;
    let store = FileStore::open(dir.path(), &Holder::here("cluster adopt", clock::now()))?;
    let provider = connect(config).await?;
    let cloud = provider.cloud().await?;
    let known = match dir.record() {
        Err(StateError::Damaged { .. }) => None,
        other => other?,
    };
    // An id without a ledger is what an `up` left that met this very cluster: nothing was ever made under it.
    let made = |dir: &StateDir| FileStore::peek(dir.path()).is_ok_and(|ledger| ledger.is_some());
    if let Some(known) = known.as_ref().filter(|known| known.id != *id && made(&dir)) {
        return Err(SiteError::OtherId { name: name.clone(), known: known.id.clone(), asked: id.clone() });
    }
    let (bundle, recipes) = known.map_or((None, None), |known| (known.bundle, known.recipes));
    let record =
        Record { id: id.clone(), provider: config.clone(), file, bundle, recipes, autoscaler: false };
    dir.set_record(&record)?;
    let keys = Keys::load_or_create(&dir.keys(), name.as_str())?;
    let before = match store.load().await {
        Err(StoreError::Damaged { source: CodecError::Damaged(_), .. }) => {
            store.set_aside()?;
            None
        }
        other => other?,
    };
    let generation = before.as_ref().map_or(0, |ledger| ledger.generation);
    let ledger = match before.filter(|ledger| ledger.cluster == *id && goes_on(ledger, machines)) {
        Some(ledger) => ledger,
        None => {
            let mut fresh = Ledger::new(LedgerId(draw(12)?), Owner::Cli, id.clone(), cloud);
            fresh.generation = generation;
            fresh
        }
    };
    Ok(Site::of(name, dir, store, ledger, keys, provider, record))
}

/// Whether machines are taken into this ledger, or into a new one. One that has rows and none of the machines any more
/// was taken over by somebody: there may be copies of it, and none of them shall count again. One without rows is
/// an adoption's that was killed before the first.
fn goes_on(ledger: &Ledger, machines: &[Machine]) -> bool {
    let is_on = |machine: &Machine| machine.tags.ledger == ledger.id;
    ledger.rows().is_empty() || machines.iter().any(is_on)
}

/// Takes the machines over. `login` is a private key that they let in already, if this computer's own is not one.
pub async fn take(
    site: &mut Site,
    spec: &Spec,
    scripts: Arc<dyn Scripts>,
    login: Option<&Path>,
    events: Sink,
    cancel: &CancellationToken,
) -> Result<Adopted, SiteError> {
    let mut parts = site.parts(scripts, events);
    if let Some(path) = login {
        let key = keys::login_key(path)?.private().clone();
        let first = Arc::new(SshRemote::new(Arc::clone(&site.provider), key, site.dir.logs()));
        parts = Parts { remote: Arc::new(Either { first, second: Arc::clone(&parts.remote) }), ..parts };
    }
    let adopted = adopt::take(&parts, &mut site.ledger, spec, cancel).await;
    adopted.map_err(|error| match error {
        AdoptError::Store(error) => SiteError::Store(error),
        AdoptError::Cloud(error) => SiteError::Cloud(error),
        other => SiteError::Adopt(other),
    })
}

/// Two keys: who is not let in by the first tries the second. A machine that was taken over knows this computer's own,
/// one that was not may know only its user's.
struct Either {
    first: Arc<dyn Remote>,
    second: Arc<dyn Remote>,
}

#[async_trait]
impl Remote for Either {
    async fn run(&self, target: &Target, job: &Job) -> Result<Done, RemoteError> {
        match self.first.run(target, job).await {
            Err(refused @ RemoteError::AuthRefused { .. }) => {
                let second = self.second.run(target, job).await;
                if matches!(second, Err(RemoteError::AuthRefused { .. })) { Err(refused) } else { second }
            }
            other => other,
        }
    }
    async fn ask(&self, target: &Target, script: &str) -> Result<SecretSlice<u8>, RemoteError> {
        match self.first.ask(target, script).await {
            Err(RemoteError::AuthRefused { .. }) => self.second.ask(target, script).await,
            other => other,
        }
    }
}
