//! The last steps before pid 1 becomes systemd: namespaces, every mount, `pivot_root`.
//!
//! It runs as `continuum sandbox init FILE TTY`, is pid 1 already, and prints to the machine's console. The machine sees
//! nothing of the host but: its tree, its own folders on the real disk, a few device nodes and the blob store (read-only).

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, pivot_root, sethostname};

use super::{Boot, StepError, fence};

/// On the real disk: an overlay on an overlay is refused, and images and etcd's log want no copy-up.
pub const REAL_DISK: [&str; 3] = ["containerd", "kubelet", "etcd"];
/// Not namespaced: a kubelet would set the host's. It sees the values that it wants in files of its own.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
const DEVICES: [&str; 9] = ["null", "zero", "full", "random", "urandom", "tty", "kmsg", "fuse", "net/tun"];
const NONE: Option<&str> = None;

/// Becomes the machine's systemd; returns only if something went wrong.
pub fn run(file: &Path, console: &Path) -> Result<(), StepError> {
    let boot = Boot::read(file)?;
    let new = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(new).map_err(StepError::at("make namespaces"))?;
    sethostname(&boot.name).map_err(StepError::at("set the host name"))?;
    // Nothing that is mounted here may appear on the host, nor the other way round.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .map_err(StepError::at("make / private"))?;
    let root = boot.dir.join("root");
    overlay(&boot, &root)?;
    devices(&root, console)?;
    kernel_trees(&boot, &root)?;
    cgroups(&boot, &root)?;
    for name in REAL_DISK {
        bind(&boot.dir.join("disk").join(name), &root.join("var/lib").join(name))?;
    }
    let shared = root.join("var/lib/continuum/shared");
    bind(&boot.blobs, &shared)?;
    read_only(&shared)?;
    fence::close(&root, &boot.dir.join("views/meminfo"))?;
    pivot(&root)?;
    let error = Command::new(fence::LAUNCHER)
        .args(fence::launch("/lib/systemd/systemd"))
        .env_clear()
        .envs([("container", "continuum"), ("TERM", "dumb"), ("SYSTEMD_LOG_COLOR", "0"), ("HOME", "/root")])
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .exec();
    Err(StepError { step: "run /lib/systemd/systemd in the machine".into(), source: error })
}

