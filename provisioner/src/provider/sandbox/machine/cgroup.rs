//! Control groups of machines: v1, hybrid and v2.
//!
//! What to mount and what to write comes from the text of `/proc/mounts` and a shape (pure); only the last
//! three functions touch the host. A machine's groups are `<hierarchy>/continuum.INSTANCE/ID`; nothing else is touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{StepError, fence};
use crate::spec::Shape;

/// One hierarchy of control groups, and how a machine mounts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Where the host has it.
    pub mount: PathBuf,
    /// The folder below `/sys/fs/cgroup` in a machine; empty for a pure v2.
    pub name: String,
    /// Version 2?
    pub v2: bool,
    /// Mount options for version 1: `cpu,cpuacct`, `none,name=systemd`; empty for version 2.
    pub options: String,
    /// Its controllers.
    pub controllers: Vec<String>,
}

/// Controllers that machines use; others (net_cls, perf_event, …) stay the host's alone.
const USED: [&str; 8] = ["cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer", "blkio"];
/// What a shape's limits need.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];
/// Processes of one machine: a node with 110 pods has about 2,000; more is a fork bomb, and the host must live.
pub const PIDS_MAX: u64 = 16_384;
/// The kernel's default period; shorter ones cost more switches.
const CPU_PERIOD_US: u64 = 100_000;

/// The hierarchies that machines use, from `/proc/mounts` and the v2 root's `cgroup.controllers`.
/// If v2 has the memory controller, v2 alone; else every v1 hierarchy with a controller of ours, and v2 as `unified`.
pub fn hierarchies(mounts: &str, v2_controllers: &str) -> Result<Vec<Hierarchy>, String> {
    let mut found: Vec<Hierarchy> = Vec::new();
    // A machine shows processors that are not the host's (see `views`). With a v2 cpuset of its own it could only say
    // something wrong about them; without, a kubelet does not try. On v1 kubelets insist on one, and write nothing.
    let v2: Vec<String> =
        v2_controllers.split_whitespace().filter(|name| *name != "cpuset").map(str::to_owned).collect();
    let pure = v2.iter().any(|c| c == "memory");
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, mount, kind, options, ..] = fields[..] else { continue };
        let hierarchy = match kind {
            "cgroup2" if pure => Hierarchy {
                mount: mount.into(),
                name: String::new(),
                v2: true,
                options: String::new(),
                controllers: v2.clone(),
            },
            "cgroup2" => Hierarchy {
                mount: mount.into(),
                name: "unified".into(),
                v2: true,
                options: String::new(),
                controllers: Vec::new(),
            },
            "cgroup" if !pure => match version1(mount, options) {
                Some(hierarchy) => hierarchy,
                None => continue,
            },
            _ => continue,
        };
        if !found.iter().any(|other| (&other.name, other.v2) == (&hierarchy.name, hierarchy.v2)) {
            found.push(hierarchy);
        }
    }
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|need| !found.iter().any(|h| h.controllers.iter().any(|c| c == need)))
        .collect();
    if missing.is_empty() {
        Ok(found)
    } else {
        Err(format!(
            "the cgroup controllers {} are not available here; enable them in the kernel (cgroup_enable=memory) and mount /sys/fs/cgroup",
            missing.join(", ")
        ))
    }
}

fn version1(mount: &str, options: &str) -> Option<Hierarchy> {
    let all: Vec<&str> = options.split(',').collect();
    let controllers: Vec<String> =
        all.iter().filter(|option| USED.contains(option)).map(|&c| c.to_owned()).collect();
    let named = all.iter().find(|option| **option == "name=systemd");
    let name = Path::new(mount).file_name()?.to_str()?.to_owned();
    let options = match named {
        Some(named) => format!("none,{named}"),
        None if controllers.is_empty() => return None,
        None => controllers.join(","),
    };
    Some(Hierarchy { mount: mount.into(), name, v2: false, options, controllers })
}

/// What to write into a machine's group of this hierarchy: file and value.
pub fn limits(hierarchy: &Hierarchy, shape: &Shape) -> Vec<(&'static str, String)> {
    let quota = shape.cpu.millis * CPU_PERIOD_US / 1000;
    let mut files = Vec::new();
    for controller in &hierarchy.controllers {
        match (controller.as_str(), hierarchy.v2) {
            ("cpu", true) => files.push(("cpu.max", format!("{quota} {CPU_PERIOD_US}"))),
            ("cpu", false) => {
                files.push(("cpu.cfs_period_us", CPU_PERIOD_US.to_string()));
                files.push(("cpu.cfs_quota_us", quota.to_string()));
            }
            ("memory", true) => files.push(("memory.max", shape.memory.bytes.to_string())),
            ("memory", false) => files.push(("memory.limit_in_bytes", shape.memory.bytes.to_string())),
            ("pids", _) => files.push(("pids.max", PIDS_MAX.to_string())),
            _ => {}
        }
    }
    files
}

/// The host's hierarchies.
pub fn of_host() -> Result<Vec<Hierarchy>, String> {
    let mounts =
        fs::read_to_string("/proc/mounts").map_err(|error| format!("cannot read /proc/mounts: {error}"))?;
    let v2 = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let controllers = v2
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|mount| fs::read_to_string(Path::new(mount).join("cgroup.controllers")).ok())
        .unwrap_or_default();
    hierarchies(&mounts, &controllers)
}

