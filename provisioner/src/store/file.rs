//! A ledger in a file: `ledger.json` in the cluster's folder, the copy before as `ledger.json.old`.
//!
//! Invariants: one process at a time (`ledger.lock`, held by the kernel, so it ends with the process); a reader
//! sees the old or the new ledger, never half of one; folder 0700, files 0600.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::holder::{Holder, Life, Place};
use super::{Store, StoreError, recover};
use crate::ledger::Ledger;

pub(super) const LEDGER: &str = "ledger.json";
pub(super) const OLD: &str = "ledger.json.old";
pub(super) const NEW: &str = "ledger.json.new";
const LOCK: &str = "ledger.lock";

/// A folder with a ledger, locked for this process.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    lock: File,
    took_over: Option<Holder>,
    notes: Vec<String>,
}

pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
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
        let life = before.as_ref().map(|holder| holder.life(&Place::here()));
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let holder = match (&before, life) {
                    (Some(holder), Some(life)) => format!("{holder}{} works on this cluster", life.aside()),
                    _ => "another process works on this cluster".to_owned(),
                };
                return Err(StoreError::Locked { holder });
            }
            Err(fs::TryLockError::Error(source)) => {
                return Err(StoreError::Io { what: format!("locking {}", path.display()), source });
            }
        }
        let mut notes = Vec::new();
        match (&before, life) {
            // The kernel's lock does not reach every shared folder, and nobody here sees another computer's processes.
            (Some(holder), Some(Life::Elsewhere)) => {
                let (path, over) = (path.display(), "or ended there without a word");
                let holder = format!(
                    "{holder} works on this cluster on another computer, {over} (then remove {path})"
                );
                return Err(StoreError::Locked { holder });
            }
            (Some(holder), Some(life)) => notes.push(format!("took over from {holder}, {}", life.ended())),
            _ => {}
        }
        notes.extend(recover::older_copy(folder)?);
        let store = Self { folder: folder.to_owned(), lock, took_over: before, notes };
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

    /// What opening it found worth a word to the user: a lock that was left behind, a damaged ledger.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The ledger of a folder, without its lock: for commands that only look. The copy before, where the ledger
    /// itself cannot be used.
    pub fn peek(folder: &Path) -> Result<Option<Ledger>, StoreError> {
        recover::best(folder)
    }

    fn write(folder: &Path, ledger: &Ledger, expected: u64) -> Result<(), StoreError> {
        let found = recover::read(folder, LEDGER)?.map_or(0, |stored| stored.generation);
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
        recover::read(&self.folder, LEDGER)
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

    /// Who holds the lock: a process of this computer that has ended.
    fn holder() -> Holder {
        let here = Holder::here("cluster up", fixtures::now());
        Holder { user: "ann".into(), pid: 7, started: Some(1), ..here }
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

    fn masked(text: impl ToString, folder: &Folder) -> String {
        let host = holder().host;
        text.to_string()
            .replace(folder.0.to_str().unwrap(), "F")
            .replace(&format!(" on {host} "), " on HERE ")
    }

    #[test]
    fn the_second_is_told_who_holds_the_lock() {
        let folder = Folder::new("lock");
        let here = Holder { user: "ann".into(), ..Holder::here("cluster up", fixtures::now()) };
        let first = FileStore::open(&folder.0, &here).unwrap();
        let second = masked(FileStore::open(&folder.0, &here).unwrap_err(), &folder);
        let (pid, since) = (std::process::id(), "2027-01-15T08:00:00Z");
        assert_eq!(
            second,
            format!(
                "`cluster up` of ann on HERE (pid {pid}) since {since}, alive, works on this cluster; wait until it is done, or end it"
            )
        );
        drop(first);
        assert_eq!(FileStore::open(&folder.0, &here).unwrap().took_over(), None);
    }

    #[test]
    fn a_stale_lock_is_taken_over_with_a_word_and_another_computers_is_named() {
        let elsewhere = |holder: Holder| Holder { host: "there".into(), boot: Some("0-0".into()), ..holder };
        let before_boot = |holder: Holder| Holder { boot: Some("0-0".into()), ..holder };
        let since = "(pid 7) since 2027-01-15T08:00:00Z";
        let cases = [
            (
                holder(),
                Ok(format!("took over from `cluster up` of ann on HERE {since}, which ended without a word")),
            ),
            (
                before_boot(holder()),
                Ok(format!(
                    "took over from `cluster up` of ann on HERE {since}, which ended when the computer did"
                )),
            ),
            (
                elsewhere(holder()),
                Err(format!(
                    "`cluster up` of ann on there {since} works on this cluster on another computer, or ended there \
                     without a word (then remove F/ledger.lock); wait until it is done, or end it"
                )),
            ),
        ];
        for (n, (left, expected)) in cases.into_iter().enumerate() {
            let folder = Folder::new(&format!("stale-{n}"));
            fs::create_dir_all(&folder.0).unwrap();
            let text = serde_json::to_string(&left).unwrap();
            fs::write(folder.0.join(LOCK), &text).unwrap();
            let opened = FileStore::open(&folder.0, &holder());
            let found = match &opened {
                Ok(store) => Ok(masked(&store.notes()[0], &folder)),
                Err(error) => Err(masked(error, &folder)),
            };
            assert_eq!(found, expected);
            match opened {
                Ok(store) => assert_eq!(store.took_over(), Some(&left)),
                Err(_) => assert_eq!(
                    fs::read_to_string(folder.0.join(LOCK)).unwrap(),
                    text,
                    "it is named the next time too"
                ),
            }
        }
    }

    #[tokio::test]
    async fn a_damaged_ledger_is_replaced_by_the_copy_before_it_and_kept() {
        let half = |good: &str| good[..good.len() / 2].to_owned();
        for (n, damage) in ["cut in half", "emptied", "gone"].into_iter().enumerate() {
            let folder = Folder::new(&format!("damaged-{n}"));
            let store = FileStore::open(&folder.0, &holder()).unwrap();
            store.save(&saved(1), 0).await.unwrap();
            store.save(&saved(2), 1).await.unwrap();
            let path = folder.0.join(LEDGER);
            let good = fs::read_to_string(&path).unwrap();
            match damage {
                "gone" => fs::remove_file(&path).unwrap(),
                "emptied" => fs::write(&path, "").unwrap(),
                _ => fs::write(&path, half(&good)).unwrap(),
            }
            assert!(store.save(&saved(3), 2).await.is_err(), "a damaged ledger must not be written over");
            assert_eq!(FileStore::peek(&folder.0).unwrap(), Some(saved(1)), "who looks sees the copy");
            drop(store);

            let store = FileStore::open(&folder.0, &holder()).unwrap();
            let said = masked(&store.notes()[0], &folder);
            let kept = if damage == "gone" {
                assert!(said.starts_with("F/ledger.json is missing; the copy before it "), "{said}");
                None
            } else {
                assert!(said.starts_with("F/ledger.json cannot be used (ledger is damaged: "), "{said}");
                assert!(
                    said.contains("; it is kept as F/ledger.json.damaged; the copy before it "),
                    "{said}"
                );
                Some(if damage == "emptied" { String::new() } else { half(&good) })
            };
            assert_eq!(fs::read_to_string(folder.0.join("ledger.json.damaged")).ok(), kept);
            assert_eq!(store.load().await.unwrap(), Some(saved(1)));
            store.save(&saved(2), 1).await.unwrap();
            drop(store);
            assert_eq!(FileStore::open(&folder.0, &holder()).unwrap().notes(), [""; 0], "said once");
        }
    }

    #[tokio::test]
    async fn two_damaged_ledgers_are_refused_with_the_way_on_and_set_aside() {
        let folder = Folder::new("both");
        let store = FileStore::open(&folder.0, &holder()).unwrap();
        fs::write(folder.0.join(LEDGER), "{\"version\":1,").unwrap();
        fs::write(folder.0.join(OLD), "").unwrap();
        drop(store);
        let store = FileStore::open(&folder.0, &holder()).unwrap();
        let name = folder.0.file_name().unwrap().to_string_lossy().into_owned();
        let error = masked(store.load().await.unwrap_err(), &folder).replace(&name, "NAME");
        assert_eq!(
            error,
            "F/ledger.json cannot be used, nor is there an older copy that can: `continuum cluster adopt NAME` makes a \
             new one from the machines and their tags, `continuum cluster down NAME` removes them"
        );
        store.set_aside().unwrap();
        assert_eq!(store.load().await.unwrap(), None);
        assert_eq!(fs::read_to_string(folder.0.join("ledger.json.damaged")).unwrap(), "{\"version\":1,");
    }

    #[tokio::test]
    async fn a_newer_programs_ledger_is_no_damage() {
        let folder = Folder::new("newer");
        let store = FileStore::open(&folder.0, &holder()).unwrap();
        store.save(&saved(1), 0).await.unwrap();
        store.save(&saved(2), 1).await.unwrap();
        drop(store);
        let newer = "{\"version\":2}";
        fs::write(folder.0.join(LEDGER), newer).unwrap();
        let store = FileStore::open(&folder.0, &holder()).unwrap();
        assert!(store.load().await.is_err() && FileStore::peek(&folder.0).is_err());
        assert_eq!(fs::read_to_string(folder.0.join(LEDGER)).unwrap(), newer);
    }
}
