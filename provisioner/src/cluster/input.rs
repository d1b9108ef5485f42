//! From the files that a person gave to a whole `Spec` and the scripts that go with it, or every problem at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::images::{self, ImageError, WithImages};
use crate::bundle::{self, Bundle, BundleError, Origin};
use crate::cache::{self, NoCache};
use crate::cluster_file::{self, Loaded, Warning};
use crate::diagnostic;
use crate::handover::has_elastic_pools;
use crate::names::{ClusterName, NameError, RecipeName};
use crate::policy::Policy;
use crate::provider;
use crate::recipe::load;
use crate::recipe::model::RecipeFile;
use crate::recipe::{self, Blobs, Cookbook};
use crate::remote::Blob;
use crate::spec::{Role, Spec};
use crate::state::{StateDir, StateError};
use crate::templates::Templates;

/// The largest cluster file that is read: a thousand times what one with fifty pools needs.
const LARGEST: u64 = 4 << 20;

/// What a person gave.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The cluster file.
    pub file: PathBuf,
    /// A bundle; the default one if none is named.
    pub bundle: Option<PathBuf>,
    /// A folder of recipes beside or instead of those that ship.
    pub recipes: Option<PathBuf>,
}

/// All that a cluster file comes to.
#[derive(Debug)]
pub struct Input {
    /// What was asked for, steps included.
    pub spec: Spec,
    /// What the autoscaler may do with its pools.
    pub policy: Policy,
    /// Whether there is to be an autoscaler, or is one.
    pub autoscaler: bool,
    /// What renders the steps.
    pub scripts: WithImages,
    /// What is probably not meant.
    pub warnings: Vec<Warning>,
    /// Artifacts that were built on this computer, not published upstream.
    pub built: usize,
    /// Artifacts in all.
    pub artifacts: usize,
    /// The bundle that has them.
    pub bundle: Option<PathBuf>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The cluster file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cluster file, or the template that it names.
    #[error("{} problems in the cluster file", .0.len())]
    File(Vec<diagnostic::Problem>),
    /// Recipes, their inputs or their artifacts.
    #[error("{} problems with recipes", .0.len())]
    Recipes(Vec<recipe::Problem>),
    /// The bundle.
    #[error("bundle")]
    Bundle(#[from] BundleError),
    /// Images of the user's own.
    #[error("images of your own")]
    Images(#[from] ImageError),
    /// No state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No cache folder.
    #[error(transparent)]
    Cache(#[from] NoCache),
}

/// Reads everything. Writes nothing but what unpacking a bundle puts into the cache.
pub fn read(given: &Given) -> Result<Input, InputError> {
    let path = &given.file;
    let text = read_text(path).map_err(|source| InputError::Unreadable { path: path.clone(), source })?;
    let templates = Templates::embedded();
    let shown = path.display().to_string();
    let loaded = cluster_file::read(&text, &shown, templates.shelf()).map_err(InputError::File)?;
    let cookbook = load::cookbook(given.recipes.as_deref()).map_err(InputError::Recipes)?;
    let warnings = warnings(&loaded, &cookbook);
    let (mut spec, policy) = (loaded.spec, loaded.policy);
    let bundle = open_bundle(given.bundle.as_deref())?;
    let (mut blobs, origins) = blobs(&cookbook, bundle.as_ref());
    let artifacts = blobs.files.len();
    let record = StateDir::of(&spec.cluster)?.record().ok().flatten();
    let autoscaler = has_elastic_pools(&spec) || record.is_some_and(|record| record.autoscaler);
    if autoscaler {
        with_autoscaler(&mut spec)?;
        blobs.files.extend(own_programs(&cookbook)?);
    }
    let recipes = cookbook.resolve(&mut spec, blobs).map_err(InputError::Recipes)?;
    let images = images::kept(&StateDir::of(&spec.cluster)?)?;
    images::add_steps(&mut spec, &images).map_err(ImageError::from)?;
    let scripts = WithImages { recipes, images };
    Ok(Input {
        spec,
        policy,
        autoscaler,
        scripts,
        warnings,
        built: origins.into_iter().filter(|origin| *origin == Origin::Built).count(),
        artifacts,
        bundle: bundle.map(|bundle| bundle.path),
    })
}

/// Front-ends of a cluster with elastic pools have the autoscaler, whatever the template says.
fn with_autoscaler(spec: &mut Spec) -> Result<(), NameError> {
    let recipe = RecipeName::new(super::daemon::RECIPE)?;
    for pool in spec.pools.values_mut().filter(|pool| pool.role == Role::FrontEnd) {
        if !pool.recipes.contains(&recipe) {
            pool.recipes.push(recipe.clone());
        }
    }
    Ok(())
}

/// The programs of continuum's own that recipes install: they lie beside this one. One that is not there is in no bundle
/// either, which is said with the other artifacts that are missing.
fn own_programs(cookbook: &Cookbook) -> Result<BTreeMap<String, Blob>, InputError> {
    let Some(folder) = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned())) else {
        return Ok(BTreeMap::new());
    };
    let store = bundle::Store::open(&cache::folder()?)?;
    let mut found = BTreeMap::new();
    for artifact in
        cookbook.recipes().flat_map(|recipe| &recipe.file.artifacts).filter(|artifact| artifact.own)
    {
        let path = folder.join(&artifact.name);
        if path.is_file() {
            found.insert(artifact.name.clone(), store.add_file(&path)?);
        }
    }
    Ok(found)
}

/// What is probably not meant: in the file itself, and machines that are too small for their recipes.
fn warnings(loaded: &Loaded, cookbook: &Cookbook) -> Vec<Warning> {
    let small = cookbook.too_small(&loaded.spec);
    let small = small.iter().map(|small| match loaded.sizes.get(&small.pool) {
        Some(place) => diagnostic::Problem::at(place, small.to_string()),
        None => diagnostic::Problem::of(small.to_string()),
    });
    loaded.warnings.iter().cloned().chain(small).collect()
}

/// Only the name and the place of a cluster file: enough to take the cluster down, whatever became of its recipes.
pub fn place(given: &Given) -> Result<(ClusterName, provider::Config), InputError> {
    let path = &given.file;
    let text = read_text(path).map_err(|source| InputError::Unreadable { path: path.clone(), source })?;
    let templates = Templates::embedded();
    let (spec, _) = cluster_file::load(&text, &path.display().to_string(), templates.shelf())
        .map_err(InputError::File)?;
    Ok((spec.cluster, spec.provider))
}

fn read_text(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a folder, not a file"));
    }
    let mut text = String::new();
    let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => io::Error::other("it is not UTF-8 text"),
        _ => e,
    })?;
    if read as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(text)
}

