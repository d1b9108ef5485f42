//! Making a bundle: what recipes name, from an offline build, from upstream, or from a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::archive::{assemble, pack};
use super::error::{BundleError, Fault};
use super::fetch::{FetchError, Fetcher, Request};
use super::manifest::{BLOB_MAX, Download, Entry, Image, Kind, Manifest, Origin};
use super::reference::Reference;
use super::store::{Store, hash};
use super::{Bundle, built, registry};
use crate::recipe::model::{Artifact, RecipeFile, Upstream};
use crate::remote::Blob;

/// A program has at most some hundred megabytes; an archive that unpacks to more is broken or hostile.
const MEMBER_MAX: u64 = 4 << 30;

/// How a bundle is made.
pub struct How<'a> {
    /// The folder of an offline build: what it has is taken from there, all of it, also what no recipe names.
    pub from: Option<&'a Path>,
    /// References of images that are wanted beyond those of the recipes.
    pub images: &'a [String],
    /// Whether what is still missing may be downloaded.
    pub download: bool,
    /// Told what is being fetched, and how many bytes of it are there.
    pub progress: &'a dyn Fn(&str, u64),
}

/// Makes the bundle of `recipes` for `arch` at `out`: a folder, or one file if the name ends in `.tar.zst`.
///
/// Everything that cannot be had is reported at once. An existing bundle at `out` is replaced; anything else there is an error.
pub fn create(
    store: &Store,
    recipes: &[RecipeFile],
    arch: &str,
    out: &Path,
    how: &How<'_>,
) -> Result<Bundle, BundleError> {
    let more: Vec<Artifact> =
        how.images.iter().map(|reference| image(reference)).collect::<Result<_, _>>()?;
    let mut artifacts = wanted(recipes)?;
    artifacts.extend(
        more.iter().filter(|one| !artifacts.iter().any(|other| other.image == one.image)).collect::<Vec<_>>(),
    );
    let mut entries = match how.from {
        Some(folder) => built::take(folder, store)?,
        None => Vec::new(),
    };
    let missing: Vec<&Artifact> =
        artifacts.into_iter().filter(|one| !entries.iter().any(|entry| entry.serves(one, arch))).collect();
    if !how.download && !missing.is_empty() {
        let why = how.from.map_or_else(
            || "downloads are switched off".into(),
            |folder| format!("{} does not have it, and downloads are switched off", folder.display()),
        );
        let faults = missing.iter().map(|one| Fault { what: title(one), why: why.clone() }).collect();
        return Err(BundleError::Missing { faults });
    }
    // An entry of the build that has the name of a missing artifact is of another version: both stay, names differ by version.
    entries.extend(fetch_all(&missing, arch, store, how)?);
    let manifest = Manifest::of(entries)
        .map_err(|why| BundleError::Manifest { path: out.join("manifest.json"), why })?;
    if out.to_string_lossy().ends_with(".tar.zst") {
        let place = store.bundles().join(super::store::hash_bytes(manifest.to_json().as_bytes()));
        let bundle = assemble(&manifest, store, &place)?;
        pack(&bundle, out)?;
        return Ok(bundle);
    }
    match Bundle::open_folder(out) {
        Ok(bundle) if bundle.manifest == manifest && bundle.verify().is_empty() => Ok(bundle),
        _ => assemble(&manifest, store, out),
    }
}

/// An image that no recipe names, called by the last word of its repository.
fn image(reference: &str) -> Result<Artifact, BundleError> {
    let parsed = Reference::parse(reference).map_err(|error| {
        let faults = vec![Fault { what: reference.to_owned(), why: error.to_string() }];
        BundleError::Missing { faults }
    })?;
    let name = parsed.repository.rsplit('/').next().unwrap_or_default().to_owned();
    let (image, version) = (Some(reference.to_owned()), parsed.version);
    Ok(Artifact { name, version, image, digest: None, own: false, files: BTreeMap::new() })
}

/// Every artifact of the recipes once. Recipes may share one only if they mean the same.
fn wanted(recipes: &[RecipeFile]) -> Result<Vec<&Artifact>, BundleError> {
    let mut by_name: BTreeMap<&str, (&Artifact, &RecipeFile)> = BTreeMap::new();
    let mut faults = Vec::new();
    for recipe in recipes {
        for artifact in &recipe.artifacts {
            match by_name.get(artifact.name.as_str()) {
                Some((other, first)) if *other != artifact => faults.push(Fault {
                    what: title(artifact),
                    why: format!(
                        "recipes {} and {} mean different things by it",
                        first.recipe, recipe.recipe
                    ),
                }),
                Some(_) => {}
                None => drop(by_name.insert(&artifact.name, (artifact, recipe))),
            }
        }
    }
    if faults.is_empty() {
        Ok(by_name.into_values().map(|(artifact, _)| artifact).collect())
    } else {
        Err(BundleError::Missing { faults })
    }
}

pub(super) fn title(artifact: &Artifact) -> String {
    match &artifact.image {
        Some(image) => format!("{} ({image})", artifact.name),
        None => format!("{} {}", artifact.name, artifact.version),
    }
}