fn overlay(boot: &Boot, root: &Path) -> Result<(), StepError> {
    let lowers: Vec<String> = boot.lowers.iter().map(|dir| dir.display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lowers.join(":"),
        boot.dir.join("upper").display(),
        boot.dir.join("work").display()
    );
    mount(Some("overlay"), root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(StepError::at("mount the root (overlayfs)"))
}

fn devices(root: &Path, console: &Path) -> Result<(), StepError> {
    let dev = root.join("dev");
    fs_mount("tmpfs", &dev, MsFlags::MS_NOSUID, "mode=755,size=1m")?;
    for name in DEVICES {
        let host = Path::new("/dev").join(name);
        if host.exists() {
            bind_file(&host, &dev.join(name))?;
        }
    }
    bind_file(console, &dev.join("console"))?;
    for name in ["pts", "shm", "mqueue"] {
        make_dir(&dev.join(name))?;
    }
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    fs_mount("devpts", &dev.join("pts"), quiet, "newinstance,ptmxmode=0666,mode=620,gid=5")?;
    fs_mount("tmpfs", &dev.join("shm"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=1777")?;
    fs_mount("mqueue", &dev.join("mqueue"), quiet | MsFlags::MS_NODEV, "")?;
    for (link, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(link)).map_err(StepError::at(format!("link /dev/{link}")))?;
    }
    fs_mount("tmpfs", &root.join("run"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=755,size=20%")
}

/// `/proc` and `/sys` with the machine's own size in them.
fn kernel_trees(boot: &Boot, root: &Path) -> Result<(), StepError> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let (proc, sys, views) = (root.join("proc"), root.join("sys"), boot.dir.join("views"));
    fs_mount("proc", &proc, quiet, "")?;
    fs_mount("sysfs", &sys, quiet, "")?;
    for name in ["meminfo", "cpuinfo", "swaps"] {
        bind(&views.join(name), &proc.join(name))?;
    }
    for (name, path) in
        [("cpu", "devices/system/cpu"), ("node", "devices/system/node"), ("hugepages", "kernel/mm/hugepages")]
    {
        let target = sys.join(path);
        if target.exists() {
            bind(&views.join(name), &target)?;
        }
    }
    for name in ["vm", "kernel"] {
        let dir = proc.join("sys").join(name);
        bind(&dir, &dir)?;
        read_only(&dir)?;
    }
    let values = boot.dir.join("sysctl");
    make_dir(&values)?;
    let boot_id = ("kernel/random/boot_id", boot.boot_id.as_str());
    for (key, value) in SYSCTLS.into_iter().chain([boot_id]) {
        let file = values.join(key.replace('/', "."));
        let target = proc.join("sys").join(key);
        if target.exists() {
            fs::write(&file, format!("{value}\n"))
                .map_err(StepError::at(format!("write {}", file.display())))?;
            bind(&file, &target)?;
        }
    }
    Ok(())
}

/// The cgroup namespace makes the machine's own group look like the root of each hierarchy.
fn cgroups(boot: &Boot, root: &Path) -> Result<(), StepError> {
    let base = root.join("sys/fs/cgroup");
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let [only] = &boot.hierarchies[..]
        && only.name.is_empty()
    {
        return fs_mount("cgroup2", &base, quiet, "");
    }
    fs_mount("tmpfs", &base, quiet, "mode=755")?;
    for hierarchy in &boot.hierarchies {
        let dir = base.join(&hierarchy.name);
        make_dir(&dir)?;
        fs_mount(if hierarchy.v2 { "cgroup2" } else { "cgroup" }, &dir, quiet, &hierarchy.options)?;
        for controller in hierarchy.controllers.iter().filter(|name| **name != hierarchy.name) {
            // `cpu` -> `cpu,cpuacct`, as programs look for the single names.
            let _ = symlink(&hierarchy.name, base.join(controller));
        }
    }
    Ok(())
}

fn pivot(root: &Path) -> Result<(), StepError> {
    let old = root.join(".old");
    make_dir(&old)?;
    chdir(root).map_err(StepError::at("enter the new root"))?;
    pivot_root(".", ".old").map_err(StepError::at("pivot_root"))?;
    chdir("/").map_err(StepError::at("enter /"))?;
    umount2("/.old", MntFlags::MNT_DETACH).map_err(StepError::at("let go of the host's root"))?;
    let _ = fs::remove_dir("/.old");
    // A kubelet wants shared propagation; pivot_root refuses it, so it comes last.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SHARED, NONE)
        .map_err(StepError::at("share the root"))
}

fn fs_mount(kind: &str, target: &Path, flags: MsFlags, options: &str) -> Result<(), StepError> {
    mount(Some(kind), target, Some(kind), flags, Some(options))
        .map_err(StepError::at(format!("mount {kind} on {}", target.display())))
}

fn bind(from: &Path, to: &Path) -> Result<(), StepError> {
    mount(Some(from), to, NONE, MsFlags::MS_BIND, NONE).map_err(StepError::at(format!(
        "bind {} to {}",
        from.display(),
        to.display()
    )))
}

fn bind_file(from: &Path, to: &Path) -> Result<(), StepError> {
    if let Some(parent) = to.parent() {
        make_dir(parent)?;
    }
    File::create(to).map_err(StepError::at(format!("make {}", to.display())))?;
    bind(from, to)
}

fn read_only(path: &Path) -> Result<(), StepError> {
    let flags =
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(NONE, path, NONE, flags, NONE).map_err(StepError::at(format!("make {} read-only", path.display())))
}

fn make_dir(path: &Path) -> Result<(), StepError> {
    let path: PathBuf = path.to_owned();
    fs::create_dir_all(&path)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .map_err(StepError::at(format!("make {}", path.display())))
}
