//! `manifest.json`: what a bundle holds, and which entry serves which artifact of a recipe.
//!
//! Invariants: entries are sorted and no two serve the same artifact; blobs are named by their sha256 alone,
//! so that no text of a manifest ever becomes a path.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::recipe::model::Artifact;

/// The version that this code reads and writes. A reader refuses every other one.
pub const VERSION: u64 = 1;
/// Far more than the few dozen artifacts that recipes have; a bound on what a foreign file can cost us.
pub const ENTRIES_MAX: usize = 4096;
/// The largest single file: GPU images reach 8 GB, twice that is surely a mistake.
pub const BLOB_MAX: u64 = 16 << 30;

/// The whole manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u64,
    /// Which program made it, for people.
    pub created_by: String,
    /// Sorted by name, version and architecture.
    pub entries: Vec<Entry>,
}

/// One artifact for one architecture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The artifact's name: `kubelet`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `amd64`, `arm64`.
    pub arch: String,
    /// A file as it is, or a container image.
    pub kind: Kind,
    /// sha256 of the blob, lower-case hex.
    pub sha256: String,
    /// Bytes of the blob.
    pub size: u64,
    /// Upstream's own file, or one built here.
    pub origin: Origin,
    /// Where it came from: a URL, or a Go module with its version.
    pub source: String,
    /// SPDX expression, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// What an image is called; there for images, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// What upstream published, if the blob is upstream's; there for files of origin upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<Download>,
}

/// What a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file, mostly a program.
    File,
    /// A container image as an OCI archive.
    Image,
}

/// Who made the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Published by the project itself: a recipe's hashes bind it.
    Upstream,
    /// Built from the same sources where upstream could not be reached: bound by the bundle's own hash only.
    Built,
}

/// A container image's names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// `registry.k8s.io/pause:3.10.2`.
    pub reference: String,
    /// Digest of this architecture's image manifest, `sha256:…`.
    pub digest: String,
    /// Digest that the tag itself had, where the tag names images of several architectures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_digest: Option<String>,
}

/// A file as upstream publishes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// sha256 of what the URL gave.
    pub sha256: String,
    /// The file that was taken out of it; all of it if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Upstream => "upstream",
            Self::Built => "built",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Image => "image",
        })
    }
}

/// Whether the text is a sha256 as we write it: 64 of `0-9a-f`.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Entry {
    /// Whether this entry is what the recipe means by `artifact` on machines of `arch`.
    ///
    /// Images are known by their reference (its tag says the version); a digest in the recipe binds upstream's images.
    /// Files are known by name and version; a sha256 in the recipe binds upstream's files.
    pub fn serves(&self, artifact: &Artifact, arch: &str) -> bool {
        self.arch == arch && self.mismatch(artifact).is_none() && self.names(artifact)
    }

    fn names(&self, artifact: &Artifact) -> bool {
        match (&artifact.image, &self.image) {
            (Some(wanted), Some(image)) => *wanted == image.reference,
            (None, None) => self.name == artifact.name,
            _ => false,
        }
    }

    /// Why this entry of the right name is not the right one.
    fn mismatch(&self, artifact: &Artifact) -> Option<String> {
        if let Some(image) = &self.image {
            let wanted = artifact.digest.as_ref().filter(|_| self.origin == Origin::Upstream)?;
            let right = *wanted == image.digest || Some(wanted) == image.index_digest.as_ref();
            return (!right).then(|| format!("the recipe pins {wanted}, the bundle has {}", image.digest));
        }
        if self.version != artifact.version {
            return Some(format!(
                "the recipe wants version {}, the bundle has {}",
                artifact.version, self.version
            ));
        }
        let upstream = artifact.files.get(&self.arch).filter(|_| self.origin == Origin::Upstream)?;
        let have = self.download.as_ref();
        if have.is_some_and(|have| have.sha256 == upstream.sha256 && have.member == upstream.member) {
            return None;
        }
        let have = have.map_or("no upstream hash", |have| &have.sha256);
        Some(format!("the recipe pins sha256 {}, the bundle has {have}", upstream.sha256))
    }
}

impl Manifest {
    /// A manifest of these entries, sorted. Errors name the first two entries that serve the same artifact.
    pub fn of(mut entries: Vec<Entry>) -> Result<Self, String> {
        entries.sort();
        let manifest = Self {
            version: VERSION,
            created_by: concat!("continuum ", env!("CARGO_PKG_VERSION")).into(),
            entries,
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// The text of `manifest.json`: the same entries always give the same bytes.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Checks everything that other code relies on.
    pub fn check(&self) -> Result<(), String> {
        if self.entries.len() > ENTRIES_MAX {
            return Err(format!("has {} entries, at most {ENTRIES_MAX} are read", self.entries.len()));
        }
        let mut keys = BTreeSet::new();
        for entry in &self.entries {
            let at = |why: &str| Err(format!("entry {} ({}): {why}", entry.name, entry.arch));
            if !is_sha256(&entry.sha256) {
                return at("its sha256 is not 64 characters of 0-9 and a-f");
            }
            if entry.size > BLOB_MAX {
                return at(&format!("its size is {} bytes, at most {BLOB_MAX} are taken", entry.size));
            }
            if (entry.kind == Kind::Image) != entry.image.is_some() {
                return at("an entry of kind image has `image`, one of kind file has not");
            }
            let key = match &entry.image {
                Some(image) => (image.reference.clone(), String::new()),
                None => (entry.name.clone(), entry.version.clone()),
            };
            if !keys.insert((key, entry.arch.clone())) {
                return at("is there twice");
            }
        }
        Ok(())
    }

    /// The entry that serves an artifact.
    pub fn find(&self, artifact: &Artifact, arch: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.serves(artifact, arch))
    }

    /// Why [`Manifest::find`] has nothing, for the reader: the nearest entry and how it differs.
    pub fn why_missing(&self, artifact: &Artifact, arch: &str) -> String {
        let named: Vec<&Entry> = self.entries.iter().filter(|entry| entry.names(artifact)).collect();
        match named.iter().find(|entry| entry.arch == arch).and_then(|entry| entry.mismatch(artifact)) {
            Some(why) => why,
            None if named.is_empty() => "the bundle does not have it".into(),
            None => {
                let archs: Vec<&str> = named.iter().map(|entry| entry.arch.as_str()).collect();
                format!("the bundle has it for {} only, not for {arch}", archs.join(", "))
            }
        }
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
