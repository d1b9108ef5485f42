//! The disk of a machine: a folder, made complete under another name, then renamed.
//!
//! ```text
//! ID/machine.json   the record        ID/upper  ID/work  ID/root   the overlay     ID/disk/   real-disk folders
//! ID/views/  what it shows of its size        ID/sysctl/        ID/console.log
//! ```

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use secrecy::ExposeSecret;

use super::{StepError, init, views};
use crate::provider::UserData;
use crate::spec::Shape;

/// Who a machine is.
#[derive(Debug)]
pub struct Identity<'a> {
    /// Host name.
    pub name: &'a str,
    /// Address.
    pub address: Ipv4Addr,
    /// Name server and default route.
    pub gateway: Ipv4Addr,
    /// 32 hex digits.
    pub machine_id: &'a str,
}

/// Makes everything but the record in `dir`, which must not exist.
pub fn make(dir: &Path, who: &Identity<'_>, shape: &Shape, user_data: &UserData) -> Result<(), StepError> {
    folder(dir, 0o700)?;
    for name in ["upper", "work", "root", "disk", "views", "sysctl"] {
        folder(&dir.join(name), 0o755)?;
    }
    for name in init::REAL_DISK {
        folder(&dir.join("disk").join(name), if name == "etcd" { 0o700 } else { 0o755 })?;
    }
    views::write(&dir.join("views"), shape)?;
    let upper = dir.join("upper");
    // A folder of the upper layer hides the mode of the one below it, so each has the mode that Debian gives it.
    for (path, mode) in [
        ("root", 0o700),
        ("root/.ssh", 0o700),
        ("etc", 0o755),
        ("etc/ssh", 0o755),
        ("var", 0o755),
        ("var/lib", 0o755),
        ("var/lib/continuum", 0o755),
    ] {
        folder(&upper.join(path), mode)?;
    }
    let Identity { name, address, gateway, machine_id } = who;
    let keys: String = user_data.authorized_keys.iter().map(|key| format!("{}\n", key.trim())).collect();
    let mut private = user_data.host_key.expose_secret().trim_end().to_owned();
    private.push('\n');
    for (path, mode, text) in [
        ("etc/hostname", 0o644, format!("{name}\n")),
        ("etc/hosts", 0o644, format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n{address} {name}\n")),
        ("etc/resolv.conf", 0o644, format!("nameserver {gateway}\n")),
        ("etc/machine-id", 0o444, format!("{machine_id}\n")),
        ("etc/ssh/ssh_host_ed25519_key", 0o600, private),
        ("etc/ssh/ssh_host_ed25519_key.pub", 0o644, format!("{}\n", user_data.host_key_public.trim())),
        ("root/.ssh/authorized_keys", 0o600, keys),
    ] {
        file(&upper.join(path), mode, &text)?;
    }
    if !user_data.script.is_empty() {
        file(&upper.join("var/lib/continuum/first-boot"), 0o700, &user_data.script)?;
    }
    Ok(())
}

/// What is a machine's own in its upper layer: an image that is captured from it goes without.
pub const IDENTITY: [&str; 18] = [
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/machine-id",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_ed25519_key.first",
    "etc/ssh/ssh_host_ed25519_key.new",
    "etc/ssh/ssh_host_ed25519_key.pub.new",
    "root/.ssh",
    "root/.bash_history",
    "var/lib/continuum/first-boot",
    "var/lib/continuum/first-boot-done",
    // What was run on it: a machine that is made from the image runs its own.
    "var/lib/continuum/jobs",
    "var/lib/systemd/random-seed",
    "var/log",
    "tmp",
    "run",
];

fn folder(path: &Path, mode: u32) -> Result<(), StepError> {
    let at = || StepError::at(format!("make {}", path.display()));
    DirBuilder::new().mode(mode).create(path).map_err(at())?;
    // The umask of whoever started the agent must not show in a machine.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at())
}

fn file(path: &Path, mode: u32, text: &str) -> Result<(), StepError> {
    let at = || StepError::at(format!("write {}", path.display()));
    let mut file: File =
        File::options().write(true).create_new(true).mode(mode & 0o700).open(path).map_err(at())?;
    file.write_all(text.as_bytes()).map_err(at())?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(at())
}
