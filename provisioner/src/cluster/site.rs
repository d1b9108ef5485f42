//! One cluster as this computer knows it: its folder, its lock, its ledger, its keys, its cloud.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use secrecy::ExposeSecret;

use super::keys::ClusterKeys;
use crate::clock::{self, Clock};
use crate::events::Sink;
use crate::keys::{Keys, KeysError};
use crate::ledger::{CodecError, Ledger};
use crate::names::{ClusterId, ClusterName, ID_SUFFIX, LedgerId, NameError};
use crate::provider::{self, Owner, Provider, ProviderError, sandbox};
use crate::recipe::Scripts;
use crate::reconcile::Parts;
use crate::remote::SshRemote;
use crate::state::{Record, StateDir, StateError};
use crate::store::{FileStore, Holder, Store, StoreError};

/// Why a cluster cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// Its folder.
    #[error("the cluster's folder cannot be used")]
    State(#[from] StateError),
    /// Its ledger or its lock.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Its cloud.
    #[error(transparent)]
    Cloud(#[from] ProviderError),
    /// The system gave no random bytes.
    #[error("no random bytes from the system: {0}")]
    Chance(getrandom::Error),
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// This computer knows another cluster of this name.
    #[error("this computer knows {name} as {known}, not as {asked}")]
    OtherId {
        /// The name.
        name: ClusterName,
        /// The id that stands in its folder.
        known: ClusterId,
        /// The id that was asked for.
        asked: ClusterId,
    },
    /// Its machines cannot be taken over.
    #[error(transparent)]
    Adopt(#[from] crate::adopt::AdoptError),
    /// This computer does not know the cluster.
    #[error("this computer knows no cluster {0}")]
    Unknown(ClusterName),
}

/// A cluster that is locked for this process.
pub struct Site {
    /// Its name.
    pub name: ClusterName,
    /// Its folder.
    pub dir: StateDir,
    /// Its ledger's file, locked.
    pub store: Arc<FileStore>,
    /// Its ledger as saved last, or a new one.
    pub ledger: Ledger,
    /// Its keys.
    pub(super) keys: ClusterKeys,
    /// This computer's private key for logging in.
    pub(super) operator: secrecy::SecretString,
    /// Its cloud.
    pub provider: Arc<dyn Provider>,
    /// What is remembered of it.
    pub record: Record,
    /// Its folder had no keys before this command: nothing is lost with it.
    fresh: bool,
}

/// See [`put_between`].
static BETWEEN: OnceLock<fn(Parts) -> Parts> = OnceLock::new();

/// From now on this stands between the engine and what it works with: a seam for programs that test the engine.
/// `continuum` puts nothing there. The first that is put there stays.
pub fn put_between(between: fn(Parts) -> Parts) {
    BETWEEN.get_or_init(|| between);
}

/// Connects to the cloud of a cluster file, or of the daemon's configuration.
pub async fn connect(config: &provider::Config) -> Result<Arc<dyn Provider>, ProviderError> {
    match config {
        provider::Config::Sandbox(config) => Ok(Arc::new(sandbox::connect(config).await?)),
        provider::Config::SandboxGateway(access) => Ok(Arc::new(sandbox::connect_at_gateway(access).await?)),
    }
}

/// `length` random characters of `a-z0-9`. 36 is no power of two: bytes that would favour some are drawn again.
pub(super) fn draw(length: usize) -> Result<String, SiteError> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::new();
    let mut bytes = [0_u8; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes).map_err(SiteError::Chance)?;
        let fair = bytes.iter().filter(|byte| **byte < 252);
        text.extend(fair.map(|byte| char::from(LETTERS[usize::from(*byte % 36)])).take(length - text.len()));
    }
    Ok(text)
}

/// Opens a cluster that may be new: takes the lock, draws ids and keys where there are none, and writes them down
/// before anything is asked of the cloud.
pub async fn open(
    name: &ClusterName,
    config: &provider::Config,
    file: PathBuf,
    doing: &str,
) -> Result<Site, SiteError> {
    open_in(StateDir::of(name)?, name, config, file, doing).await
}

