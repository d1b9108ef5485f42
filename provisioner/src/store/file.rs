//! A ledger in a file: `ledger.json` in the cluster's folder, the copy before as `ledger.json.old`.
//!
//! Invariants: one process at a time (`ledger.lock`, held by the kernel, so it ends with the process); a reader
//! sees the old or the new ledger, never half of one; folder 0700, files 0600.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::ledger::Ledger;

const LEDGER: &str = "ledger.json";
const OLD: &str = "ledger.json.old";
const NEW: &str = "ledger.json.new";
const LOCK: &str = "ledger.lock";

/// Who holds a lock: written into the lock file for whoever comes second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user.
    pub user: String,
    /// The computer.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// What it does: `cluster up`.
    pub doing: String,
}

impl Holder {
    /// This process.
    pub fn here(doing: impl Into<String>, since: Timestamp) -> Self {
        let uid = nix::unistd::getuid();
        let user = nix::unistd::User::from_uid(uid).ok().flatten();
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        Self {
            user: user.map_or_else(|| uid.to_string(), |user| user.name),
            host: host.unwrap_or_else(|_| "unknown host".to_owned()),
            pid: std::process::id(),
            since,
            doing: doing.into(),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, host, pid, since, doing } = self;
        write!(f, "`{doing}` of {user} on {host} (pid {pid}) since {since:.0}")
    }
}

/// A folder with a ledger, locked for this process.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    lock: File,
    took_over: Option<Holder>,
}

fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
    let what = what.into();
    |source| StoreError::Io { what, source }
}

