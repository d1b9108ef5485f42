//! The Debian tree below every machine's root: made once with mmdebstrap, found again by the hash of how it is made.

pub mod capture;
pub mod layers;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::machine::StepError;
use super::paths::Paths;
use crate::names::ImageName;

/// The image that machines boot unless a layer is named too (`debian-12+NAME`).
pub const BASE: &str = "debian-12";
const SUITE: &str = "bookworm";
/// What a cloud image of Debian has, and what Kubernetes asks of a host.
const PACKAGES: [&str; 19] = [
    "ca-certificates",
    "conntrack",
    "curl",
    "dbus",
    "ethtool",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "less",
    "mount",
    "nftables",
    "openssh-server",
    "procps",
    "socat",
    "systemd",
    "systemd-sysv",
    "xz-utils",
    "zstd",
];
/// Units that make no sense in a machine without hardware, or that would act on the host's kernel; each costs boot time.
const MASKED: [&str; 27] = [
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-sysctl.service",
    "systemd-modules-load.service",
    "kmod-static-nodes.service",
    "systemd-random-seed.service",
    "systemd-timesyncd.service",
    "systemd-remount-fs.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-pstore.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-binfmt.service",
    "dev-hugepages.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "getty.target",
    "console-getty.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
];
/// More that is not wanted: timers, and the socket-started sshd.
const MASKED_TOO: [&str; 9] = [
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "modprobe@.service",
    "nftables.service",
    "ssh.socket",
    "systemd-journal-flush.service",
    "systemd-sysusers.service",
];
/// Programs that systemd runs at boot and at every reload, and that find nothing in a machine without disks, consoles and a
/// kernel command line of its own. Those for `/etc/fstab`, `/etc/rc.local` and old start scripts stay.
const GENERATORS: [&str; 9] = [
    "systemd-cryptsetup-generator",
    "systemd-debug-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-run-generator",
    "systemd-system-update-generator",
    "systemd-veritysetup-generator",
];
/// Files of ours in the tree.
const FILES: [(&str, &str); 4] = [
    ("etc/ssh/sshd_config", include_str!("sshd_config")),
    ("etc/systemd/system/ssh.service", include_str!("ssh.service")),
    ("etc/systemd/system/continuum-first-boot.service", include_str!("first-boot.service")),
    ("etc/systemd/journald.conf.d/continuum.conf", include_str!("journald.conf")),
];

/// The name of the tree's folder: its recipe's hash is in it, so that a changed recipe makes a new tree.
pub fn name() -> String {
    let mut hash = Sha256::new();
    for part in [SUITE].iter().chain(&PACKAGES).chain(&MASKED).chain(&MASKED_TOO).chain(&GENERATORS) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    for (path, text) in FILES {
        hash.update(path.as_bytes());
        hash.update(text.as_bytes());
    }
    let hash = hash.finalize();
    let short: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{BASE}-{short}")
}

/// Whether the tree is made.
pub fn ready(paths: &Paths) -> Option<PathBuf> {
    let dir = paths.trees().join(name());
    dir.is_dir().then_some(dir)
}

/// The tree; makes it if it is not there, which takes a minute or two and needs Debian's mirror. One at a time on a host.
pub fn ensure(paths: &Paths) -> Result<PathBuf, StepError> {
    if let Some(dir) = ready(paths) {
        return Ok(dir);
    }
    let trees = paths.trees();
    fs::create_dir_all(&trees).map_err(StepError::at(format!("make {}", trees.display())))?;
    let lock = File::create(trees.join("lock")).map_err(StepError::at("make the lock of the trees"))?;
    lock.lock().map_err(StepError::at("lock the trees"))?;
    // Another may have made it while this one waited.
    if let Some(dir) = ready(paths) {
        return Ok(dir);
    }
    let temp = trees.join(format!("{}.new", name()));
    if temp.exists() {
        fs::remove_dir_all(&temp)
            .map_err(StepError::at(format!("remove the unfinished {}", temp.display())))?;
    }
    bootstrap(&temp)?;
    customise(&temp)?;
    let dir = trees.join(name());
    fs::rename(&temp, &dir).map_err(StepError::at(format!("put {} in place", dir.display())))?;
    Ok(dir)
}

