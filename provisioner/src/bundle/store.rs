//! The content store: `<cache>/blobs/sha256/<hex>`, one file per content, never changed once it is there.
//!
//! Invariants: a file has its name only after its hash was computed while it was written, and after fsync;
//! files are 0555 and may be hard-linked into bundles and bind-mounted into machines, so nothing writes to them.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::BundleError;
use crate::remote::Blob;

/// Large enough that hashing and copying are bound by memory, small enough for the stack of no thread to matter.
const CHUNK: usize = 256 << 10;

/// The store of one cache folder.
#[derive(Debug, Clone)]
pub struct Store {
    blobs: PathBuf,
    temp: PathBuf,
    bundles: PathBuf,
}

impl Store {
    /// Opens the store in a cache folder; makes its folders if they are missing.
    pub fn open(cache: &Path) -> Result<Self, BundleError> {
        let store = Self {
            blobs: cache.join("blobs/sha256"),
            temp: cache.join("blobs/tmp"),
            bundles: cache.join("bundles"),
        };
        for folder in [&store.blobs, &store.temp] {
            fs::create_dir_all(folder).map_err(BundleError::io("make the folder", folder))?;
        }
        fs::set_permissions(&store.blobs, Permissions::from_mode(0o755))
            .map_err(BundleError::io("change the mode of", &store.blobs))?;
        Ok(store)
    }

    /// Where the content of this hash is, or would be.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.blobs.join(sha256)
    }

    /// The blob, if it is there. `size` guards against a file that was cut from outside; its hash is not computed again.
    pub fn get(&self, sha256: &str, size: Option<u64>) -> Option<Blob> {
        let path = self.path(sha256);
        let meta = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let right = size.is_none_or(|size| size == meta.len());
        right.then(|| Blob { sha256: sha256.to_owned(), size: meta.len(), path })
    }

    /// A writer for new content.
    pub fn writer(&self) -> Result<BlobWriter, BundleError> {
        let file = tempfile::Builder::new()
            .prefix("blob-")
            .tempfile_in(&self.temp)
            .map_err(BundleError::io("make a temporary file in", &self.temp))?;
        Ok(BlobWriter { file, hash: Sha256::new(), size: 0, blobs: self.blobs.clone() })
    }

    /// Takes the content of a file. What is there already is left alone: somebody may be running it.
    pub fn add_file(&self, path: &Path) -> Result<Blob, BundleError> {
        let mut file = File::open(path).map_err(BundleError::io("read", path))?;
        let (sha256, size) = hash(&mut file).map_err(BundleError::io("read", path))?;
        if let Some(blob) = self.get(&sha256, Some(size)) {
            return Ok(blob);
        }
        file.rewind().map_err(BundleError::io("read", path))?;
        let mut writer = self.writer()?;
        io::copy(&mut file, &mut writer).map_err(BundleError::io("copy", path))?;
        writer.finish()
    }

    /// Where bundle archives are unpacked: on the store's file system, so that blobs can be hard-linked.
    pub(super) fn bundles(&self) -> &Path {
        &self.bundles
    }
}

/// Content on its way into the store; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    file: tempfile::NamedTempFile,
    hash: Sha256,
    size: u64,
    blobs: PathBuf,
}

impl BlobWriter {
    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Begins again with nothing.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.as_file().set_len(0)?;
        self.file.as_file_mut().seek(io::SeekFrom::Start(0))?;
        self.hash = Sha256::new();
        self.size = 0;
        Ok(())
    }

    /// The hash of what was written so far.
    pub fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// Puts the content under its name.
    pub fn finish(self) -> Result<Blob, BundleError> {
        let sha256 = self.sha256();
        let path = self.blobs.join(&sha256);
        let file = self.file.as_file();
        file.set_permissions(Permissions::from_mode(0o555))
            .and_then(|()| file.sync_all())
            .map_err(BundleError::io("write", self.file.path()))?;
        // Closed before it has its name: what is open for writing cannot be run.
        let closed = self.file.into_temp_path();
        closed.persist(&path).map_err(|failed| BundleError::io("write", &path)(failed.error))?;
        File::open(&self.blobs)
            .and_then(|folder| folder.sync_all())
            .map_err(BundleError::io("write", &self.blobs))?;
        Ok(Blob { sha256, size: self.size, path })
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The sha256 and length of what a reader gives.
pub fn hash(mut reader: impl Read) -> io::Result<(String, u64)> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = reader.read(&mut chunk)?;
        if n == 0 {
            return Ok((hex(&hash.finalize()), size));
        }
        hash.update(&chunk[..n]);
        size += n as u64;
    }
}

/// The sha256 of bytes in memory.
pub fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Gives `to` the content of `from`: a hard link where the file system can, else a copy.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<(), BundleError> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map_err(BundleError::io("copy to", to))?;
    let done = File::open(to).and_then(|file| file.sync_all());
    done.map_err(BundleError::io("write", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_found_under_its_hash_and_cannot_be_written() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::open(cache.path()).unwrap();
        let mut writer = store.writer().unwrap();
        writer.write_all(b"discarded").unwrap();
        writer.restart().unwrap();
        writer.write_all(b"abc").unwrap();
        let blob = writer.finish().unwrap();
        let right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            blob,
            Blob { sha256: right.into(), size: 3, path: cache.path().join("blobs/sha256").join(right) }
        );
        assert_eq!(fs::metadata(&blob.path).unwrap().permissions().mode() & 0o777, 0o555);
        assert_eq!(store.get(right, Some(3)), Some(blob.clone()));
        assert_eq!(store.get(right, Some(4)), None);
        assert_eq!(hash(File::open(&blob.path).unwrap()).unwrap(), (right.to_owned(), 3));
    }

    #[test]
    fn a_file_that_is_there_already_is_left_alone() {
        use std::os::unix::fs::MetadataExt;
        let cache = tempfile::tempdir().unwrap();
        let store = Store::open(cache.path()).unwrap();
        let program = cache.path().join("program");
        fs::write(&program, "abc").unwrap();
        let first = store.add_file(&program).unwrap();
        let inode = fs::metadata(&first.path).unwrap().ino();
        assert_eq!(store.add_file(&program).unwrap(), first);
        assert_eq!(fs::metadata(&first.path).unwrap().ino(), inode, "somebody may be running it");
    }

    #[test]
    fn unfinished_content_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::open(cache.path()).unwrap();
        store.writer().unwrap().write_all(b"half").unwrap();
        for folder in ["blobs/sha256", "blobs/tmp"] {
            assert_eq!(fs::read_dir(cache.path().join(folder)).unwrap().count(), 0, "{folder}");
        }
    }
}
