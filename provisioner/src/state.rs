//! What this computer keeps of each cluster: `$XDG_STATE_HOME/continuum/<cluster>/`, folders 0700, files 0600.
//!
//! ```text
//! cluster.json   where it runs and which file asked for it   (so that `down NAME` needs no file)
//! ledger.json    what was decided                             (store.rs)
//! keys/          operator's key and the seed of host keys     (keys/)
//! logs/          one log per machine, and the last timeline
//! images/        images of the user's own, for later nodes too
//! kubeconfig
//! ```
//! `.bake/<image>/` is the same for an image that is being made, `.down/<id>/` for a cluster that is taken down and not known.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::names::{ClusterId, ClusterName};
use crate::provider;

/// Why a cluster's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Neither `XDG_STATE_HOME` nor `HOME` names a place.
    #[error("no place for state: set HOME or XDG_STATE_HOME to an absolute path")]
    NoHome,
    /// A file or folder could not be read or written.
    #[error("{what} {path}")]
    Io {
        /// `write`, `read`, `make`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder can be read by others, or belongs to somebody else.
    #[error("{path} {why}: {fix}")]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        fix: String,
    },
    /// `cluster.json` cannot be understood.
    #[error("{path} is damaged")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// Files of a cluster's folder that nobody else may read. The keys check theirs themselves.
const PRIVATE: [&str; 4] = ["cluster.json", "ledger.json", "ledger.json.old", "kubeconfig"];

/// No cluster has a name with a dot.
const BAKES: &str = ".bake";
const STAND_INS: &str = ".down";

fn io_at<T>(what: &'static str, path: &Path, result: io::Result<T>) -> Result<T, StateError> {
    result.map_err(|source| StateError::Io { what, path: path.to_owned(), source })
}

/// What is remembered of a cluster besides its ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id, drawn at the first `up`.
    pub id: ClusterId,
    /// Where its machines are.
    pub provider: provider::Config,
    /// The cluster file of the last `up`, absolute.
    pub file: PathBuf,
    /// The bundle of the last `up`, absolute.
    pub bundle: Option<PathBuf>,
    /// The recipes folder of the last `up`, if not the embedded ones.
    pub recipes: Option<PathBuf>,
    /// Whether an autoscaler was ever handed pools: it is told when they are no longer its own.
    #[serde(default)]
    pub autoscaler: bool,
}

/// The folder of one cluster.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

/// `$XDG_STATE_HOME/continuum`, or `~/.local/state/continuum`.
pub fn root() -> Result<PathBuf, StateError> {
    crate::env::path("XDG_STATE_HOME")
        .or_else(|| crate::env::home().map(|home| home.join(".local/state")))
        .map(|base| base.join("continuum"))
        .ok_or(StateError::NoHome)
}