/// Where the bundle is if nobody names one.
pub fn default_bundle() -> Result<PathBuf, NoCache> {
    Ok(cache::folder()?.join("bundles/default"))
}

fn open_bundle(named: Option<&Path>) -> Result<Option<Bundle>, InputError> {
    let store = bundle::Store::open(&cache::folder()?)?;
    match named {
        Some(path) => Ok(Some(Bundle::open(path, &store)?)),
        None => {
            let path = default_bundle()?;
            if path.exists() { Ok(Some(Bundle::open(&path, &store)?)) } else { Ok(None) }
        }
    }
}

/// The architecture of machines that run here, in the words of container images.
pub const fn host_arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// Every artifact of every recipe that the bundle has.
fn blobs(cookbook: &Cookbook, bundle: Option<&Bundle>) -> (Blobs, Vec<Origin>) {
    let arch = host_arch();
    let mut files = BTreeMap::new();
    let mut origins = Vec::new();
    if let Some(bundle) = bundle {
        for artifact in cookbook.recipes().flat_map(|recipe| &recipe.file.artifacts) {
            if let Some(found) = bundle.find(artifact, arch) {
                files.insert(artifact.name.clone(), found.blob);
                origins.push(found.origin);
            }
        }
    }
    (Blobs { arch: arch.to_owned(), files }, origins)
}

/// The recipe files that ship, or those of a folder beside them: what a bundle must serve.
pub fn recipe_files(folder: Option<&Path>) -> Result<Vec<RecipeFile>, InputError> {
    let cookbook = load::cookbook(folder).map_err(InputError::Recipes)?;
    // What is continuum's own lies beside it, not in a bundle.
    let bundled = |mut file: RecipeFile| {
        file.artifacts.retain(|artifact| !artifact.own);
        file
    };
    Ok(cookbook.recipes().map(|recipe| bundled(recipe.file.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(text: &str, recipes: Option<&Path>) -> String {
        let templates = Templates::embedded();
        let loaded = cluster_file::read(text, "cluster.yaml", templates.shelf()).unwrap();
        diagnostic::render(&warnings(&loaded, &load::cookbook(recipes).unwrap()), false)
    }

    #[test]
    fn a_front_end_that_is_too_small_for_kubernetes_is_a_warning() {
        let text = "name: lab1\ntemplate: elastic-kubernetes\nprovider: {type: sandbox}\ninputs:\n  \
                    front_end: {cpu: 1, memory: 1Gi}\n  workers: {shape: {cpu: 1, memory: 1Gi}, count: 1}\n";
        insta::assert_snapshot!(warned(text, None), @r"
        cluster.yaml:5:14: a front-end of 1x1Gi is small: recipe kubernetes asks for 2 cpu and 1700Mi
            4 | inputs:
            5 |   front_end: {cpu: 1, memory: 1Gi}
              |              ^^^^^^^^^^^^^^^^^^^^^
        ");
        assert_eq!(
            warned(
                &text.replace("front_end: {cpu: 1, memory: 1Gi}", "front_end: {cpu: 2, memory: 2Gi}"),
                None
            ),
            ""
        );
    }

    #[test]
    fn a_front_end_without_kubernetes_may_be_as_small_as_its_recipes_allow() {
        let small = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/recipes-small"));
        let text = format!(
            "name: lab1\ntemplate: {}/template.yaml\nprovider: {{type: sandbox}}\ninputs:\n  workers: {{shape: {{cpu: 1, \
             memory: 512Mi}}, count: 1}}\n",
            small.display()
        );
        assert_eq!(warned(&text, Some(small)), "");
    }
}
