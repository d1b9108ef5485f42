//! The folder of a cluster's keys: `operator`, `operator.pub`, `seed`; the folder 0700, the private files 0600.
//!
//! Keys are written before the first machine is made and never again: a second `load_or_create` reads them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretBox};
use zeroize::Zeroizing;

use super::{KeyPair, Keys, SEED, openssh};

/// Why a cluster's keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// No keys there: another computer made the cluster, or they were deleted.
    #[error("no keys in {}: the cluster was made elsewhere, or its folder was deleted", .0.display())]
    Missing(PathBuf),
    /// Others can read it, or it belongs to somebody else.
    #[error("{} {why}: {fix}", path.display())]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// The command or act that makes it right.
        fix: String,
    },
    /// The file is there and is no such key.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong; never its content.
        why: String,
    },
    /// It could not be read or written.
    #[error("{what} {}", path.display())]
    Io {
        /// `read`, `write`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn io_at<T>(what: &'static str, path: &Path, result: io::Result<T>) -> Result<T, KeysError> {
    result.map_err(|source| KeysError::Io { what, path: path.to_owned(), source })
}

/// The largest key file that is read: ours have 400 bytes.
const LARGEST: u64 = 16 * 1024;

impl Keys {
    /// Where the operator's private key is, for `ssh -i`.
    pub fn operator_file(dir: &Path) -> PathBuf {
        dir.join("operator")
    }

    /// Reads the keys in `dir`, checking owner and modes.
    pub fn load(dir: &Path) -> Result<Self, KeysError> {
        let operator_file = Self::operator_file(dir);
        let seed_file = dir.join("seed");
        if !operator_file.exists() && !seed_file.exists() {
            return Err(KeysError::Missing(dir.to_owned()));
        }
        closed(dir, &io_at("read", dir, fs::metadata(dir))?, 0o700)?;
        let text = read_private(&operator_file)?;
        let damaged = |path: &Path, why: String| KeysError::Damaged { path: path.to_owned(), why };
        let text = std::str::from_utf8(&text).map_err(|_| damaged(&operator_file, "it is no text".into()))?;
        let operator = openssh::parse_private(text).map_err(|e| damaged(&operator_file, e.to_string()))?;
        let bytes = read_private(&seed_file)?;
        let seed: &[u8; SEED] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| damaged(&seed_file, format!("it has {} bytes, expecting {SEED}", bytes.len())))?;
        Ok(Self { operator, seed: SecretBox::new(Box::new(*seed)) })
    }

    /// Keys that are written nowhere, for work that logs in to nothing.
    pub fn passing(name: &str) -> Result<Self, KeysError> {
        let operator = openssh::key_pair(&*draw(Path::new("a key"))?, &format!("continuum-{name}"));
        Ok(Self { operator, seed: SecretBox::new(Box::new(*draw(Path::new("a seed"))?)) })
    }

    /// Reads the keys in `dir`, or draws them and writes them there. `name` goes into the public key's comment.
    pub fn load_or_create(dir: &Path, name: &str) -> Result<Self, KeysError> {
        match Self::load(dir) {
            Err(KeysError::Missing(_)) => {}
            other => return other,
        }
        // In a folder of its own that is then renamed: a crash leaves no keys, never half of them.
        let temp = dir.with_extension("new");
        match fs::remove_dir_all(&temp) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => io_at("remove", &temp, other)?,
        }
        io_at("make", &temp, DirBuilder::new().recursive(true).mode(0o700).create(&temp))?;
        let operator = openssh::key_pair(&*draw(dir)?, &format!("continuum-{name}"));
        write_private(&temp.join("seed"), draw(dir)?.as_slice())?;
        write_private(&temp.join("operator.pub"), format!("{}\n", operator.public()).as_bytes())?;
        write_private(&Self::operator_file(&temp), operator.private().expose_secret().as_bytes())?;
        io_at("write", dir, fs::rename(&temp, dir).and_then(|()| sync_folder(dir.parent())))?;
        Self::load(dir)
    }
}

/// Reads a person's private key, checking owner and mode: ed25519, in OpenSSH's format, not encrypted.
pub fn login_key(path: &Path) -> Result<KeyPair, KeysError> {
    let text = read_private(path)?;
    let damaged = |why: String| KeysError::Damaged { path: path.to_owned(), why };
    let text = std::str::from_utf8(&text).map_err(|_| damaged("it is no text".into()))?;
    openssh::parse_private(text).map_err(|error| damaged(error.to_string()))
}

impl KeyPair {
    /// A fresh key that is kept nowhere: the caller writes it (the daemon's key, a test's).
    pub fn generate(comment: &str) -> Result<Self, KeysError> {
        Ok(openssh::key_pair(&*draw(Path::new("a key"))?, comment))
    }
}

fn draw(what: &Path) -> Result<Zeroizing<[u8; SEED]>, KeysError> {
    let mut bytes = Zeroizing::new([0; SEED]);
    let drawn = getrandom::fill(bytes.as_mut()).map_err(|e| io::Error::other(e.to_string()));
    io_at("draw random bytes for", what, drawn)?;
    Ok(bytes)
}

fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(KeysError::Damaged {
                path: path.to_owned(),
                why: "it is missing, the other key file is there".into(),
            });
        }
        other => io_at("read", path, other)?,
    };
    // Judged by the open file, so that nothing can be put in its place between the look and the reading.
    let meta = io_at("read", path, file.metadata())?;
    if !meta.is_file() {
        let why = if meta.is_dir() { "is a folder" } else { "is no plain file" };
        return Err(KeysError::Unsafe {
            path: path.to_owned(),
            why: format!("{why}, expecting a key file"),
            fix: "move it away and put the key back".into(),
        });
    }
    closed(path, &meta, 0o600)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST as usize));
    io_at("read", path, (&mut file).take(LARGEST).read_to_end(&mut bytes))?;
    Ok(bytes)
}

fn closed(path: &Path, meta: &fs::Metadata, want: u32) -> Result<(), KeysError> {
    let me = nix::unistd::geteuid().as_raw();
    let mode = meta.permissions().mode() & 0o777;
    let (why, fix) = if meta.uid() != me {
        let fix = "run as that user, or set XDG_STATE_HOME to a folder of yours".into();
        (format!("belongs to user {}, you are {me}", meta.uid()), fix)
    } else if mode & 0o077 != 0 {
        (format!("is open to others (mode {mode:03o})"), format!("chmod {want:o} {}", path.display()))
    } else {
        return Ok(());
    };
    Err(KeysError::Unsafe { path: path.to_owned(), why, fix })
}

/// Writes a new file, readable by us alone from its first byte on.
fn write_private(path: &Path, content: &[u8]) -> Result<(), KeysError> {
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content)?;
        file.sync_all()?;
        sync_folder(path.parent())
    })();
    io_at("write", path, written)
}

fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    File::open(folder.unwrap_or(Path::new("/")))?.sync_all()
}