/// The clusters that this computer knows, by name.
pub fn clusters() -> Result<Vec<ClusterName>, StateError> {
    let root = root()?;
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(StateError::Io { what: "read", path: root, source }),
    };
    let mut names: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().join("cluster.json").exists())
        .filter_map(|entry| ClusterName::new(entry.file_name().to_string_lossy()).ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Where images are being made, or were when their program was killed.
pub fn bakes() -> Result<Vec<StateDir>, StateError> {
    let folder = root()?.join(BAKES);
    match fs::read_dir(&folder) {
        Ok(entries) => {
            let hidden = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
            let shown = entries.flatten().filter(|entry| !hidden(entry));
            Ok(shown.map(|entry| StateDir { path: entry.path() }).collect())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(StateError::Io { what: "read", path: folder, source }),
    }
}

impl StateDir {
    /// The folder of the passing cluster in which an image is made.
    pub fn of_bake(layer: &str) -> Result<Self, StateError> {
        Ok(Self { path: root()?.join(BAKES).join(layer) })
    }

    /// The folder of a cluster; not made yet.
    pub fn of(name: &ClusterName) -> Result<Self, StateError> {
        Ok(Self { path: root()?.join(name.as_str()) })
    }

    /// Makes the folders, or checks that they are ours and closed to others.
    pub fn ensure(&self) -> Result<(), StateError> {
        for path in [&self.path, &self.logs(), &self.images()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            io_at("make folder", path, made)?;
            let meta = io_at("read", path, fs::metadata(path))?;
            closed(path, &meta, 0o700)?;
        }
        self.check()
    }

    /// Checks that what is there is ours and closed to others, whatever the command: keys, ledger and kubeconfig are
    /// refused where others may have read them, never repaired silently. Nothing there is fine.
    fn check(&self) -> Result<(), StateError> {
        let inside = PRIVATE.map(|name| (self.path.join(name), 0o600));
        for (path, mode) in [(self.path.clone(), 0o700)].into_iter().chain(inside) {
            match fs::symlink_metadata(&path) {
                Ok(meta) => closed(&path, &meta, mode)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(StateError::Io { what: "read", path, source }),
            }
        }
        Ok(())
    }

    /// The folder in which a cluster is taken down that this computer knows nothing of but its id.
    pub fn of_stand_in(id: &ClusterId) -> Result<Self, StateError> {
        Ok(Self { path: root()?.join(STAND_INS).join(id.as_str()) })
    }

    /// Removes the folder with all that is in it. Its name is free at once: a kill in the middle leaves no half of it.
    pub fn remove(&self) -> Result<(), StateError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let away = self.path.with_file_name(format!(".{name}.removed"));
        match fs::remove_dir_all(&away) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => io_at("remove", &away, other)?,
        }
        match fs::rename(&self.path, &away) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => io_at("remove", &self.path, other)?,
        }
        io_at("remove", &away, fs::remove_dir_all(&away))?;
        // Only if nothing else stands in there.
        if let Some(parent) = self.path.parent().filter(|parent| parent.ends_with(STAND_INS)) {
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Keys.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }
    /// One log per machine.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }
    /// Image archives of the user's own.
    pub fn images(&self) -> PathBuf {
        self.path.join("images")
    }
    /// The operator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// What is remembered, if anything is.
    pub fn record(&self) -> Result<Option<Record>, StateError> {
        self.check()?;
        let path = self.path.join("cluster.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Io { what: "read", path, source }),
        };
        serde_json::from_str(&text).map(Some).map_err(|source| StateError::Damaged { path, source })
    }

    /// Remembers.
    pub fn set_record(&self, record: &Record) -> Result<(), StateError> {
        let path = self.path.join("cluster.json");
        let text = serde_json::to_string_pretty(record)
            .map_err(|source| StateError::Damaged { path: path.clone(), source })?;
        write_private(&path, text.as_bytes())
    }
}

/// Refuses a folder or file that others can use or that belongs to somebody else: keys and kubeconfig are in it.
fn closed(path: &Path, meta: &fs::Metadata, want: u32) -> Result<(), StateError> {
    let unsafe_because = |why: String, fix: String| StateError::Unsafe { path: path.to_owned(), why, fix };
    let me = nix::unistd::geteuid().as_raw();
    if meta.uid() != me {
        let why = format!("belongs to user {}, you are {me}", meta.uid());
        return Err(unsafe_because(why, "run as that user, or set XDG_STATE_HOME".into()));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let why = format!("is open to others (mode {mode:03o})");
        return Err(unsafe_because(why, format!("chmod {want:o} {}", path.display())));
    }
    Ok(())
}

/// Reads a secret file, unless others can read it too or it is somebody else's.
pub fn read_private(path: &Path) -> Result<String, StateError> {
    let mut file = io_at("read", path, File::open(path))?;
    closed(path, &io_at("read", path, file.metadata())?, 0o600)?;
    let mut text = String::new();
    io_at("read", path, file.read_to_string(&mut text))?;
    Ok(text)
}

/// Writes a file of mode 0600 so that it is there whole or not at all, also after a power cut.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = folder.join(format!(".{name}.new"));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temp, path)?;
        File::open(folder)?.sync_all()
    })();
    io_at("write", path, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_files_are_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_open_folder_is_refused_with_the_command_that_closes_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = closed(folder.path(), &fs::metadata(folder.path()).unwrap(), 0o700).unwrap_err();
        let path = folder.path().display();
        assert_eq!(error.to_string(), format!("{path} is open to others (mode 755): chmod 700 {path}"));
    }

    #[test]
    fn an_open_ledger_is_refused_by_commands_that_only_look() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let dir = StateDir { path: folder.path().to_owned() };
        assert_eq!(dir.record().unwrap(), None);
        let ledger = folder.path().join("ledger.json");
        fs::write(&ledger, "{}").unwrap();
        fs::set_permissions(&ledger, fs::Permissions::from_mode(0o644)).unwrap();
        let error = dir.record().unwrap_err().to_string();
        let path = ledger.display();
        assert_eq!(error, format!("{path} is open to others (mode 644): chmod 600 {path}"));
        // A link to somewhere else would be judged by its target only after it was read.
        fs::remove_file(&ledger).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &ledger).unwrap();
        assert!(dir.record().is_err());
    }
}
