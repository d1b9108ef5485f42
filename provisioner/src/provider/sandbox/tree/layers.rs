//! Images that the program makes by itself: how many of them stay.
//!
//! A layer's modification time is when a machine was last made from it. The newest stay, and those that a machine of
//! any instance stands on: a layer must not go from under a running machine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use super::super::paths::Paths;
use super::BASE;
use crate::clock;
use crate::names::ImageName;

/// The layers whose names begin so were made by the program; it may make them again. Others are a person's.
pub const PREPARED: &str = "baked-";
/// One for each kind of cluster that is worked on in a day; each has some hundred megabytes.
const KEPT: usize = 3;

/// A machine is made from this image now.
pub fn touch(paths: &Paths, image: &ImageName) {
    let Some(name) = layer_of(image) else { return };
    // Only a hint for the choice of what goes first: without it nothing breaks.
    let touched = File::open(paths.layers().join(name)).and_then(|dir| dir.set_modified(clock::now().into()));
    if let Err(error) = touched {
        tracing::debug!(%image, %error, "the time of an image was not changed");
    }
}

/// Removes prepared layers that nobody needs, and what unfinished ones left. Called under the lock of those who
/// make them.
pub fn prune(paths: &Paths) {
    let layers = paths.layers();
    let mut prepared = Vec::new();
    for entry in fs::read_dir(&layers).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREPARED) {
            let used = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            prepared.push((used, name));
        } else if name.strip_prefix('.').is_some_and(|rest| rest.starts_with(PREPARED)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    for name in superfluous(prepared, &in_use(paths)) {
        // Under another name first: a half-removed layer must not be found.
        let gone = layers.join(format!(".{name}.old"));
        match fs::rename(layers.join(&name), &gone).and_then(|()| fs::remove_dir_all(&gone)) {
            Ok(()) => tracing::info!(image = %name, "removed an image that was not used for long"),
            Err(error) => tracing::warn!(image = %name, %error, "an old image could not be removed"),
        }
    }
}

fn layer_of(image: &ImageName) -> Option<&str> {
    image.as_str().strip_prefix(BASE)?.strip_prefix('+')
}

/// All but the last used and those in use.
fn superfluous(mut prepared: Vec<(SystemTime, String)>, in_use: &BTreeSet<String>) -> Vec<String> {
    prepared.sort();
    let old = prepared.into_iter().rev().skip(KEPT).map(|(_, name)| name);
    old.filter(|name| !in_use.contains(name)).collect()
}

/// The layers below the machines of every instance of this host.
fn in_use(paths: &Paths) -> BTreeSet<String> {
    let instances = paths.state.parent().unwrap_or(Path::new("/"));
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let machines = entries(instances).flat_map(|instance| entries(&instance.join("machines")));
    let records = machines.filter_map(|dir| fs::read(dir.join("machine.json")).ok());
    let images = records.filter_map(|text| {
        let record: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(ImageName(record.get("image")?.as_str()?.to_owned()))
    });
    images.filter_map(|image| layer_of(&image).map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_last_used_and_those_below_machines_stay() {
        let at = |n: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        let all: Vec<_> = (1..=6).map(|n| (at(n), format!("baked-{n}"))).collect();
        let in_use = BTreeSet::from(["baked-2".to_owned(), "baked-6".to_owned()]);
        assert_eq!(superfluous(all.clone(), &in_use), ["baked-3", "baked-1"]);
        assert_eq!(superfluous(all[..3].to_vec(), &BTreeSet::new()), [""; 0]);
    }

    #[test]
    fn what_is_removed_is_ours_old_and_unused() {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Paths::new("t", folder.path()).unwrap();
        paths.state = folder.path().join("instances/t");
        for n in 1..=5 {
            fs::create_dir_all(paths.layers().join(format!("baked-{n}"))).unwrap();
        }
        for name in ["mine", ".baked-9.new"] {
            fs::create_dir_all(paths.layers().join(name)).unwrap();
        }
        // A machine of another instance stands on the oldest.
        let machine = folder.path().join("instances/other/machines/m1");
        fs::create_dir_all(&machine).unwrap();
        fs::write(machine.join("machine.json"), r#"{"image": "debian-12+baked-1"}"#).unwrap();
        for n in 1..=5_u64 {
            let dir = File::open(paths.layers().join(format!("baked-{n}"))).unwrap();
            dir.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(n)).unwrap();
        }
        touch(&paths, &ImageName("debian-12+baked-2".into()));
        prune(&paths);
        let mut left: Vec<_> = fs::read_dir(paths.layers())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["baked-1", "baked-2", "baked-4", "baked-5", "mine"]);
    }
}