/// The captured layer that an image names after the base (`debian-12+NAME`); none for the base alone.
pub fn layers_of(paths: &Paths, image: &ImageName) -> Result<Vec<PathBuf>, StepError> {
    let missing =
        |why: String| StepError { step: format!("boot the image {image}"), source: io::Error::other(why) };
    let Some(rest) = image.as_str().strip_prefix(BASE) else {
        return Err(missing(format!("the sandbox has {BASE}, or {BASE}+NAME for a captured image")));
    };
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let name = rest.strip_prefix('+').filter(|name| valid_layer(name));
    let name = name.ok_or_else(|| missing(format!("write {BASE}+NAME, NAME of a-z, 0-9 and -")))?;
    let dir = paths.layers().join(name);
    if dir.is_dir() { Ok(vec![dir]) } else { Err(missing(format!("no image {name} was captured here"))) }
}

/// A layer's name becomes part of a path and of overlayfs's options.
pub fn valid_layer(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(fine) && !name.starts_with(['-', '.'])
}

fn bootstrap(dir: &Path) -> Result<(), StepError> {
    tracing::info!(dir = %dir.display(), "making the debian tree with mmdebstrap, once; this takes a minute or two");
    let output = Command::new("mmdebstrap")
        .args(["--variant=minbase", "--mode=root", "--skip=cleanup/apt/lists"])
        .arg(format!("--include={}", PACKAGES.join(",")))
        .args([SUITE.as_ref(), dir.as_os_str()])
        .stdin(Stdio::null())
        .output()
        .map_err(StepError::at("run mmdebstrap (package mmdebstrap)"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let from = words.lines().count().saturating_sub(5);
    let tail: Vec<&str> = words.lines().skip(from).collect();
    Err(StepError { step: "make the debian tree".into(), source: io::Error::other(tail.join("; ")) })
}

/// Puts our units and settings in and takes the builder's traces out.
pub fn customise(dir: &Path) -> Result<(), StepError> {
    let at = |path: &Path| StepError::at(format!("write {}", path.display()));
    for (path, text) in FILES {
        let path = dir.join(path);
        let _ = fs::remove_file(&path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(&path))?;
        }
        fs::write(&path, text).map_err(at(&path))?;
    }
    let units = dir.join("etc/systemd/system");
    let link = |target: &str, name: &str| -> Result<(), StepError> {
        let path = units.join(name);
        let _ = fs::remove_file(&path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(&path))?;
        }
        symlink(target, &path).map_err(at(&path))
    };
    for unit in MASKED.into_iter().chain(MASKED_TOO) {
        link("/dev/null", unit)?;
    }
    for generator in GENERATORS {
        link("/dev/null", &format!("../system-generators/{generator}"))?;
    }
    link("/lib/systemd/system/multi-user.target", "default.target")?;
    link("/etc/systemd/system/ssh.service", "multi-user.target.wants/ssh.service")?;
    link(
        "/etc/systemd/system/continuum-first-boot.service",
        "multi-user.target.wants/continuum-first-boot.service",
    )?;
    for name in ["etc/hostname", "etc/resolv.conf", "etc/machine-id", "var/lib/dbus/machine-id"] {
        let _ = fs::remove_file(dir.join(name));
    }
    for key in fs::read_dir(dir.join("etc/ssh")).into_iter().flatten().flatten() {
        if key.file_name().to_string_lossy().starts_with("ssh_host_") {
            fs::remove_file(key.path()).map_err(at(&key.path()))?;
        }
    }
    // Mount points that a tree of packages does not have.
    for name in ["var/lib/containerd", "var/lib/kubelet", "var/lib/etcd", "var/lib/continuum/shared"] {
        fs::create_dir_all(dir.join(name)).map_err(at(&dir.join(name)))?;
    }
    fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(at(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_named_after_how_it_is_made() {
        let name = name();
        assert!(name.starts_with("debian-12-") && name.len() == "debian-12-".len() + 12, "{name}");
    }
}
