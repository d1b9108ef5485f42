//! What `cluster up` hands to the daemon on the front-end: all that it needs to make machines as `up` itself would.
//!
//! One file, `config.json`. Invariants: it holds no secret; what is in it was checked before it was written, and is checked
//! again by its reader; its recipes give the same steps, with the same hashes, on both sides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{CloudId, ClusterId, LedgerId};
use crate::policy::Policy;
use crate::recipe::{Blobs, Cookbook, Problem, Recipe, Resolved};
use crate::remote::Blob;
use crate::spec::{Pool, Spec};

/// The version of the file that this program writes and reads.
pub const VERSION: u32 = 1;

/// What is handed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// The cluster.
    pub cluster: ClusterId,
    /// The cloud that the daemon's ledger is pinned to.
    pub cloud: CloudId,
    /// The daemon's ledger.
    pub ledger: LedgerId,
    /// What was asked for. Its provider is how the *daemon* reaches the cloud.
    pub spec: Spec,
    /// What the daemon may do.
    pub policy: Policy,
    /// The recipes of the cluster: folder, then file and text.
    pub recipes: BTreeMap<String, BTreeMap<String, String>>,
    /// The artifacts that steps use; a path is where the daemon finds one.
    pub artifacts: Artifacts,
    /// Container images of the user's own, for every node.
    pub images: Vec<Content>,
    /// Public keys that may log in to every machine beside the daemon's.
    pub operators: Vec<String>,
    /// Decide and log, touch nothing.
    #[serde(default)]
    pub shadow: bool,
}

/// The artifacts at hand, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifacts {
    /// `amd64`, `arm64`.
    pub arch: String,
    /// By artifact name.
    pub files: BTreeMap<String, Content>,
}

/// A file by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// sha256, lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// Why a handover cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Not such a file.
    #[error("it is no configuration of the autoscaler: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Of another program.
    #[error("it is of version {0}, this program reads version {VERSION}: run cluster up again")]
    Version(u32),
    /// What cannot be obeyed.
    #[error("its policy cannot be obeyed: {}", .0.join("; "))]
    Policy(Vec<String>),
    /// Recipes that do not work together.
    #[error("its recipes cannot be used: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Recipes(Vec<Problem>),
}

impl From<&Blob> for Content {
    fn from(blob: &Blob) -> Self {
        Self { sha256: blob.sha256.clone(), size: blob.size }
    }
}

impl Content {
    /// As a blob that lies below this folder, by its hash.
    pub fn below(&self, folder: &std::path::Path) -> Blob {
        Blob { sha256: self.sha256.clone(), size: self.size, path: folder.join(&self.sha256) }
    }
}

impl Handover {
    /// Reads and checks one.
    pub fn read(text: &[u8]) -> Result<Self, HandoverError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(text)?;
        if version != VERSION {
            return Err(HandoverError::Version(version));
        }
        let handover: Self = serde_json::from_slice(text)?;
        let problems = handover.policy.check(&handover.spec);
        if !problems.is_empty() {
            return Err(HandoverError::Policy(problems.iter().map(ToString::to_string).collect()));
        }
        Ok(handover)
    }

    /// The spec with the steps of its pools, and what renders them. Artifacts lie below `folder`.
    pub fn resolve(&self, folder: &std::path::Path) -> Result<(Spec, Resolved), HandoverError> {
        let parsed = self.recipes.iter().map(|(folder, texts)| Recipe::parse(folder, texts.clone()));
        let recipes = parsed.collect::<Result<Vec<_>, _>>().map_err(HandoverError::Recipes)?;
        let cookbook = Cookbook::new(recipes).map_err(HandoverError::Recipes)?;
        let files = self.artifacts.files.iter();
        let files = files.map(|(name, content)| (name.clone(), content.below(folder))).collect();
        let mut spec = self.spec.clone();
        let blobs = Blobs { arch: self.artifacts.arch.clone(), files };
        let resolved = cookbook.resolve(&mut spec, blobs).map_err(HandoverError::Recipes)?;
        Ok((spec, resolved))
    }
}

/// Whether any pool is the daemon's.
pub fn has_elastic_pools(spec: &Spec) -> bool {
    spec.pools.values().any(Pool::is_elastic)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::plan::fixtures;
    use crate::recipe::load;
    use crate::spec::Role;

    /// One front-end and an elastic pool, with a recipe that ships.
    fn handover() -> Handover {
        let mut spec = fixtures::spec(0);
        for pool in spec.pools.values_mut() {
            pool.recipes = vec!["base".parse().unwrap()];
            pool.steps.clear();
        }
        spec.pools.get_mut(&fixtures::pool_name("workers")).unwrap().size = 0..=3;
        let base =
            load::shipped().unwrap().into_iter().find(|recipe| recipe.name().as_str() == "base").unwrap();
        Handover {
            version: VERSION,
            cluster: ClusterId::new("lab1-7k2m9qxa").unwrap(),
            cloud: CloudId::from("here"),
            ledger: LedgerId::from("daemon-1"),
            spec,
            policy: Policy::default(),
            recipes: BTreeMap::from([(base.folder.clone(), base.texts.clone())]),
            artifacts: Artifacts { arch: "amd64".into(), files: BTreeMap::new() },
            images: Vec::new(),
            operators: Vec::new(),
            shadow: false,
        }
    }

    #[test]
    fn what_is_written_is_read_and_gives_the_steps_that_the_command_line_has() {
        let handover = handover();
        let read = Handover::read(&serde_json::to_vec(&handover).unwrap()).unwrap();
        assert_eq!(read, handover);
        let mut here = handover.spec.clone();
        let blobs = Blobs { arch: "amd64".into(), files: BTreeMap::new() };
        load::cookbook(None).unwrap().resolve(&mut here, blobs).unwrap();
        let (there, _) = read.resolve(Path::new("/blobs")).unwrap();
        let workers = fixtures::pool_name("workers");
        assert!(!there.pools[&workers].steps.is_empty());
        assert_eq!(there.pools[&workers].steps, here.pools[&workers].steps);
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_with_the_reason() {
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut value = serde_json::to_value(handover()).unwrap();
            change(&mut value);
            Handover::read(value.to_string().as_bytes()).unwrap_err().to_string()
        };
        type Change<'a> = &'a dyn Fn(&mut Value);
        let cases: [(&str, Change<'_>); 3] = [
            ("it is of version 2, this program reads version 1: run cluster up again", &|value| {
                value["version"] = json!(2)
            }),
            (
                "its policy cannot be obeyed: rate.up is 0: nothing could ever change; leave it out, or pause the autoscaler",
                &|value| value["policy"]["rate"]["up"] = json!(0),
            ),
            ("it is no configuration of the autoscaler: unknown field `extra`", &|value| {
                value["spec"]["extra"] = json!(1)
            }),
        ];
        for (words, change) in cases {
            let said = refused(change);
            assert!(said.starts_with(words), "{said}");
        }
    }

    #[test]
    fn an_elastic_pool_is_one_of_workers_with_a_range() {
        let mut spec = handover().spec;
        assert!(has_elastic_pools(&spec));
        for pool in spec.pools.values_mut().filter(|pool| pool.role == Role::Worker) {
            pool.size = 2..=2;
        }
        assert!(!has_elastic_pools(&spec));
    }
}
