//! Bundles: the files and images that recipes need, pinned by hash, for machines without internet.
//!
//! ```text
//! <bundle>/manifest.json            what there is: name, version, architecture, hash, origin
//! <bundle>/blobs/sha256/<hex>       the content, hard-linked with the content store where possible
//! <bundle>.tar.zst                  the same two in one file; unpacked once into the cache
//! ```
//!
//! Invariants: content is known by its sha256 alone; nothing of a foreign bundle becomes a path; what a recipe pins
//! binds upstream's files, what was built here is bound by the bundle's own hashes and marked as built.

pub mod archive;
pub mod built;
pub mod create;
pub mod error;
pub mod fetch;
pub mod manifest;
pub mod oci;
pub mod reference;
pub mod registry;
pub mod store;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

pub use self::error::{BundleError, Fault};
pub use self::manifest::{Entry, Kind, Manifest, Origin};
pub use self::store::Store;

use crate::recipe::model::Artifact;
use crate::remote::Blob;

/// The longest manifest that is read: some hundred times what our recipes need.
const MANIFEST_MAX: u64 = 8 << 20;

/// A bundle that can be used: its manifest is sound and every blob is there with its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its folder.
    pub path: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
}

/// What serves an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The content.
    pub blob: Blob,
    /// Who made it.
    pub origin: Origin,
}

impl Bundle {
    /// Opens a bundle: a folder, or a `.tar.zst` that is unpacked into `store`'s cache the first time.
    ///
    /// Checks the manifest and that every blob is a regular file of the right size, and reports all that are not.
    /// Hashes are computed when content is unpacked or received and by [`Bundle::verify`], not here: opening takes milliseconds.
    pub fn open(path: &Path, store: &Store) -> Result<Self, BundleError> {
        if path.is_file() { archive::unpack(path, store) } else { Self::open_folder(path) }
    }

    pub(crate) fn open_folder(path: &Path) -> Result<Self, BundleError> {
        let file = path.join("manifest.json");
        let text = match File::open(&file) {
            Ok(open) => read_manifest(open, &file)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BundleError::NoBundle { path: path.to_owned() });
            }
            Err(error) => return Err(BundleError::io("read", &file)(error)),
        };
        let bundle = Self { path: path.to_owned(), manifest: parse_manifest(&text, &file)? };
        let faults: Vec<Fault> = bundle.manifest.entries.iter().filter_map(|e| bundle.presence(e)).collect();
        if faults.is_empty() { Ok(bundle) } else { Err(BundleError::Damaged { path: bundle.path, faults }) }
    }

    /// The content of an entry.
    pub fn blob(&self, entry: &Entry) -> Blob {
        let path = self.path.join(blob_path(&entry.sha256));
        Blob { sha256: entry.sha256.clone(), size: entry.size, path }
    }

    /// What serves a recipe's artifact on machines of `arch` (`amd64`, `arm64`).
    pub fn find(&self, artifact: &Artifact, arch: &str) -> Option<Found> {
        let entry = self.manifest.find(artifact, arch)?;
        Some(Found { blob: self.blob(entry), origin: entry.origin })
    }

    /// Why [`Bundle::find`] has nothing, to be shown after the artifact's name.
    pub fn why_missing(&self, artifact: &Artifact, arch: &str) -> String {
        self.manifest.why_missing(artifact, arch)
    }

    /// What serves each of the artifacts, by name, and why the others are not served; for the plan, which names all at once.
    pub fn resolve<'a>(
        &self,
        artifacts: impl IntoIterator<Item = &'a Artifact>,
        arch: &str,
    ) -> (BTreeMap<String, Found>, Vec<Fault>) {
        let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
        for artifact in artifacts {
            match self.find(artifact, arch) {
                Some(one) => drop(found.insert(artifact.name.clone(), one)),
                None => {
                    missing
                        .push(Fault { what: create::title(artifact), why: self.why_missing(artifact, arch) });
                }
            }
        }
        (found, missing)
    }

    /// Computes every hash anew; all that is wrong, empty if nothing is.
    pub fn verify(&self) -> Vec<Fault> {
        let check = |entry: &Entry| {
            self.presence(entry).or_else(|| {
                let blob = self.blob(entry);
                let why = match File::open(&blob.path).and_then(store::hash) {
                    Ok((sha256, _)) if sha256 == blob.sha256 => return None,
                    Ok((sha256, _)) => format!("its content has sha256 {sha256}"),
                    Err(error) => format!("cannot be read: {error}"),
                };
                Some(fault(entry, why))
            })
        };
        self.manifest.entries.iter().filter_map(check).collect()
    }

    /// Everything in it.
    pub fn list(&self) -> &[Entry] {
        &self.manifest.entries
    }

    fn presence(&self, entry: &Entry) -> Option<Fault> {
        let why = match fs::symlink_metadata(self.path.join(blob_path(&entry.sha256))) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is missing".into(),
            Err(error) => format!("cannot be read: {error}"),
            Ok(meta) if !meta.is_file() => "is not a regular file".into(),
            Ok(meta) if meta.len() != entry.size => format!("has {} bytes of {}", meta.len(), entry.size),
            Ok(_) => return None,
        };
        Some(fault(entry, why))
    }
}

fn fault(entry: &Entry, why: String) -> Fault {
    Fault { what: format!("{} ({})", blob_path(&entry.sha256), entry.name), why }
}

fn blob_path(sha256: &str) -> String {
    format!("blobs/sha256/{sha256}")
}

/// The text of a manifest, at most [`MANIFEST_MAX`] bytes of it.
fn read_manifest(reader: impl Read, path: &Path) -> Result<String, BundleError> {
    let mut text = String::new();
    let read = reader.take(MANIFEST_MAX + 1).read_to_string(&mut text);
    read.map_err(BundleError::io("read", path))?;
    if text.len() as u64 > MANIFEST_MAX {
        let why = format!("is longer than {MANIFEST_MAX} bytes");
        return Err(BundleError::Manifest { path: path.to_owned(), why });
    }
    Ok(text)
}

/// A sound manifest, or why it is not. The version is looked at first: of another one nothing else can be said.
pub fn parse_manifest(text: &str, path: &Path) -> Result<Manifest, BundleError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u64,
    }
    let broken = |why: String| BundleError::Manifest { path: path.to_owned(), why };
    let version = serde_json::from_str::<Versioned>(text).map_err(|error| broken(error.to_string()))?.version;
    if version != manifest::VERSION {
        return Err(BundleError::Version { path: path.to_owned(), found: version });
    }
    let manifest: Manifest = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    manifest.check().map_err(broken)?;
    Ok(manifest)
}

#[cfg(test)]
mod http_double;
#[cfg(test)]
mod tests;
