//! Making the image: one machine, configured by the same engine, stopped and captured.
//!
//! Invariants: one at a time for each cache, by a lock that ends with its process; the image is there whole or not at
//! all; a run that was killed leaves a folder under `.bake/` of the state folder, and the next run removes by it what
//! that one left in the cloud.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Bake;
use crate::cache::{self, NoCache};
use crate::clock;
use crate::cluster::down;
use crate::cluster::input::Input;
use crate::cluster::site::{self, Site, SiteError};
use crate::events::Sink;
use crate::names::{MachineId, MachineName, NameError};
use crate::plan::{Limits, Stop};
use crate::provider::{ProviderError, sandbox};
use crate::recipe::{Hook, RenderError, Scripts};
use crate::reconcile::{Ended, Reconciler};
use crate::remote::{Job, RemoteError};
use crate::state::{self, StateDir, StateError};
use crate::store::{FileStore, Holder, StoreError};
use crate::teardown::{Down, DownError};

/// The hooks move and remove some gigabytes at most.
const HOOK: Duration = Duration::from_secs(300);
/// How often a run that waits for another looks again: soon enough that nobody notices.
const LOOK: Duration = Duration::from_millis(300);

/// What a run is doing that holds the lock of an unfinished image.
const CLEARS: &str = "removing an unfinished image";

/// Why there is no image. Never in the way of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    /// The cache.
    #[error(transparent)]
    Cache(#[from] NoCache),
    /// The lock in it.
    #[error("cannot lock {path}")]
    Lock {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of the state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its cluster.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cloud.
    #[error(transparent)]
    Cloud(#[from] ProviderError),
    /// A recipe.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The engine stopped.
    #[error("{0}")]
    Stopped(Stop),
    /// The machine.
    #[error("{machine}")]
    Remote {
        /// Which.
        machine: MachineName,
        /// Why.
        source: RemoteError,
    },
    /// A hook said no.
    #[error("the bake hook of a recipe failed: {0}")]
    Hook(String),
    /// The machine is not there after all.
    #[error("the machine that it is made of is gone")]
    Gone,
    /// A person asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// What it was made with is still there.
    #[error("the machine that it was made of could not be removed")]
    Down(#[from] DownError),
    /// The same, with names.
    #[error("of the machine that it was made of this is left: {0}")]
    Left(String),
}

/// Lets new machines boot the image for this cluster if it is there. If there could be one, but is not: how it is made.
pub async fn look(input: &mut Input) -> Result<Option<Bake>, BakeError> {
    let Some(bake) = Bake::of(input)? else { return Ok(None) };
    if is_there(&bake).await? {
        bake.serve(&mut input.spec);
        return Ok(None);
    }
    Ok(Some(bake))
}

async fn is_there(bake: &Bake) -> Result<bool, BakeError> {
    Ok(sandbox::connect(&bake.config).await?.image_exists(&bake.image).await?)
}

/// Makes the image, unless another run has made it meanwhile. `waits` is called once if it has to wait for one.
pub async fn make(
    bake: &Bake,
    events: Sink,
    waits: impl FnOnce(),
    cancel: &CancellationToken,
) -> Result<(), BakeError> {
    let _lock = lock(waits, cancel).await?;
    if is_there(bake).await? {
        return Ok(());
    }
    clear(cancel).await?;
    let dir = StateDir::of_bake(&bake.layer)?;
    let mut site =
        site::open_in(dir, &bake.spec.cluster, &bake.spec.provider, PathBuf::new(), "making an image")
            .await?;
    let made = on_machine(bake, &mut site, events, cancel).await;
    // Whatever came of it, the machine goes.
    let removed = remove(site, &CancellationToken::new()).await;
    made.and(removed)
}

/// Held until it is dropped; ends with the process.
async fn lock(waits: impl FnOnce(), cancel: &CancellationToken) -> Result<File, BakeError> {
    let folder = cache::folder()?.join("layers");
    let path = folder.join(".lock");
    let failed = |source| BakeError::Lock { path: path.clone(), source };
    fs::create_dir_all(&folder).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    let mut waits = Some(waits);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) => {}
        }
        if let Some(waits) = waits.take() {
            waits();
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = cancel.cancelled() => return Err(BakeError::Interrupted),
        }
    }
}

/// From an empty cluster to the image.
async fn on_machine(
    bake: &Bake,
    site: &mut Site,
    events: Sink,
    cancel: &CancellationToken,
) -> Result<(), BakeError> {
    let parts = site.parts(bake.scripts.clone(), events);
    let mut engine = Reconciler::new(parts.clone(), site.ledger.clone(), Limits::default());
    let ended = engine.settle(&bake.spec, cancel).await;
    site.ledger = engine.ledger().clone();
    match ended? {
        Ended::Settled => {}
        Ended::Interrupted => return Err(BakeError::Interrupted),
        Ended::Stopped(stop) => return Err(BakeError::Stopped(stop)),
    }
    let name = site.ledger.rows().keys().next().cloned().ok_or(BakeError::Gone)?;
    let (target, host) = engine.reach(&name).ok_or(BakeError::Gone)?;
    for (index, script) in bake.scripts.hook(&host, Hook::Bake)?.into_iter().enumerate() {
        let unit = format!("continuum-bake-{index}");
        let job = Job { unit, script, files: Vec::new(), blobs: Vec::new(), timeout: HOOK };
        let done = parts.remote.run(&target, &job).await;
        let done = done.map_err(|source| BakeError::Remote { machine: name.clone(), source })?;
        if done.status != 0 {
            return Err(BakeError::Hook(done.tail.join("; ")));
        }
    }
    capture(bake, &target.machine.id).await
}

async fn capture(bake: &Bake, machine: &MachineId) -> Result<(), BakeError> {
    let cloud = sandbox::connect(&bake.config).await?;
    cloud.stop(machine).await?;
    Ok(cloud.capture(&bake.layer, machine).await?)
}

async fn remove(site: Site, cancel: &CancellationToken) -> Result<(), BakeError> {
    match down::run(site, Sink::none(), cancel).await? {
        Down::Gone => Ok(()),
        Down::Left(left) => {
            let left: Vec<_> =
                left.into_iter().map(|left| format!("{} ({})", left.what, left.blocker)).collect();
            Err(BakeError::Left(left.join(", ")))
        }
        Down::Stopped(stop) => Err(BakeError::Stopped(stop)),
        Down::Interrupted => Err(BakeError::Interrupted),
    }
}

/// Removes what runs left that were killed while they made an image.
pub async fn clear(cancel: &CancellationToken) -> Result<(), BakeError> {
    for dir in state::bakes()? {
        let Some(record) = dir.record()? else {
            // Killed before it had asked for anything, unless it writes its first file right now.
            if FileStore::open(dir.path(), &Holder::here(CLEARS, clock::now())).is_ok() {
                dir.remove()?;
            }
            continue;
        };
        let Some(name) = record.id.name() else { continue };
        match site::open_in(dir, &name, &record.provider, PathBuf::new(), CLEARS).await {
            Ok(site) => remove(site, cancel).await?,
            // It is being made.
            Err(SiteError::Store(StoreError::Locked { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
