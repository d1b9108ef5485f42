//! A bundle in one file: tar, compressed with zstd, the manifest first.
//!
//! The manifest comes first so that a reader knows every name, size and hash before the first byte of content:
//! whatever else is in an archive is refused, not skipped. Content goes to the store while its hash is computed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::store::{Store, hash_bytes, link_or_copy};
use super::{Bundle, BundleError, Fault, blob_path, parse_manifest, read_manifest};

/// Level 3 compresses programs to 40 % about as fast as a disk reads; higher levels gain a few percent for minutes.
const LEVEL: i32 = 3;
/// A window of 128 MiB is the most that we decode: what asks for more asks for our memory.
const WINDOW_LOG_MAX: u32 = 27;

type Reader<'a> = zstd::stream::read::Decoder<'a, BufReader<File>>;

/// Writes a bundle into one file, by a temporary file beside it.
pub fn pack(bundle: &Bundle, out: &Path) -> Result<(), BundleError> {
    let folder = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(BundleError::io("make the folder", folder))?;
    let temp = tempfile::Builder::new().prefix(".bundle-").tempfile_in(folder);
    let temp = temp.map_err(BundleError::io("write in", folder))?;
    write(bundle, temp.as_file()).map_err(BundleError::io("write", out))?;
    temp.as_file().sync_all().map_err(BundleError::io("write", out))?;
    temp.persist(out).map_err(|failed| BundleError::io("write", out)(failed.error))?;
    Ok(())
}

fn write(bundle: &Bundle, out: &File) -> io::Result<()> {
    let mut tar = tar::Builder::new(zstd::stream::write::Encoder::new(BufWriter::new(out), LEVEL)?);
    let text = bundle.manifest.to_json();
    tar.append_data(&mut header(0o644, text.len() as u64), "manifest.json", text.as_bytes())?;
    // By hash, so that content which two entries share is written once.
    let blobs: BTreeMap<_, _> =
        bundle.list().iter().map(|entry| (&entry.sha256, bundle.blob(entry))).collect();
    for (sha256, blob) in blobs {
        tar.append_data(&mut header(0o555, blob.size), blob_path(sha256), File::open(&blob.path)?)?;
    }
    tar.into_inner()?.finish()?.flush()
}

fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

/// Unpacks an archive into the store, once: `<cache>/bundles/<hash of the manifest>/` is the bundle afterwards.
pub fn unpack(path: &Path, store: &Store) -> Result<Bundle, BundleError> {
    let file = File::open(path).map_err(BundleError::io("read", path))?;
    let cut = |source| BundleError::CutShort { path: path.to_owned(), source };
    let mut decoder = zstd::stream::read::Decoder::new(file).map_err(cut)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(cut)?;
    let mut tar = tar::Archive::new(decoder);
    let mut entries = tar.entries().map_err(cut)?;
    let first = entries.next().transpose().map_err(cut)?;
    let Some(first) = first.filter(|entry| &*entry.path_bytes() == b"manifest.json") else {
        return Err(BundleError::NoBundle { path: path.to_owned() });
    };
    let text = read_manifest(first, &path.join("manifest.json"))?;
    let manifest = parse_manifest(&text, &path.join("manifest.json"))?;
    let place = place(store, &text);
    if let Ok(bundle) = Bundle::open_folder(&place) {
        return Ok(bundle);
    }
    let mut wanted: BTreeMap<String, u64> =
        manifest.entries.iter().map(|entry| (blob_path(&entry.sha256), entry.size)).collect();
    for entry in entries {
        unpack_entry(entry.map_err(cut)?, &mut wanted, path, store)?;
    }
    let faults: Vec<Fault> =
        wanted.into_keys().map(|what| Fault { what, why: "is missing".into() }).collect();
    if !faults.is_empty() {
        return Err(BundleError::Damaged { path: path.to_owned(), faults });
    }
    assemble(&manifest, store, &place)
}

fn place(store: &Store, manifest: &str) -> PathBuf {
    store.bundles().join(hash_bytes(manifest.as_bytes()))
}

/// Takes one blob of an archive and strikes it off the list: there twice, it would be one that nobody asked for.
fn unpack_entry(
    mut entry: tar::Entry<'_, Reader<'_>>,
    wanted: &mut BTreeMap<String, u64>,
    archive: &Path,
    store: &Store,
) -> Result<(), BundleError> {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let refuse =
        |why: &str| BundleError::Unsafe { path: archive.to_owned(), entry: name.clone(), why: why.into() };
    if entry.header().entry_type() != tar::EntryType::Regular {
        return Err(refuse("is not a regular file"));
    }
    let size = wanted.remove(&name).ok_or_else(|| refuse("is not in the manifest, or there twice"))?;
    if entry.size() != size {
        return Err(refuse(&format!("has {} bytes, the manifest says {size}", entry.size())));
    }
    let mut writer = store.writer()?;
    let copied = io::copy(&mut entry.by_ref().take(size), &mut writer);
    let copied = copied.map_err(|source| BundleError::CutShort { path: archive.to_owned(), source })?;
    if copied != size {
        let source = io::Error::from(io::ErrorKind::UnexpectedEof);
        return Err(BundleError::CutShort { path: archive.to_owned(), source });
    }
    let sha256 = writer.sha256();
    if blob_path(&sha256) != name {
        return Err(refuse(&format!("has content with sha256 {sha256}")));
    }
    writer.finish().map(drop)
}

/// Makes the bundle's folder out of content that the store has, by rename: there is never half a bundle.
pub(super) fn assemble(manifest: &Manifest, store: &Store, place: &Path) -> Result<Bundle, BundleError> {
    let folder = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(BundleError::io("make the folder", folder))?;
    let temp = tempfile::Builder::new().prefix(".bundle-").tempdir_in(folder);
    let temp = temp.map_err(BundleError::io("write in", folder))?;
    let blobs = temp.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(BundleError::io("make the folder", &blobs))?;
    for entry in &manifest.entries {
        let to = blobs.join(&entry.sha256);
        if !to.exists() {
            link_or_copy(&store.path(&entry.sha256), &to)?;
        }
    }
    let file = temp.path().join("manifest.json");
    let text = manifest.to_json();
    let written =
        File::create(&file).and_then(|mut out| out.write_all(text.as_bytes()).and_then(|()| out.sync_all()));
    written.map_err(BundleError::io("write", &file))?;
    open_to_all(temp.path())?;
    replace(temp, place)?;
    Bundle::open_folder(place)
}

/// A temporary folder is its owner's alone; a bundle holds nothing secret.
fn open_to_all(path: &Path) -> Result<(), BundleError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).map_err(BundleError::io("change the mode of", path))
}

/// Moves a finished folder to its place. A bundle that was there is exchanged in one step, so that whoever opens it
/// finds the old one or the new one; anything else stays.
fn replace(temp: tempfile::TempDir, place: &Path) -> Result<(), BundleError> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let moved = fs::rename(temp.path(), place);
    if moved.is_ok() {
        let _moved_away = temp.keep();
        return Ok(());
    }
    if !place.join("manifest.json").is_file() {
        return moved.map_err(BundleError::io("write the bundle to", place));
    }
    // The temporary folder is the old bundle afterwards, and goes away with it.
    renameat2(AT_FDCWD, temp.path(), AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE)
        .map_err(|error| BundleError::io("replace", place)(error.into()))
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
