//! What a machine shows of its size: files that are bound over the host's `/proc` and `/sys`.
//!
//! Without them every kubelet claims the whole host. The texts are pure functions of the shape (and of the host's
//! `cpuinfo`, for model and flags); [`write`] puts them into a folder, the boot's mounts bind them.
//!
//! A machine shows as many processors as its shape has, but not which of the host's they are. A kubelet takes their
//! count as capacity and confines all pods to those whose package it finds (`cpuset.cpus`). With `0-2` on a host of two
//! the kernel refuses that and the kubelet does not start; with `0-1` on a host of 64 the pods of all machines would
//! crowd on the first two. So there is no `physical_package_id` and no NUMA node: then it counts the processors (as it
//! does on computers that have neither), and confines nothing. The quota of the machine's control group is its limit.

use std::fs;
use std::path::{Path, PathBuf};

use super::StepError;
use crate::spec::Shape;

/// One file or folder of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file with its text.
    File(String),
    /// A folder with nothing in it: what the host has there is no business of the machine.
    Empty,
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
/// `meminfo`, `cpuinfo`, `swaps` for `/proc`; `cpu/` and `node/` for `/sys/devices/system`, `hugepages/` for
/// `/sys/kernel/mm/hugepages`: a shape has none, and a kubelet would take the host's off its memory.
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
    }
    file("cpu/offline".into(), "\n".into());
    file("cpu/kernel_max".into(), format!("{}\n", count - 1));
    for n in 0..count {
        for (name, value) in [
            ("core_id", n.to_string()),
            ("thread_siblings_list", n.to_string()),
            ("core_siblings_list", list.clone()),
        ] {
            file(format!("cpu/cpu{n}/topology/{name}"), format!("{value}\n"));
        }
        file(format!("cpu/cpu{n}/online"), "1\n".into());
    }
    all.push(("node".into(), Entry::Empty));
    all.push(("hugepages".into(), Entry::Empty));
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
            Entry::Empty => fs::create_dir_all(&path).map_err(fail())?,
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
        assert_eq!(get("cpu/cpu3/online"), None);
    }

    #[test]
    fn processors_are_counted_but_tied_to_no_package_and_no_node() {
        let all = of_shape(&Shape::of(Cpu::cores(2), Memory::gib(4)), "");
        assert!(all.iter().all(|(path, _)| !path.ends_with("physical_package_id")));
        let of = |name: &str| all.iter().filter(|(path, _)| path.starts_with(name)).collect::<Vec<_>>();
        assert_eq!(of("node"), [&("node".into(), Entry::Empty)]);
        assert_eq!(of("hugepages"), [&("hugepages".into(), Entry::Empty)]);
    }

    #[test]
    fn half_a_processor_shows_as_one() {
        let all = of_shape(&Shape::of(Cpu { millis: 500 }, Memory::gib(1)), "");
        assert!(all.contains(&("cpu/online".into(), Entry::File("0\n".into()))));
    }
}