/// Where a missing artifact can be had.
enum Address<'a> {
    Image(&'a str),
    File(&'a Upstream),
}

/// The address that a recipe names, or why it has none for this architecture.
fn address<'a>(artifact: &'a Artifact, arch: &str) -> Result<Address<'a>, String> {
    if let Some(reference) = &artifact.image {
        return Ok(Address::Image(reference));
    }
    artifact.files.get(arch).map(Address::File).ok_or_else(|| {
        let known: Vec<&str> = artifact.files.keys().map(String::as_str).collect();
        match known.as_slice() {
            [] => "its recipe names no address to fetch it from".into(),
            known => format!("its recipe names an address for {} only, not for {arch}", known.join(", ")),
        }
    })
}

/// Fetches every artifact, or says of every one that failed why it did.
fn fetch_all(
    artifacts: &[&Artifact],
    arch: &str,
    store: &Store,
    how: &How<'_>,
) -> Result<Vec<Entry>, BundleError> {
    let current = std::cell::RefCell::new(String::new());
    let progress = |bytes: u64| (how.progress)(&current.borrow(), bytes);
    let fetcher = Fetcher::new(&progress)?;
    let mut entries = Vec::new();
    let mut faults = Vec::new();
    for artifact in artifacts {
        let mut missing = |why: String| faults.push(Fault { what: title(artifact), why });
        let address = match address(artifact, arch) {
            Ok(address) => address,
            Err(why) => {
                missing(why);
                continue;
            }
        };
        current.replace(title(artifact));
        progress(0);
        match fetch(artifact, &address, arch, &fetcher, store) {
            Ok(entry) => entries.push(entry),
            Err(BundleError::Fetch(error)) => missing(error.to_string()),
            // The disk is full or not ours: every further artifact would fail the same way.
            Err(error) => return Err(error),
        }
    }
    if faults.is_empty() { Ok(entries) } else { Err(BundleError::Missing { faults }) }
}

fn fetch(
    artifact: &Artifact,
    address: &Address<'_>,
    arch: &str,
    fetcher: &Fetcher<'_>,
    store: &Store,
) -> Result<Entry, BundleError> {
    let entry = |kind, blob: Blob, source: &str| Entry {
        name: artifact.name.clone(),
        version: artifact.version.clone(),
        arch: arch.to_owned(),
        kind,
        sha256: blob.sha256,
        size: blob.size,
        origin: Origin::Upstream,
        source: source.to_owned(),
        licence: None,
        image: None,
        download: None,
    };
    match address {
        Address::Image(reference) => {
            let pulled = registry::pull(reference, artifact.digest.as_deref(), arch, fetcher, store)?;
            let image = Image {
                reference: (*reference).to_owned(),
                digest: pulled.digest,
                index_digest: pulled.index_digest,
            };
            Ok(Entry { image: Some(image), ..entry(Kind::Image, pulled.archive, reference) })
        }
        Address::File(upstream) => {
            let download = Download { sha256: upstream.sha256.clone(), member: upstream.member.clone() };
            let blob = fetch_file(upstream, fetcher, store)?;
            Ok(Entry { download: Some(download), ..entry(Kind::File, blob, &upstream.url) })
        }
    }
}

/// A file, or the wanted member of it. The download itself stays in the store: other artifacts may be members of it too.
fn fetch_file(upstream: &Upstream, fetcher: &Fetcher<'_>, store: &Store) -> Result<Blob, BundleError> {
    let stored = store.get(&upstream.sha256, None).filter(|blob| {
        let right = File::open(&blob.path).and_then(hash);
        right.is_ok_and(|(sha256, _)| sha256 == upstream.sha256)
    });
    let blob = match stored {
        Some(blob) => blob,
        None => {
            let request = Request { url: &upstream.url, ..Request::default() };
            fetcher.blob(request, &upstream.sha256, BLOB_MAX, store)?
        }
    };
    match &upstream.member {
        None => Ok(blob),
        Some(member) => extract(&blob.path, member, &upstream.url, store),
    }
}

/// One file of a `.tar.gz`.
fn extract(archive: &Path, member: &str, url: &str, store: &Store) -> Result<Blob, BundleError> {
    let nonsense = |why: String| BundleError::Fetch(FetchError::Nonsense { url: url.into(), why });
    let broken = |error: io::Error| nonsense(format!("is no readable .tar.gz: {error}"));
    let file = File::open(archive).map_err(BundleError::io("read", archive))?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let plain = |path: &str| path.trim_start_matches("./").to_owned();
    let mut names = BTreeSet::new();
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = plain(&String::from_utf8_lossy(&entry.path_bytes()));
        if name == plain(member) && entry.header().entry_type() == tar::EntryType::Regular {
            let mut writer = store.writer()?;
            let size = entry.size();
            if size > MEMBER_MAX {
                return Err(nonsense(format!(
                    "its {member} has {size} bytes, at most {MEMBER_MAX} are taken"
                )));
            }
            io::copy(&mut entry.by_ref().take(size), &mut writer).map_err(broken)?;
            return writer.finish();
        }
        names.insert(name);
    }
    let some: Vec<String> = names.into_iter().take(10).collect();
    Err(nonsense(format!("has no file {member}; it has {}", some.join(", "))))
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
