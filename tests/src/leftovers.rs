//! What an instance of the sandbox has left on this computer.

use std::fs;
use std::path::Path;

use provisioner::provider::sandbox::paths::Paths;

/// Mounts (a pinned network namespace is one), control groups, folders and processes of an instance.
pub fn leftovers(paths: &Paths) -> Vec<String> {
    let instance = paths.instance.as_str();
    let mut left = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    for line in mounts.lines() {
        if line.contains(&format!("/{instance}/")) {
            left.push(format!("mount {line}"));
        }
        // Who is in no control group of the instance is no process of its machines.
        let group = line.split(' ').nth(1).map(|root| Path::new(root).join(paths.cgroup()));
        if line.starts_with("cgroup") && group.as_ref().is_some_and(|group| group.exists()) {
            left.push(format!("control group on {line}"));
        }
    }
    for folder in [&paths.state, &paths.run] {
        if folder.exists() {
            left.push(format!("folder {}", folder.display()));
        }
    }
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.split([' ', '/']).any(|word| word == instance) && !words.contains("sandbox stop") {
            left.push(format!("process {words}"));
        }
    }
    left
}
