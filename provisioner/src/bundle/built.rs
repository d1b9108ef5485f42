//! What an offline build made: a folder with `artifacts.jsonl`, one JSON object a line, and the files that it names.

use std::fs;
use std::path::{Component, Path};

use serde::Deserialize;

use super::manifest::{Entry, Image, Kind, Origin};
use super::store::{Store, hash};
use super::{BundleError, Fault};
use crate::remote::Blob;

/// The list in a build's folder.
pub const LIST: &str = "artifacts.jsonl";

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    version: String,
    arch: String,
    /// Below the build's folder.
    path: String,
    /// The Go module or package that it was built from.
    source: String,
    #[serde(default)]
    licence: Option<String>,
    /// For images: their reference. The file is an OCI archive then.
    #[serde(default)]
    image: Option<String>,
}

/// Takes everything that a build made into the store; entries of origin built. All problems at once.
pub fn take(folder: &Path, store: &Store) -> Result<Vec<Entry>, BundleError> {
    let list = folder.join(LIST);
    let text = fs::read_to_string(&list).map_err(BundleError::io("read", &list))?;
    let mut entries = Vec::new();
    let mut faults = Vec::new();
    for (number, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let taken = serde_json::from_str::<Line>(text)
            .map_err(|error| Fault {
                what: format!("{}:{}", list.display(), number + 1),
                why: error.to_string(),
            })
            .and_then(|line| take_line(&line, folder, store));
        match taken {
            Ok(entry) => entries.push(entry),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(entries) } else { Err(BundleError::Missing { faults }) }
}

fn take_line(line: &Line, folder: &Path, store: &Store) -> Result<Entry, Fault> {
    let fault = |why: String| Fault { what: format!("{} ({})", line.name, line.path), why };
    let path = Path::new(&line.path);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(fault("its path leaves the build's folder".into()));
    }
    let path = folder.join(path);
    let blob = add(&path, store).map_err(|error| fault(with_source(&error)))?;
    let image = match &line.image {
        Some(reference) => Some(Image {
            reference: reference.clone(),
            digest: image_digest(&path, reference).map_err(fault)?,
            index_digest: None,
        }),
        None => None,
    };
    Ok(Entry {
        name: line.name.clone(),
        version: line.version.clone(),
        arch: line.arch.clone(),
        kind: if image.is_some() { Kind::Image } else { Kind::File },
        sha256: blob.sha256,
        size: blob.size,
        origin: Origin::Built,
        source: line.source.clone(),
        licence: line.licence.clone(),
        image,
        download: None,
    })
}

/// Copies a file into the store, unless the store has that very content: then bundles go on sharing it.
fn add(path: &Path, store: &Store) -> Result<Blob, BundleError> {
    let read = |path: &Path| fs::File::open(path).and_then(hash).map_err(BundleError::io("read", path));
    let (sha256, size) = read(path)?;
    match store.get(&sha256, Some(size)) {
        Some(blob) if read(&blob.path)?.0 == sha256 => Ok(blob),
        _ => store.add_file(path),
    }
}

fn with_source(error: &BundleError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

/// The digest of the image manifest that an OCI archive holds under `reference`.
fn image_digest(path: &Path, reference: &str) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("is no OCI archive: {error}");
    let mut tar = tar::Archive::new(fs::File::open(path).map_err(unreadable)?);
    // The index is among the first entries; an archive without one is not searched to its end for ever.
    for entry in tar.entries().map_err(unreadable)?.take(4) {
        let entry = entry.map_err(unreadable)?;
        if &*entry.path_bytes() != b"index.json" {
            continue;
        }
        let index: serde_json::Value = serde_json::from_reader(std::io::Read::take(entry, 1 << 20))
            .map_err(|error| format!("its index.json is no JSON: {error}"))?;
        let top = index["manifests"].as_array().into_iter().flatten();
        let mut named = top.filter(|one| one["annotations"]["io.containerd.image.name"] == reference);
        let digest = named.next().and_then(|one| one["digest"].as_str());
        return digest.map(str::to_owned).ok_or_else(|| format!("has no image {reference}"));
    }
    Err("is no OCI archive: it has no index.json".into())
}

#[cfg(test)]
#[path = "built_tests.rs"]
mod tests;