impl FileStore {
    /// Makes the folder if need be and takes the lock.
    pub fn open(folder: &Path, holder: &Holder) -> Result<Self, StoreError> {
        let shown = folder.display();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(io(format!("making the folder {shown}")))?;
        let path = folder.join(LOCK);
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let mut lock = options.open(&path).map_err(io(format!("opening {}", path.display())))?;
        let mut text = String::new();
        let written = lock.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
        let before: Option<Holder> = written;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let holder = before.map_or_else(
                    || "another process works on this cluster".to_owned(),
                    |holder| format!("{holder} works on this cluster"),
                );
                return Err(StoreError::Locked { holder });
            }
            Err(fs::TryLockError::Error(source)) => {
                return Err(StoreError::Io { what: format!("locking {}", path.display()), source });
            }
        }
        let store = Self { folder: folder.to_owned(), lock, took_over: before };
        store.write_holder(&serde_json::to_string(holder).unwrap_or_default())?;
        Ok(store)
    }

    fn write_holder(&self, text: &str) -> Result<(), StoreError> {
        let mut lock = &self.lock;
        let written =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(text.as_bytes()));
        written.map_err(io(format!("writing {}", self.folder.join(LOCK).display())))
    }

    /// Who held the lock before and ended without giving it back: worth a word to the user.
    pub fn took_over(&self) -> Option<&Holder> {
        self.took_over.as_ref()
    }

    /// The ledger of a folder, without its lock: for commands that only look.
    pub fn peek(folder: &Path) -> Result<Option<Ledger>, StoreError> {
        let path = folder.join(LEDGER);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StoreError::Io { what: format!("reading {}", path.display()), source });
            }
        };
        Ledger::from_json(&text).map(Some).map_err(|source| {
            let old = folder.join(OLD);
            let hint = if old.exists() {
                format!("; the copy before it is {}: if it is good, put it in its place", old.display())
            } else {
                "; there is no older copy: `down` finds the machines by their tags without it".to_owned()
            };
            StoreError::Damaged { place: path.display().to_string(), hint, source }
        })
    }

    fn write(folder: &Path, ledger: &Ledger, expected: u64) -> Result<(), StoreError> {
        let found = Self::peek(folder)?.map_or(0, |stored| stored.generation);
        if found != expected {
            return Err(StoreError::Conflict { expected, found });
        }
        let (path, old, new) = (folder.join(LEDGER), folder.join(OLD), folder.join(NEW));
        let text = ledger.to_json().map_err(|source| StoreError::Damaged {
            place: "the ledger in memory".into(),
            hint: String::new(),
            source,
        })?;
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            // A second name for the copy before, so that at no moment there is no ledger at all.
            match fs::remove_file(&old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            match fs::hard_link(&path, &old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::rename(&new, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(io(format!("writing {}", path.display())))
    }

    /// Puts a ledger that cannot be used beside, for a person to look at, so that a new one can be written.
    pub fn set_aside(&self) -> Result<(), StoreError> {
        for name in [LEDGER, OLD] {
            let path = self.folder.join(name);
            match fs::rename(&path, self.folder.join(format!("{name}.damaged"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io(format!("moving {} aside", path.display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The cluster is gone: removes the ledger and its copy; the lock stays until the store is dropped.
    pub fn remove(&self) -> Result<(), StoreError> {
        for name in [LEDGER, OLD, NEW] {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::Io {
                        what: format!("removing {}", path.display()),
                        source: error,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        // An empty lock file says that its holder ended well; a failure here costs only a needless word.
        let _ = self.lock.set_len(0);
    }
}

#[async_trait]
impl Store for FileStore {
    async fn load(&self) -> Result<Option<Ledger>, StoreError> {
        Self::peek(&self.folder)
    }
    async fn save(&self, ledger: &Ledger, expected: u64) -> Result<(), StoreError> {
        let (folder, ledger) = (self.folder.clone(), ledger.clone());
        // fsync may take long on a slow disk; the engine's other tasks go on meanwhile.
        let job = tokio::task::spawn_blocking(move || Self::write(&folder, &ledger, expected));
        job.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::plan::fixtures;

    fn holder() -> Holder {
        Holder {
            user: "ann".into(),
            host: "here".into(),
            pid: 7,
            since: fixtures::now(),
            doing: "cluster up".into(),
        }
    }

    fn saved(generation: u64) -> Ledger {
        let mut ledger = fixtures::ledger();
        ledger.generation = generation;
        ledger
    }

    struct Folder(PathBuf);
    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("continuum-store-{test}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded_and_nobody_else_may_read_it() {
        let folder = Folder::new("save");
        let store = FileStore::open(&folder.0, &holder()).unwrap();
        assert_eq!(store.load().await.unwrap(), None);
        store.save(&saved(1), 0).await.unwrap();
        store.save(&saved(2), 1).await.unwrap();
        assert_eq!(store.load().await.unwrap(), Some(saved(2)));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let modes = [mode(&folder.0), mode(&folder.0.join(LEDGER)), mode(&folder.0.join(LOCK))];
        assert_eq!(modes, [0o700, 0o600, 0o600]);
    }

    #[tokio::test]
    async fn who_works_on_an_older_copy_is_told() {
        let folder = Folder::new("conflict");
        let store = FileStore::open(&folder.0, &holder()).unwrap();
        store.save(&saved(1), 0).await.unwrap();
        let error = store.save(&saved(1), 0).await.unwrap_err().to_string();
        assert_eq!(error, "the ledger was changed by somebody else: expected generation 0, found 1");
        assert_eq!(store.load().await.unwrap(), Some(saved(1)));
    }

    #[test]
    fn the_second_is_told_who_holds_the_lock() {
        let folder = Folder::new("lock");
        let first = FileStore::open(&folder.0, &holder()).unwrap();
        let second = FileStore::open(&folder.0, &holder()).unwrap_err().to_string();
        assert_eq!(
            second,
            "`cluster up` of ann on here (pid 7) since 2027-01-15T08:00:00Z works on this cluster; wait until it is done, or end it"
        );
        drop(first);
        assert_eq!(FileStore::open(&folder.0, &holder()).unwrap().took_over(), None);
    }

    #[test]
    fn the_lock_of_a_process_that_died_is_taken_over_with_a_word() {
        let folder = Folder::new("dead");
        fs::create_dir_all(&folder.0).unwrap();
        fs::write(folder.0.join(LOCK), serde_json::to_string(&holder()).unwrap()).unwrap();
        let store = FileStore::open(&folder.0, &holder()).unwrap();
        assert_eq!(store.took_over(), Some(&holder()));
    }

    #[tokio::test]
    async fn a_damaged_ledger_is_refused_and_the_older_copy_named() {
        let folder = Folder::new("damaged");
        let store = FileStore::open(&folder.0, &holder()).unwrap();
        store.save(&saved(1), 0).await.unwrap();
        store.save(&saved(2), 1).await.unwrap();
        fs::write(folder.0.join(LEDGER), "{\"version\":1,").unwrap();
        let error = store.load().await.unwrap_err().to_string().replace(folder.0.to_str().unwrap(), "F");
        assert_eq!(
            error,
            "F/ledger.json cannot be used; the copy before it is F/ledger.json.old: if it is good, put it in its place"
        );
        assert!(store.save(&saved(3), 2).await.is_err(), "a damaged ledger must not be written over");
        assert_eq!(Ledger::from_json(&fs::read_to_string(folder.0.join(OLD)).unwrap()).unwrap(), saved(1));
    }
}
