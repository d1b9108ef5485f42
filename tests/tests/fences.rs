//! The known ways out of a machine of the sandbox, each tried inside a real one. Accidents and pods stay inside; what a
//! determined root could still do is in the list too, so that `docs/explanation/security.md` stays true.
//! Needs root; says so and passes without.

use std::fmt::Write as _;

use continuum_tests::{Lab, root};

/// What becomes of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Stopped, on every computer.
    Closed,
    /// Stopped where control groups of version 1 deny devices; version 2 would need a program in the kernel.
    ClosedOnV1,
    /// Root in the machine can do it on purpose: said in the docs.
    Open,
}

/// What is tried, as a script that succeeds if it got out. None of them changes anything if it does.
const WAYS: &[(&str, Way, &str)] = &[
    (
        "read a disk of the computer through a node on the machine's disk",
        Way::Closed,
        "mknod /root/d b $DISK && head -c 512 /root/d",
    ),
    (
        "read a disk through a node in the folder of images",
        Way::Closed,
        "mknod /var/lib/containerd/d b $DISK && head -c 512 /var/lib/containerd/d",
    ),
    ("read a disk through a node in /dev", Way::ClosedOnV1, "mknod /dev/d b $DISK && head -c 512 /dev/d"),
    (
        "read a disk through a node on a file system of its own",
        Way::ClosedOnV1,
        "mount -t tmpfs none /mnt && mknod /mnt/d b $DISK && head -c 512 /mnt/d",
    ),
    (
        "mount a disk of the computer",
        Way::ClosedOnV1,
        "rm -f /dev/d; mknod /dev/d b $DISK && mount -o ro /dev/d /mnt",
    ),
    ("read the computer's memory", Way::Closed, "mknod /dev/mem2 c 1 1 && head -c 16 /dev/mem2"),
    ("use the computer's ports", Way::Closed, "mknod /dev/port2 c 1 4 && head -c 1 /dev/port2"),
    ("read the kernel's memory", Way::Closed, "head -c 16 /proc/kcore"),
    ("allow itself all devices", Way::ClosedOnV1, "echo 'b *:* rwm' >/sys/fs/cgroup/devices/devices.allow"),
    ("press the magic key", Way::Closed, "test -w /proc/sysrq-trigger"),
    ("choose where cores are dumped", Way::Closed, "test -w /proc/sys/kernel/core_pattern"),
    ("choose who loads modules", Way::Closed, "test -w /proc/sys/kernel/modprobe"),
    ("drop the computer's caches", Way::Closed, "test -w /proc/sys/vm/drop_caches"),
    ("limit the computer's files", Way::Closed, "test -w /proc/sys/fs/file-max"),
    (
        "register a kind of program",
        Way::Closed,
        "ls /proc/sys/fs/binfmt_misc/ >/dev/null 2>&1; test -w /proc/sys/fs/binfmt_misc/register",
    ),
    ("move interrupts", Way::Closed, "find /proc/irq -name smp_affinity -writable | grep -q ."),
    (
        "choose who is told of devices",
        Way::Closed,
        "test -w /sys/kernel/uevent_helper || test -w /sys/kernel",
    ),
    ("put the computer to sleep", Way::Closed, "test -w /sys/power/state || test -w /sys"),
    ("change a disk's queue", Way::Closed, "find /sys/block/*/queue/ -name scheduler -writable | grep -q ."),
    (
        "change a module's settings",
        Way::Closed,
        "find /sys/module -path '*/parameters/*' -writable | grep -q .",
    ),
    (
        "have a program run when a control group empties",
        Way::Closed,
        "find /sys/fs/cgroup -maxdepth 2 -name release_agent | grep -q .",
    ),
    (
        "change its own limits from outside",
        Way::Closed,
        "find /sys/fs/cgroup -maxdepth 2 -name 'continuum.*' | grep -q .",
    ),
    ("set the computer's clock", Way::Closed, "date -s @$(date +%s)"),
    (
        "load a module",
        Way::Closed,
        "b=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status); test $(( (0x$b >> 16) & 1 )) = 1",
    ),
    (
        "see the computer's processes",
        Way::Closed,
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q 'sandbox [a]gent'",
    ),
    (
        "stop a process of the computer",
        Way::Closed,
        "kill -0 $OUTSIDE && grep -q continuum /proc/$OUTSIDE/cmdline",
    ),
    (
        "look through a process's eyes at the computer's files",
        Way::Closed,
        "for p in /proc/[0-9]*; do test -e $p/root/var/lib/continuum/sandbox && exit 0; done; exit 1",
    ),
    (
        "find the agent's socket",
        Way::Closed,
        "test -e /run/continuum/sandbox || grep -q agent.sock /proc/net/unix",
    ),
    (
        "find another machine's disk",
        Way::Closed,
        "test -e /var/lib/continuum/sandbox || grep -q upper= /proc/self/mounts && ls $(grep -o 'upperdir=[^,]*' /proc/self/mounts | head -1 | cut -d= -f2)",
    ),
    (
        "change a file that machines share",
        Way::Closed,
        "touch /var/lib/continuum/shared/x || { f=$(find /var/lib/continuum/shared -type f | head -1); test -n \"$f\" && test -w \"$f\"; }",
    ),
    (
        "see the computer's network",
        Way::Closed,
        "test -e /sys/class/net/slirp0 || grep -v 'lo:\\|eth0:\\|Inter\\|face\\|sit0\\|tunl0\\|ip6tnl0' /proc/net/dev | grep -q :",
    ),
    (
        "make its kernel files writable again, on purpose",
        Way::Open,
        "mount -o remount,rw,bind /sys && test -w /sys/kernel; r=$?; mount -o remount,ro,bind /sys; exit $r",
    ),
    (
        "mount the kernel's files anew, on purpose",
        Way::Open,
        "mkdir -p /mnt/p && mount -t proc proc /mnt/p && test -w /mnt/p/sys/kernel/core_pattern; r=$?; umount /mnt/p; exit $r",
    ),
    ("read the computer's kernel log", Way::Open, "dmesg | grep -q ."),
];

