//! What keeps accidents inside a machine, beside its namespaces: files of the kernel that are not namespaced are
//! read-only, device nodes on the disk are dead, and powers over the computer itself are given up.
//!
//! It stops a script that goes wrong and every pod. It is no prison: root in a machine may mount, and whoever means to
//! get out can undo the read-only mounts (`docs/explanation/security.md` has the list of what is tried and what stays
//! open). Invariant: a kubelet, containerd and privileged pods work as on a machine of a cloud.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::{StepError, init};

/// Starts pid 1 with fewer powers; part of util-linux, which every Debian has.
pub const LAUNCHER: &str = "/usr/bin/setpriv";

/// Powers over the whole computer that no node needs: kernel modules, raw memory and ports, the clock, wake-up
/// timers, and the rules of mandatory access control.
const GIVEN_UP: [&str; 6] =
    ["sys_module", "sys_rawio", "sys_time", "wake_alarm", "mac_admin", "mac_override"];

/// Below `/proc`: writing there acts on the computer. `sys/net` belongs to the machine and stays writable.
const READ_ONLY: [&str; 8] = ["sysrq-trigger", "bus", "fs", "irq", "scsi", "acpi", "sys/fs", "sys/dev"];

/// Device nodes that no machine may read or write, whoever makes them there: all disks, and the computer's memory and
/// ports. For control groups of version 1; a child of the group that has them cannot take them back.
pub const DEVICES_DENIED: [&str; 4] = ["b *:* rw", "c 1:1 rw", "c 1:2 rw", "c 1:4 rw"];

/// The arguments that start `program` without the powers that are given up.
pub fn launch(program: &str) -> Vec<String> {
    let less: Vec<String> = GIVEN_UP.iter().map(|name| format!("-{name}")).collect();
    let less = less.join(",");
    vec![format!("--bounding-set={less}"), format!("--inh-caps={less}"), "--".into(), program.into()]
}

/// Makes the mounts of a machine's root what the module says. Everything is mounted already; `meminfo` is what the
/// machine will see of its memory.
pub fn close(root: &Path, meminfo: &Path) -> Result<(), StepError> {
    let text = fs::read_to_string(meminfo).map_err(StepError::at(format!("read {}", meminfo.display())))?;
    // The kernel's own shares are of the computer's memory: one file in /run would be the end of the machine.
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for (path, share) in [("run", 5), ("dev/shm", 2)] {
        let path = root.join(path);
        let size = format!("size={}k", kilobytes(&text) / share);
        mount(None::<&str>, &path, None::<&str>, MsFlags::MS_REMOUNT | quiet, Some(size.as_str()))
            .map_err(StepError::at(format!("limit {}", path.display())))?;
    }
    // A block device that somebody makes on the machine's disk cannot be opened.
    remount(root, MsFlags::MS_NODEV)?;
    for name in init::REAL_DISK {
        remount(&root.join("var/lib").join(name), MsFlags::MS_NODEV)?;
    }
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    let proc = root.join("proc");
    for path in READ_ONLY.map(|name| proc.join(name)).iter().filter(|path| path.exists()) {
        mount(Some(path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(StepError::at(format!("bind {}", path.display())))?;
        remount(path, quiet)?;
    }
    // Of this mount only: control groups and the views lie on mounts of their own above it.
    remount(&root.join("sys"), quiet)
}

/// The machine's memory; a tenth of the smallest shape if the view is strange.
fn kilobytes(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(64 << 10)
}

fn remount(path: &Path, flags: MsFlags) -> Result<(), StepError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags;
    match mount(None::<&str>, path, None::<&str>, flags, None::<&str>) {
        Ok(()) | Err(Errno::EROFS) => Ok(()),
        Err(error) => Err(StepError::at(format!("fence {}", path.display()))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_memory_is_read_from_its_view() {
        assert_eq!(kilobytes("MemTotal:        524288 kB\nMemFree:  1 kB\n"), 524_288);
        assert_eq!(kilobytes(""), 65_536);
    }

    #[test]
    fn pid_1_starts_with_fewer_powers() {
        let words = launch("/init");
        assert_eq!(
            words[0],
            "--bounding-set=-sys_module,-sys_rawio,-sys_time,-wake_alarm,-mac_admin,-mac_override"
        );
        assert_eq!(&words[2..], ["--", "/init"]);
    }
}