/// The same, with its folder elsewhere than people look.
pub(super) async fn open_in(
    dir: StateDir,
    name: &ClusterName,
    config: &provider::Config,
    file: PathBuf,
    doing: &str,
) -> Result<Site, SiteError> {
    dir.ensure()?;
    let fresh = !Keys::operator_file(&dir.keys()).exists();
    let store = FileStore::open(dir.path(), &Holder::here(doing, clock::now()))?;
    let provider = connect(config).await?;
    let cloud = provider.cloud().await?;
    let ledger = store.load().await?;
    let record = remembered(&dir, ledger.as_ref())?;
    let record = match record {
        Some(record) => record,
        None => blank(ClusterId::of(name, &draw(ID_SUFFIX)?)?, config),
    };
    let record = Record { provider: config.clone(), file, ..record };
    dir.set_record(&record)?;
    let keys = Keys::load_or_create(&dir.keys(), name.as_str())?;
    let ledger = match ledger {
        Some(ledger) => ledger,
        None => Ledger::new(LedgerId(draw(12)?), Owner::Cli, record.id.clone(), cloud),
    };
    Ok(Site { fresh, ..Site::of(name, dir, store, ledger, keys, provider, record) })
}

fn blank(id: ClusterId, config: &provider::Config) -> Record {
    Record {
        id,
        provider: config.clone(),
        file: PathBuf::new(),
        bundle: None,
        recipes: None,
        autoscaler: false,
    }
}

/// What is remembered of a cluster. Where that is lost or damaged, the ledger still has the id, which is all that matters.
fn remembered(dir: &StateDir, ledger: Option<&Ledger>) -> Result<Option<Record>, SiteError> {
    let record = match dir.record() {
        Err(StateError::Damaged { path, .. }) if ledger.is_some() => {
            tracing::warn!(path = %path.display(), "damaged: made anew from the ledger");
            None
        }
        other => other?,
    };
    let config = provider::Config::Sandbox(sandbox::Config::default());
    Ok(record.or_else(|| Some(blank(ledger?.cluster.clone(), &config))))
}

/// Opens a cluster to take it down, whatever state its folder is in. `known`: this computer's own folder of that name
/// is this cluster's; else it stays as it is, and a passing one is used.
pub async fn open_to_remove(
    name: &ClusterName,
    config: &provider::Config,
    id: ClusterId,
    known: bool,
) -> Result<Site, SiteError> {
    let dir = if known { StateDir::of(name)? } else { StateDir::of_stand_in(&id)? };
    dir.ensure()?;
    let store = FileStore::open(dir.path(), &Holder::here("cluster down", clock::now()))?;
    let provider = connect(config).await?;
    let mut record = remembered(&dir, None).ok().flatten().unwrap_or_else(|| blank(id.clone(), config));
    record.id = id.clone();
    dir.set_record(&record)?;
    let ledger = match store.load().await {
        // Its machines are found by their tags.
        Err(StoreError::Damaged { source: CodecError::Damaged(_), .. }) => {
            store.set_aside()?;
            None
        }
        other => other?.filter(|ledger| ledger.cluster == id),
    };
    let ledger = match ledger {
        Some(ledger) => ledger,
        None => Ledger::new(LedgerId(draw(12)?), Owner::Cli, id, provider.cloud().await?),
    };
    // Nobody logs in to a machine that is deleted, so any keys will do where its own are lost.
    let keys = Keys::load(&dir.keys()).or_else(|_| Keys::passing(name.as_str()))?;
    Ok(Site::of(name, dir, store, ledger, keys, provider, record))
}

/// The id of the cluster that this computer made or took over under a name, if there is one: of its ledger, or, where
/// that is lost, of what else is remembered. And where it is.
pub fn own(name: &ClusterName) -> Result<(Option<ClusterId>, Option<provider::Config>), SiteError> {
    let dir = StateDir::of(name)?;
    let record = match dir.record() {
        Err(StateError::Damaged { .. }) => None,
        other => other?,
    };
    let ledger = FileStore::peek(dir.path()).ok().flatten().map(|ledger| ledger.cluster);
    let (id, config) = record.map_or((None, None), |record| (Some(record.id), Some(record.provider)));
    Ok((ledger.or(id), config))
}