fn cluster(lab: &Lab) -> String {
    let template = root().join("tests/recipes-small/template.yaml");
    let text = format!(
        "name: fence\ntemplate: {}\nprovider: {{type: sandbox, internet: false}}\ninputs:\n  workers:\n    shape: {{cpu: 1, memory: 512Mi}}\n    count: 1\n",
        template.display()
    );
    lab.write("fence.yaml", &text)
}

/// A disk of this computer as `MAJOR MINOR`, if it has one that anybody could read.
fn disk() -> Option<String> {
    let entries = std::fs::read_dir("/sys/block").ok()?;
    let mut disks: Vec<String> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with("ram"))
        .filter(|entry| {
            std::fs::read_to_string(entry.path().join("size")).is_ok_and(|size| size.trim() != "0")
        })
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("dev")).ok())
        .map(|dev| dev.trim().replace(':', " "))
        .collect();
    disks.sort();
    disks.pop()
}

#[test]
fn the_known_ways_out_of_a_machine_are_closed_or_said() {
    let Some(lab) = Lab::open("fence") else { return };
    let file = cluster(&lab);
    let recipes = root().join("tests/recipes-small").display().to_string();
    lab.ok(&["cluster", "up", &file, "--recipes", &recipes, "--yes", "--no-bake"]);
    let disk = disk();
    let devices = std::path::Path::new("/sys/fs/cgroup/devices").exists();
    let outside = std::process::id();
    let mut table = String::new();
    let mut wrong = Vec::new();
    for (what, way, script) in WAYS {
        if script.contains("$DISK") && disk.is_none() {
            println!("skipped: this computer has no disk to {what}");
            continue;
        }
        let script = script.replace("$DISK", disk.as_deref().unwrap_or_default());
        let script = script.replace("$OUTSIDE", &outside.to_string());
        let ended = lab.run(&["cluster", "ssh", "fence", "fence-workers-2", "--", &script]);
        // 255 is ssh's own: the machine was not asked
        assert_ne!(ended.code, Some(255), "{what}: {ended}");
        let out = ended.code == Some(0);
        let _ = writeln!(table, "{:<60} {}", what, if out { "out" } else { "stopped" });
        let expected = match way {
            Way::Closed => false,
            Way::ClosedOnV1 if devices => false,
            Way::ClosedOnV1 => continue,
            Way::Open => true,
        };
        if out != expected {
            wrong.push(format!("{what}: {ended}"));
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{table}\n{}", wrong.join("\n"));
    // A process that goes wild hits its own machine alone.
    lab.run(&["cluster", "ssh", "fence", "fence-workers-2", "--", "kill -9 -1"]);
    assert_eq!(lab.ok(&["cluster", "ssh", "fence", "fence-front-end-1", "--", "echo here"]), "here\n");
    lab.ok(&["cluster", "down", "fence", "--yes"]);
    lab.close();
}
