//! What a machine shows of its size: files that are bound over the host's `/proc` and `/sys`.
//!
//! Without them every kubelet claims the whole host. The texts are pure functions of the shape (and of the host's
//! `cpuinfo`, for model and flags); [`write`] puts them into a folder, one of the boot's mounts binds them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::StepError;
use crate::spec::Shape;

/// One file or link of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file with its text.
    File(String),
    /// A symbolic link.
    Link(String),
}

/// `/proc/meminfo` of a machine with this much memory. What is free cannot be told from a file; it says "nearly all",
/// and what matters (evictions, limits) reads the cgroup.
pub fn meminfo(bytes: u64) -> String {
    let total = bytes / 1024;
    let free = total - total / 20;
    let mut text = String::new();
    for (key, value) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Shmem", 0),
        ("Slab", 0),
    ] {
        text += &format!("{:<15} {value:>8} kB\n", format!("{key}:"));
    }
    text + "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n"
}

/// `/proc/cpuinfo` with `count` processors, each like the host's first.
pub fn cpuinfo(host: &str, count: u64) -> String {
    let first: Vec<&str> = host.lines().take_while(|line| !line.trim().is_empty()).collect();
    let mut text = String::new();
    for n in 0..count {
        let mut numbered = false;
        for line in &first {
            let key = line.split(':').next().unwrap_or_default().trim();
            let value = match key {
                "processor" => {
                    numbered = true;
                    n.to_string()
                }
                "core id" | "apicid" | "initial apicid" => n.to_string(),
                "physical id" => "0".into(),
                "siblings" | "cpu cores" => count.to_string(),
                _ => {
                    text += &format!("{line}\n");
                    continue;
                }
            };
            text += &format!("{key}\t: {value}\n");
        }
        if !numbered {
            text += &format!("processor\t: {n}\n");
        }
        text.push('\n');
    }
    text
}

/// Everything that a machine of this shape shows, by path below the views' folder:
/// `meminfo`, `cpuinfo`, `swaps`, `cpu/` for `/sys/devices/system/cpu`, `node/` for `/sys/devices/system/node`.
pub fn of_shape(shape: &Shape, host_cpuinfo: &str) -> Vec<(PathBuf, Entry)> {
    let count = shape.cpu.whole().max(1);
    let list = if count == 1 { "0".to_owned() } else { format!("0-{}", count - 1) };
    let mut all: Vec<(PathBuf, Entry)> = Vec::new();
    let mut file = |path: String, text: String| all.push((path.into(), Entry::File(text)));
    file("meminfo".into(), meminfo(shape.memory.bytes));
    file("cpuinfo".into(), cpuinfo(host_cpuinfo, count));
    file("swaps".into(), "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".into());
    for name in ["online", "present", "possible"] {
        file(format!("cpu/{name}"), format!("{list}\n"));
        file(format!("node/{name}"), "0\n".into());
    }
    file("cpu/offline".into(), "\n".into());
    file("cpu/kernel_max".into(), format!("{}\n", count - 1));
    for n in 0..count {
        for (name, value) in [
            ("core_id", n.to_string()),
            ("physical_package_id", "0".into()),
            ("thread_siblings_list", n.to_string()),
            ("core_siblings_list", list.clone()),
        ] {
            file(format!("cpu/cpu{n}/topology/{name}"), format!("{value}\n"));
        }
        file(format!("cpu/cpu{n}/online"), "1\n".into());
    }
    let total = shape.memory.bytes / 1024;
    file(
        "node/node0/meminfo".into(),
        format!("Node 0 MemTotal:       {total} kB\nNode 0 MemFree:        {total} kB\n"),
    );
    file("node/node0/cpulist".into(), format!("{list}\n"));
    file("node/node0/distance".into(), "10\n".into());
    file("node/node0/hugepages/hugepages-2048kB/nr_hugepages".into(), "0\n".into());
    for n in 0..count {
        all.push((format!("node/node0/cpu{n}").into(), Entry::Link(format!("../../cpu/cpu{n}"))));
    }
    all
}

/// Writes the views of a shape into `dir`.
pub fn write(dir: &Path, shape: &Shape) -> Result<(), StepError> {
    let host = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let fail = || StepError::at(format!("write the views of {} to {}", shape.name, dir.display()));
    for (path, entry) in of_shape(shape, &host) {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(fail())?;
        }
        match entry {
            Entry::File(text) => fs::write(&path, text).map_err(fail())?,
            Entry::Link(target) => symlink(target, &path).map_err(fail())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{Cpu, Memory};

    #[test]
    fn meminfo_shows_the_shape_in_the_kernels_format() {
        let text = meminfo(8 << 30);
        let first: Vec<&str> = text.lines().take(3).collect();
        assert_eq!(
            first,
            ["MemTotal:        8388608 kB", "MemFree:         7969178 kB", "MemAvailable:    7969178 kB"]
        );
    }

    #[test]
    fn cpuinfo_repeats_the_hosts_first_processor() {
        let host = "processor\t: 0\nmodel name\t: X\ncore id\t\t: 7\ncpu cores\t: 1\n\nprocessor\t: 1\nmodel name\t: Y\n";
        let expected = "processor\t: 0\nmodel name\t: X\ncore id\t: 0\ncpu cores\t: 2\n\n\
                        processor\t: 1\nmodel name\t: X\ncore id\t: 1\ncpu cores\t: 2\n\n";
        assert_eq!(cpuinfo(host, 2), expected);
        assert_eq!(cpuinfo("", 1), "processor\t: 0\n\n");
    }

    #[test]
    fn a_shape_larger_than_the_host_has_all_its_processors() {
        let all = of_shape(&Shape::of(Cpu::cores(3), Memory::gib(4)), "");
        let get = |path: &str| all.iter().find(|(p, _)| p == Path::new(path)).map(|(_, entry)| entry.clone());
        assert_eq!(get("cpu/online"), Some(Entry::File("0-2\n".into())));
        assert_eq!(get("cpu/cpu2/topology/core_id"), Some(Entry::File("2\n".into())));
        assert_eq!(get("node/node0/cpu2"), Some(Entry::Link("../../cpu/cpu2".into())));
        assert_eq!(get("cpu/cpu3/online"), None);
    }

    #[test]
    fn half_a_processor_shows_as_one() {
        let all = of_shape(&Shape::of(Cpu { millis: 500 }, Memory::gib(1)), "");
        assert!(all.contains(&("cpu/online".into(), Entry::File("0\n".into()))));
    }
}
