//! Container images of the user's own: on every node, also on later ones.
//!
//! An image archive is kept in the cluster's folder by content. Each one is a step more, at the end of every pool's
//! steps, so that a later node imports it like anything else; nodes that are Ready get it at once.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretSlice;

use super::input::Input;
use super::site::Site;
use crate::bundle::{BundleError, Store};
use crate::cache::{self, NoCache};
use crate::names::{MachineName, NameError, RecipeName, StepId};
use crate::plan::Limits;
use crate::recipe::{Fact, Hook, Host, RenderError, Resolved, Scripts};
use crate::reconcile::Reconciler;
use crate::remote::{Blob, Done, Job, RemoteError};
use crate::spec::{Spec, Step};
use crate::state::StateDir;
use crate::store::{Store as _, StoreError};

/// The recipe name of these steps; no folder can have it, because no recipe has only such steps.
const RECIPE: &str = "user-images";
/// An image of ten gigabytes is imported in five minutes from a slow disk.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Why an image could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The archive.
    #[error(transparent)]
    Blob(#[from] BundleError),
    /// No cache.
    #[error(transparent)]
    Cache(#[from] NoCache),
    /// It cannot be kept.
    #[error("cannot keep the image in {path}")]
    Keep {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rendering.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// No recipe can do it.
    #[error("no recipe of this cluster can load images (`load_image` under `hooks`)")]
    NoHook,
}

/// What became of it on one machine.
pub type Loaded = BTreeMap<MachineName, Result<Done, RemoteError>>;

/// The images kept for a cluster, by content.
pub fn kept(dir: &StateDir) -> Result<Vec<Blob>, ImageError> {
    let Ok(entries) = fs::read_dir(dir.images()) else { return Ok(Vec::new()) };
    let store = Store::open(&cache::folder()?)?;
    let mut blobs = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(sha256) = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 64)
        else {
            continue;
        };
        // the cache may have been emptied since
        let blob = match store.get(sha256, None) {
            Some(blob) => blob,
            None => store.add_file(&path)?,
        };
        blobs.push(blob);
    }
    blobs.sort_by(|a, b| a.sha256.cmp(&b.sha256));
    Ok(blobs)
}

/// Keeps an archive.
fn keep(dir: &StateDir, archive: &Path) -> Result<Blob, ImageError> {
    let store = Store::open(&cache::folder()?)?;
    let blob = store.add_file(archive)?;
    let path = dir.images().join(format!("{}.tar", blob.sha256));
    let linked = fs::hard_link(&blob.path, &path).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        // another file system
        _ => fs::copy(&blob.path, &path).map(drop),
    });
    linked.map_err(|source| ImageError::Keep { path: path.display().to_string(), source })?;
    Ok(blob)
}

fn step_of(blob: &Blob) -> Result<Step, NameError> {
    let recipe = RecipeName::new(RECIPE)?;
    let id = StepId { recipe, step: format!("image-{}", &blob.sha256[..12]) };
    Ok(Step { id, after: Vec::new(), facts: Vec::new(), hash: blob.sha256.clone() })
}

/// Adds a step for each image to every pool.
pub fn add_steps(spec: &mut Spec, images: &[Blob]) -> Result<(), NameError> {
    for pool in spec.pools.values_mut() {
        for blob in images {
            pool.steps.push(step_of(blob)?);
        }
    }
    Ok(())
}

/// The recipes of a cluster, and the steps of its images.
#[derive(Debug)]
pub struct WithImages {
    /// The recipes.
    pub recipes: Resolved,
    /// The images.
    pub images: Vec<Blob>,
}

impl WithImages {
    fn import(&self, host: &Host, blob: &Blob) -> Result<Job, RenderError> {
        let mut script = String::new();
        for hook in self.recipes.hook(host, Hook::LoadImage)? {
            script.push_str(&format!("(\nset -- /var/lib/continuum/blobs/{}\n{hook}\n)\n", blob.sha256));
        }
        Ok(Job {
            unit: format!("continuum-{RECIPE}-{}", &blob.sha256[..12]),
            script,
            files: Vec::new(),
            blobs: vec![blob.clone()],
            timeout: TIMEOUT,
        })
    }
}

impl Scripts for WithImages {
    fn job(
        &self,
        host: &Host,
        step: &StepId,
        facts: BTreeMap<StepId, SecretSlice<u8>>,
    ) -> Result<Job, RenderError> {
        let own = self.images.iter().find(|blob| step_of(blob).is_ok_and(|own| own.id == *step));
        match own {
            Some(blob) => self.import(host, blob),
            None => self.recipes.job(host, step, facts),
        }
    }
    fn fact(&self, front_end: &Host, fact: &StepId) -> Result<Fact, RenderError> {
        self.recipes.fact(front_end, fact)
    }
    fn hook(&self, on: &Host, hook: Hook) -> Result<Vec<String>, RenderError> {
        self.recipes.hook(on, hook)
    }
}

/// Keeps the image and imports it on every machine that is Ready; others import it when their turn comes.
pub async fn load(site: &Site, mut input: Input, archive: &Path) -> Result<(Blob, Loaded), ImageError> {
    let blob = keep(&site.dir, archive)?;
    if !input.scripts.images.contains(&blob) {
        input.scripts.images.push(blob.clone());
        input.scripts.images.sort_by(|a, b| a.sha256.cmp(&b.sha256));
        for pool in input.spec.pools.values_mut() {
            pool.steps.retain(|step| step.id.recipe.as_str() != RECIPE);
        }
        add_steps(&mut input.spec, &input.scripts.images)?;
    }
    let scripts = Arc::new(input.scripts);
    let parts = site.parts(Arc::clone(&scripts) as _, crate::events::Sink::none());
    let mut engine = Reconciler::new(parts.clone(), site.ledger.clone(), Limits::default());
    engine.observe(&input.spec).await;
    let mut running = tokio::task::JoinSet::new();
    for name in site.ledger.rows().keys() {
        let Some((target, host)) = engine.reach(name) else { continue };
        let job = scripts.import(&host, &blob)?;
        if job.script.is_empty() {
            return Err(ImageError::NoHook);
        }
        let (remote, name) = (Arc::clone(&parts.remote), name.clone());
        running.spawn(async move { (name, remote.run(&target, &job).await) });
    }
    let loaded: Loaded = running.join_all().await.into_iter().collect();
    let mut ledger = site.ledger.clone();
    for name in
        loaded.iter().filter(|(_, result)| matches!(result, Ok(done) if done.status == 0)).map(|(n, _)| n)
    {
        if let Some(pool) = ledger.row(name).and_then(|row| input.spec.pools.get(&row.pool)) {
            // a machine that is not Ready runs the step in its turn, and finds it done
            let _ = ledger.reconfigured(name, &pool.steps);
        }
    }
    if ledger != site.ledger {
        ledger.generation += 1;
        site.store.save(&ledger, site.ledger.generation).await?;
    }
    Ok((blob, loaded))
}
