//! What is on this computer of an instance and not in the agent's books: after its state was deleted or damaged.
//!
//! ```text
//! a machine without a folder      its disk is gone: it is ended, nothing can be lost by that
//! a folder without a record       it may hold somebody's data: it and its machine stay as they are, and are named
//! a cluster without a record      made again from the copy that each of its machines has
//! a machine without a lower layer its Debian tree was deleted from the cache: it is switched off, and boots from a new one
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::machine::cgroup::{self, Hierarchy};
use super::super::machine::process::Process;
use super::super::machine::{Boot, StepError};
use super::super::paths::Paths;
use super::record::{ClusterRecord, Record, VERSION, index_of};
use super::{Agent, Live, files};
use crate::names::{ClusterId, MachineId};

/// A machine's folder that has no record which can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    /// The folder's name, which is the machine's id and its control group's name.
    pub(super) id: String,
    /// For people.
    pub(super) what: String,
}

/// The machines of an instance, and the folders that are none any more.
pub(super) fn load_machines(paths: &Paths) -> Result<(BTreeMap<MachineId, Live>, Vec<Stray>), StepError> {
    let dir = paths.machines();
    let rebooted = !paths.hub().exists();
    let (mut all, mut strays) = (BTreeMap::new(), Vec::new());
    for entry in fs::read_dir(&dir).map_err(StepError::at(format!("read {}", dir.display())))?.flatten() {
        let path = entry.path();
        if path.extension().is_some() {
            // A disk that was never finished: its create call has had no answer, and will be repeated.
            let _ = fs::remove_dir_all(&path);
            continue;
        }
        match files::load::<Record>(&path.join("machine.json")) {
            Ok(Some(record)) => {
                if rebooted {
                    // Pids and start times begin anew with the host: an old pair could be somebody else's by now.
                    let _ = fs::remove_file(path.join("process.json"));
                }
                all.insert(record.id.clone(), Live::new(record, true));
            }
            unreadable => strays.push(stray(&path, unreadable.err())),
        }
    }
    let _ = fs::remove_dir_all(paths.trash());
    strays.sort_by(|a, b| a.id.cmp(&b.id));
    Ok((all, strays))
}

fn stray(path: &Path, error: Option<StepError>) -> Stray {
    let why = error.map_or_else(|| "machine.json is missing".to_owned(), |error| error.to_string());
    let process = files::load::<Process>(&path.join("process.json")).ok().flatten();
    let runs = process
        .filter(|process| process.alive())
        .map_or_else(String::new, |process| format!("; its pid 1 runs ({})", process.pid));
    let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let what = format!("{} is a machine without a record ({why}){runs}", path.display());
    tracing::warn!(%what, "left as it is");
    Stray { id, what }
}

/// Ends what runs in the control groups of machines that have no folder: their disks are gone.
pub(super) fn end_diskless(paths: &Paths, hierarchies: &[Hierarchy]) -> Result<(), StepError> {
    for id in groups(paths, hierarchies) {
        if !paths.machines().join(&id).exists() {
            tracing::warn!(machine = %id, "it runs without a disk: its folder was deleted; it is ended");
            end(paths, hierarchies, &id)?;
        }
    }
    Ok(())
}

/// Ends a machine by its control groups alone.
pub(super) fn end(paths: &Paths, hierarchies: &[Hierarchy], id: &str) -> Result<(), StepError> {
    let group = paths.cgroup().join(id);
    cgroup::kill(hierarchies, &group);
    cgroup::remove(hierarchies, &group)
}

/// The machines that have control groups.
fn groups(paths: &Paths, hierarchies: &[Hierarchy]) -> BTreeSet<String> {
    let of = |hierarchy: &Hierarchy| fs::read_dir(hierarchy.mount.join(paths.cgroup())).ok();
    let entries = hierarchies.iter().filter_map(of).flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Cluster records that are missing or damaged, from what its machines know: the copy in each one's folder, or, for
/// machines of an earlier version, the address (then without a way to the outside, until the next scaffold says more).
pub(super) fn restore_clusters(
    paths: &Paths,
    clusters: &mut BTreeMap<ClusterId, ClusterRecord>,
    machines: &BTreeMap<MachineId, Live>,
) -> Result<(), StepError> {
    for live in machines.values().filter(|live| !live.record.deleting) {
        let id = &live.record.tags.cluster;
        if clusters.contains_key(id) {
            continue;
        }
        let copy = paths.machine(&live.record.id).join("cluster.json");
        let record = match files::load::<ClusterRecord>(&copy).ok().flatten().filter(|copy| copy.id == *id) {
            Some(record) => ClusterRecord { token: files::random_hex(32)?, ..record },
            None => ClusterRecord {
                version: VERSION,
                id: id.clone(),
                index: index_of(live.record.address),
                internet: false,
                token: files::random_hex(32)?,
            },
        };
        tracing::warn!(cluster = %id, "its record was lost; it is made again from what its machines know");
        files::save(&paths.clusters().join(format!("{id}.json")), &record)?;
        clusters.insert(id.clone(), record);
    }
    Ok(())
}

impl Agent {
    /// What is here and not in the books, for people.
    pub(super) fn strays(&self) -> Vec<String> {
        self.inner().strays.iter().map(|stray| stray.what.clone()).collect()
    }

    /// Ends the machines of strays. Their folders stay.
    pub(super) fn end_strays(&self) -> Result<(), StepError> {
        let ids: Vec<String> = self.inner().strays.iter().map(|stray| stray.id.clone()).collect();
        ids.iter().try_for_each(|id| end(&self.paths, &self.hierarchies, id))
    }

    /// Switches off machines whose lower layers were deleted under them: nothing in them can start a program any
    /// more. Their own disks are whole, and a boot makes the Debian tree again.
    pub(super) async fn switch_off_rootless(self: &Arc<Self>) {
        let running: Vec<MachineId> = {
            let inner = self.inner();
            let alive = inner.machines.iter().filter(|(_, live)| live.seen().alive && !live.record.deleting);
            alive.map(|(id, _)| id.clone()).collect()
        };
        for id in running {
            let Ok(boot) = Boot::read(&self.paths.machine(&id).join("boot.json")) else { continue };
            let Some(gone) = boot.lowers.iter().find(|layer| !is_whole(layer)) else { continue };
            tracing::warn!(machine = %id, layer = %gone.display(), "its lower layer was deleted: it is switched off");
            if let Err(error) = self.stop(&id).await {
                tracing::warn!(machine = %id, %error, "it could not be switched off");
            }
        }
    }
}

/// Whether a layer is there: a deletion begins at its top or ends there, and leaves no `usr` or nothing at all.
fn is_whole(layer: &PathBuf) -> bool {
    fs::read_dir(layer).is_ok_and(|mut entries| entries.next().is_some())
}