/// Makes a group in every hierarchy and sets the shape's limits. Returns the `cgroup.procs` files to enter by.
pub fn make(all: &[Hierarchy], base: &Path, id: &str, shape: &Shape) -> Result<Vec<PathBuf>, StepError> {
    let mut procs = Vec::new();
    for hierarchy in all {
        let parent = hierarchy.mount.join(base);
        let group = parent.join(id);
        fs::create_dir_all(&group).map_err(StepError::at(format!("make cgroup {}", group.display())))?;
        if hierarchy.v2 {
            delegate(hierarchy, &parent);
        }
        if hierarchy.controllers.iter().any(|c| c == "cpuset") && !hierarchy.v2 {
            // A new v1 cpuset is empty, and no process may enter an empty one.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let value = fs::read_to_string(hierarchy.mount.join(file)).unwrap_or_default();
                write(&parent.join(file), value.trim())?;
                write(&group.join(file), value.trim())?;
            }
        }
        if hierarchy.controllers.iter().any(|c| c == "devices") && !hierarchy.v2 {
            // Denied to the group above the machine's own: the machine sees its own group and may write to it.
            for rule in fence::DEVICES_DENIED {
                write(&parent.join("devices.deny"), rule)?;
            }
        }
        if hierarchy.controllers.iter().any(|c| c == "memory") && !hierarchy.v2 {
            // Already so on current kernels, which then refuse the write.
            let _ = fs::write(group.join("memory.use_hierarchy"), "1");
        }
        for (file, value) in limits(hierarchy, shape) {
            write(&group.join(file), &value)?;
        }
        procs.push(group.join("cgroup.procs"));
    }
    Ok(procs)
}

/// Hands the controllers down to the machines' groups; one that cannot be is found when a limit is written.
fn delegate(hierarchy: &Hierarchy, parent: &Path) {
    for controller in &hierarchy.controllers {
        for dir in [hierarchy.mount.as_path(), parent] {
            let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
}

fn write(path: &Path, value: &str) -> Result<(), StepError> {
    fs::write(path, value).map_err(StepError::at(format!("write {value:?} to {}", path.display())))
}

/// Removes a group of every hierarchy with all that systemd and a kubelet made in it. The kernel lets go of a dead
/// process's group a moment later, so it tries for up to two seconds. What is not there is fine.
pub fn remove(all: &[Hierarchy], path: &Path) -> Result<(), StepError> {
    let mut last = None;
    for attempt in 0..100_u32 {
        last = None;
        for hierarchy in all {
            if let Err(error) = remove_tree(&hierarchy.mount.join(path)) {
                last = Some((hierarchy.mount.join(path), error));
            }
        }
        if last.is_none() {
            return Ok(());
        }
        super::pause(Duration::from_millis(if attempt < 10 { 2 } else { 22 }));
    }
    match last {
        None => Ok(()),
        Some((path, error)) => Err(StepError::at(format!("remove cgroup {}", path.display()))(error)),
    }
}

/// Ends every process in a group and below: what a keeper left that was killed before it could report.
pub fn kill(all: &[Hierarchy], path: &Path) {
    for hierarchy in all {
        let mut dirs = vec![hierarchy.mount.join(path)];
        while let Some(dir) = dirs.pop() {
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            for pid in procs.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0) {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            dirs.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
        }
    }
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{Cpu, Memory};

    const V1: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/net_cls cgroup rw,net_cls 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0
";
    const HYBRID: &str = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    const V2: &str = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";

    fn shown(mounts: &str, v2: &str) -> Vec<String> {
        let all = hierarchies(mounts, v2).unwrap();
        all.iter().map(|h| format!("{}|{}|{}|{}", h.mount.display(), h.name, h.v2, h.options)).collect()
    }

    #[test]
    fn every_layout_of_hierarchies_is_understood() {
        let v1 = [
            "/sys/fs/cgroup/cpu,cpuacct|cpu,cpuacct|false|cpu,cpuacct",
            "/sys/fs/cgroup/memory|memory|false|memory",
            "/sys/fs/cgroup/pids|pids|false|pids",
            "/sys/fs/cgroup/systemd|systemd|false|none,name=systemd",
        ];
        assert_eq!(shown(V1, ""), v1);
        let mut hybrid: Vec<&str> = v1.into();
        hybrid.push("/sys/fs/cgroup/unified|unified|true|");
        assert_eq!(shown(&format!("{V1}{HYBRID}"), "hugetlb"), hybrid);
        assert_eq!(shown(V2, "cpuset cpu io memory pids"), ["/sys/fs/cgroup||true|"]);
    }

    #[test]
    fn a_machine_gets_no_cpuset_of_version_2() {
        let all = hierarchies(V2, "cpuset cpu io memory hugetlb pids").unwrap();
        assert_eq!(all[0].controllers, ["cpu", "io", "memory", "hugetlb", "pids"]);
    }

    #[test]
    fn missing_controllers_are_named() {
        let error = hierarchies("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n", "").unwrap_err();
        assert!(error.starts_with("the cgroup controllers memory, pids are not available here"), "{error}");
    }

    #[test]
    fn a_shape_becomes_limits_of_either_version() {
        let shape = Shape::of(Cpu { millis: 1500 }, Memory::gib(2));
        let of = |mounts, v2| -> Vec<(&str, String)> {
            hierarchies(mounts, v2).unwrap().iter().flat_map(|h| limits(h, &shape)).collect()
        };
        assert_eq!(
            of(V2, "cpu memory pids"),
            [
                ("cpu.max", "150000 100000".to_owned()),
                ("memory.max", "2147483648".to_owned()),
                ("pids.max", "16384".to_owned()),
            ]
        );
        assert_eq!(
            of(V1, ""),
            [
                ("cpu.cfs_period_us", "100000".to_owned()),
                ("cpu.cfs_quota_us", "150000".to_owned()),
                ("memory.limit_in_bytes", "2147483648".to_owned()),
                ("pids.max", "16384".to_owned()),
            ]
        );
    }
}
