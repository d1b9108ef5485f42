//! One cluster as this computer knows it: its folder, its lock, its ledger, its keys, its cloud.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::keys::ClusterKeys;
use crate::clock::{self, Clock};
use crate::events::Sink;
use crate::keys::{Keys, KeysError};
use crate::ledger::Ledger;
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
    keys: Arc<ClusterKeys>,
    operator: secrecy::SecretString,
    /// Its cloud.
    pub provider: Arc<dyn Provider>,
    /// What is remembered of it.
    pub record: Record,
}

/// Connects to the cloud of a cluster file.
pub async fn connect(config: &provider::Config) -> Result<Arc<dyn Provider>, ProviderError> {
    match config {
        provider::Config::Sandbox(config) => Ok(Arc::new(sandbox::connect(config).await?)),
    }
}

/// `length` random characters of `a-z0-9`. 36 is no power of two: bytes that would favour some are drawn again.
fn draw(length: usize) -> Result<String, SiteError> {
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
    let store = FileStore::open(dir.path(), &Holder::here(doing, clock::now()))?;
    let provider = connect(config).await?;
    let cloud = provider.cloud().await?;
    let record = match dir.record()? {
        Some(record) => record,
        None => Record {
            id: ClusterId::of(name, &draw(ID_SUFFIX)?)?,
            provider: config.clone(),
            file: PathBuf::new(),
            bundle: None,
            recipes: None,
        },
    };
    let record = Record { provider: config.clone(), file, ..record };
    dir.set_record(&record)?;
    let keys = Keys::load_or_create(&dir.keys(), name.as_str())?;
    let operator = keys.operator().private().expose_secret().to_owned().into();
    let ledger = match store.load().await? {
        Some(ledger) => ledger,
        None => Ledger::new(LedgerId(draw(12)?), Owner::Cli, record.id.clone(), cloud),
    };
    let keys = Arc::new(ClusterKeys(keys));
    Ok(Site { name: name.clone(), dir, store: Arc::new(store), ledger, keys, operator, provider, record })
}

/// Opens a cluster of which this computer knows nothing but the id that stands on its machines, to take it down.
pub async fn stand_in(
    name: &ClusterName,
    config: &provider::Config,
    id: ClusterId,
) -> Result<Site, SiteError> {
    let dir = StateDir::of(name)?;
    dir.ensure()?;
    let record = Record { id, provider: config.clone(), file: PathBuf::new(), bundle: None, recipes: None };
    dir.set_record(&record)?;
    let mut site = open(name, config, PathBuf::new(), "cluster down").await?;
    // a ledger of this name in the folder is another cluster's
    site.ledger =
        Ledger::new(LedgerId(draw(12)?), Owner::Cli, record.id.clone(), site.provider.cloud().await?);
    site.record = record;
    Ok(site)
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
        keys: Arc::new(ClusterKeys(keys)),
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
    /// What the engine works with.
    pub fn parts(&self, scripts: Arc<dyn Scripts>, events: Sink) -> Parts {
        let remote = SshRemote::new(Arc::clone(&self.provider), self.operator.clone(), self.dir.logs());
        Parts {
            provider: Arc::clone(&self.provider),
            planner: crate::plan::plan,
            remote: Arc::new(remote),
            scripts,
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            keys: Arc::clone(&self.keys) as _,
            clock: Clock::system(),
            events,
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