/// Opens a cluster that this computer knows. Without its lock: for those that only look.
pub async fn known(name: &ClusterName) -> Result<(StateDir, Record), SiteError> {
    let dir = StateDir::of(name)?;
    let record = dir.record()?.ok_or_else(|| SiteError::Unknown(name.clone()))?;
    Ok((dir, record))
}

/// What the engine works with, for a cluster that is only looked at: its store refuses to save.
pub async fn looking(
    dir: &StateDir,
    record: &Record,
    scripts: Arc<dyn Scripts>,
) -> Result<(Parts, Ledger), SiteError> {
    let ledger = FileStore::peek(dir.path())?;
    let provider = connect(&record.provider).await?;
    let keys = Keys::load(&dir.keys())?;
    let operator = keys.operator().private().expose_secret().to_owned().into();
    let ledger = match ledger {
        Some(ledger) => ledger,
        None => Ledger::new(LedgerId(draw(12)?), Owner::Cli, record.id.clone(), provider.cloud().await?),
    };
    let remote = SshRemote::new(Arc::clone(&provider), operator, dir.logs());
    let parts = Parts {
        provider,
        planner: crate::plan::plan,
        remote: Arc::new(remote),
        scripts,
        store: Arc::new(ReadOnly),
        keys: Arc::new(ClusterKeys { keys: Arc::new(keys), operators: Vec::new() }),
        clock: Clock::system(),
        events: Sink::none(),
    };
    Ok((parts, ledger))
}

/// A store for those who only look.
struct ReadOnly;

#[async_trait::async_trait]
impl Store for ReadOnly {
    async fn load(&self) -> Result<Option<Ledger>, StoreError> {
        Ok(None)
    }
    async fn save(&self, _: &Ledger, _: u64) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("this command only looks".into()))
    }
}

impl Site {
    /// Put together from what was opened; with something in its folder that was there before.
    pub(super) fn of(
        name: &ClusterName,
        dir: StateDir,
        store: FileStore,
        ledger: Ledger,
        keys: Keys,
        provider: Arc<dyn Provider>,
        record: Record,
    ) -> Self {
        let operator = keys.operator().private().expose_secret().to_owned().into();
        let keys = ClusterKeys { keys: Arc::new(keys), operators: Vec::new() };
        let (name, store) = (name.clone(), Arc::new(store));
        Self { name, dir, store, ledger, keys, operator, provider, record, fresh: false }
    }

    /// Removes what was written down of a cluster of which nothing was made and nothing decided. What was there before this
    /// command stays.
    pub fn leave_no_trace(&self) -> Result<(), StateError> {
        if self.fresh && self.ledger.generation == 0 { self.dir.remove() } else { Ok(()) }
    }

    /// Further people who may log in to every machine that is made or taken over from now on.
    pub fn authorise(&mut self, operators: &[String]) {
        self.keys.operators = operators.to_vec();
    }

    /// Everybody who may log in to this cluster's machines: this computer, and further people.
    pub fn authorized(&self, others: &[String]) -> Vec<String> {
        self.keys.keys.authorized(others)
    }

    /// What the engine works with.
    pub fn parts(&self, scripts: Arc<dyn Scripts>, events: Sink) -> Parts {
        let remote = SshRemote::new(Arc::clone(&self.provider), self.operator.clone(), self.dir.logs());
        let parts = Parts {
            provider: Arc::clone(&self.provider),
            planner: crate::plan::plan,
            remote: Arc::new(remote),
            scripts,
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            keys: Arc::new(self.keys.clone()),
            clock: Clock::system(),
            events,
        };
        match BETWEEN.get() {
            Some(between) => between(parts),
            None => parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_fits_an_id_and_differs() {
        let (a, b) = (draw(8).unwrap(), draw(8).unwrap());
        assert_ne!(a, b);
        assert!(a.len() == 8 && a.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{a}");
    }
}
