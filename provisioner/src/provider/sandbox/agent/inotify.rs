//! The host's `fs.inotify.max_user_instances`: raised while agents need it, then put back.
//!
//! The limit counts for all machines together, and a node takes about 12 (systemd, containerd, kubelet): with the default
//! of 128 the tenth kubelet dies. Several instances share one note of the first value; the last one to end restores it.
//! One that was killed together with its supervisor, as at the end of a session, cannot let go: it is not waited for.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::machine::StepError;
use super::super::paths::RUN_ROOT;
use super::files;
use super::supervise::is_supervised;

const SYSCTL: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Twice what one node was seen to take.
const PER_MACHINE: u64 = 24;
/// Enough for 20 nodes beside the host's own; below it the measured trap is near.
const LEAST: u64 = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    before: u64,
    set: u64,
    holders: BTreeSet<String>,
}

/// What the limit should be for so many machines.
fn wanted(machines: u64) -> u64 {
    LEAST.max(LEAST / 8 + PER_MACHINE * machines)
}

/// Raises the limit for this instance, if it is too low.
pub fn raise(instance: &str, machines: u64) -> Result<(), StepError> {
    with_note(|note| {
        let now = read()?;
        let need = wanted(machines);
        let mut note = note.unwrap_or(Note { before: now, set: now, holders: BTreeSet::new() });
        note.holders.insert(instance.to_owned());
        if now < need {
            note.set = need;
        }
        Ok((Some(note.clone()), (now < need).then_some(note.set)))
    })
}

/// Lets go: the last instance puts the first value back, unless somebody else has changed it since.
pub fn restore(instance: &str) -> Result<(), StepError> {
    with_note(|note| match note {
        Some(note) => Ok(without(note, instance, is_supervised, read()?)),
        None => Ok((None, None)),
    })
}

fn without(mut note: Note, instance: &str, lives: impl Fn(&str) -> bool, now: u64) -> Change {
    note.holders.retain(|other| other != instance && lives(other));
    if !note.holders.is_empty() {
        return (Some(note), None);
    }
    (None, (now == note.set && note.set != note.before).then_some(note.before))
}

type Change = (Option<Note>, Option<u64>);

/// The note is written before the limit is changed: after a crash the first value is known.
fn with_note(change: impl FnOnce(Option<Note>) -> Result<Change, StepError>) -> Result<(), StepError> {
    let root = Path::new(RUN_ROOT);
    fs::create_dir_all(root).map_err(StepError::at(format!("make {RUN_ROOT}")))?;
    let lock = root.join("inotify.lock");
    let held = File::create(&lock).map_err(StepError::at(format!("make {}", lock.display())))?;
    held.lock().map_err(StepError::at(format!("lock {}", lock.display())))?;
    let path = root.join("inotify.json");
    let (note, value) = change(files::load(&path)?)?;
    match &note {
        Some(note) => files::save(&path, note)?,
        None => {
            let _ = fs::remove_file(&path);
            let _ = fs::remove_file(&lock);
        }
    }
    match value {
        Some(value) => fs::write(SYSCTL, value.to_string()).map_err(StepError::at(format!("write {SYSCTL}"))),
        None => Ok(()),
    }
}

fn read() -> Result<u64, StepError> {
    let text = fs::read_to_string(SYSCTL).map_err(StepError::at(format!("read {SYSCTL}")))?;
    text.trim().parse().map_err(|_| StepError {
        step: format!("understand {SYSCTL}"),
        source: std::io::ErrorKind::InvalidData.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_grows_with_the_machines_that_may_be_made() {
        assert_eq!([wanted(2), wanted(100), wanted(500)], [1024, 2528, 12128]);
    }

    #[test]
    fn the_last_living_instance_puts_the_first_value_back() {
        let note = |holders: &[&str]| Note {
            before: 128,
            set: 2528,
            holders: holders.iter().map(|&name| name.to_owned()).collect(),
        };
        let lives = |name: &str| name != "killed";
        assert_eq!(without(note(&["a", "b", "killed"]), "a", lives, 2528), (Some(note(&["b"])), None));
        assert_eq!(without(note(&["a", "killed"]), "a", lives, 2528), (None, Some(128)));
        assert_eq!(without(note(&["a"]), "a", lives, 4096), (None, None), "somebody else has changed it");
        let never_raised = Note { set: 128, ..note(&["a"]) };
        assert_eq!(without(never_raised, "a", lives, 128), (None, None));
    }
}
