//! The system's `ssh` for people (`continuum cluster ssh NAME`): the same pinned keys, the same way through the cloud.
//!
//! A terminal, window sizes, signals and forwarding are what OpenSSH does best, so a person gets OpenSSH. Its own
//! configuration is left out: a `Host *` of the user's must not send our key elsewhere or trust another host key.

use std::path::Path;
use std::process::Command;

use crate::keys::HostKeyError;
use crate::state::{StateError, write_private};

use super::Target;
use super::ssh::USER;

/// How a person's `ssh` reaches a machine.
#[derive(Debug)]
pub struct Access<'a> {
    /// The machine and its pinned host keys.
    pub target: &'a Target,
    /// The operator's private key ([`Keys::operator_file`](crate::keys::Keys::operator_file)).
    pub key_file: &'a Path,
    /// Where to write the pinned host keys for `ssh` to read; 0600, replaced each time.
    pub known_hosts: &'a Path,
    /// The command, word by word, whose stdin and stdout are a connection to the machine's port 22.
    pub proxy: &'a [String],
}

/// Why there is no `ssh` command.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The pinned keys could not be written down.
    #[error("cannot write the pinned host keys")]
    KnownHosts(#[from] StateError),
    /// A pinned key is damaged.
    #[error("pinned host key")]
    HostKey(#[from] HostKeyError),
}

/// The `ssh` command, ready to be executed. `remote` is empty for a shell; one word is a line of shell, as `ssh` takes
/// it; of several, each arrives as it is.
pub fn ssh_command(access: &Access<'_>, remote: &[String]) -> Result<Command, AccessError> {
    let name = access.target.name.as_str();
    let mut pinned = String::new();
    for key in &access.target.host_keys {
        let key = crate::keys::HostKey::parse(key)?;
        let words: Vec<&str> = key.as_str().split_whitespace().take(2).collect();
        pinned.push_str(&format!("{name} {}\n", words.join(" ")));
    }
    write_private(access.known_hosts, pinned.as_bytes())?;

    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-i"]).arg(access.key_file);
    let options = [
        format!("ProxyCommand={}", proxy_line(access.proxy)),
        format!("HostKeyAlias={name}"),
        format!("UserKnownHostsFile={}", option_path(access.known_hosts)),
        "GlobalKnownHostsFile=none".into(),
        "StrictHostKeyChecking=yes".into(),
        "UpdateHostKeys=no".into(),
        "IdentitiesOnly=yes".into(),
        "PreferredAuthentications=publickey".into(),
        "ServerAliveInterval=10".into(),
        "LogLevel=ERROR".into(),
    ];
    for option in options {
        command.arg("-o").arg(option);
    }
    command.arg(format!("{USER}@{name}"));
    match remote {
        [] => {}
        [line] => {
            command.arg("--").arg(line);
        }
        words => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            command.arg("--").arg(words.join(" "));
        }
    }
    Ok(command)
}

/// One line for the user's shell, which `ssh` hands it to; `%` begins a token of `ssh`'s own.
fn proxy_line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word).replace('%', "%%")).collect();
    words.join(" ")
}

/// A path as the value of an option: one word, and no token.
fn option_path(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::names::*;
    use crate::provider::{Machine, MachineState, Owner, Tags};
    use crate::quantity::{Cpu, Memory};
    use crate::spec::Shape;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHmtiD8Pq+FvbHHB/G3o7d3W4/BhoP0XGY6N6ZECuas a comment";

    fn target() -> Target {
        let cluster = ClusterName::new("lab1").unwrap();
        let pool = PoolName::new("workers").unwrap();
        let name = MachineName::of(&cluster, &pool, 1).unwrap();
        let tags = Tags {
            cluster: ClusterId::of(&cluster, "00000000").unwrap(),
            pool,
            owner: Owner::Cli,
            ledger: "l".into(),
            machine: name.clone(),
            expires: None,
            host_key: String::new(),
        };
        let machine = Machine {
            id: "m".into(),
            tags,
            state: MachineState::Running,
            address: None,
            exposed: BTreeMap::new(),
            shape: Shape::of(Cpu::cores(1), Memory::gib(1)),
            created: None,
        };
        Target { name, machine, host_keys: vec![KEY.into()] }
    }

    fn check(remote: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let known_hosts = dir.path().join("known_hosts");
        let proxy = ["/opt/my tools/continuum", "dial", "100%"].map(str::to_owned);
        let target = target();
        let access =
            Access { target: &target, key_file: Path::new("/k"), known_hosts: &known_hosts, proxy: &proxy };
        let remote: Vec<String> = remote.iter().map(|word| (*word).to_owned()).collect();
        let command = ssh_command(&access, &remote).unwrap();
        let pinned = fs::read_to_string(&known_hosts).unwrap();
        assert_eq!(pinned, format!("lab1-workers-1 {}\n", KEY.strip_suffix(" a comment").unwrap()));
        assert_eq!(fs::metadata(&known_hosts).unwrap().permissions().mode() & 0o777, 0o600);
        let dir = dir.path().to_str().unwrap();
        command.get_args().map(|arg| arg.to_str().unwrap().replace(dir, "DIR")).collect()
    }

    #[test]
    fn people_get_the_systems_ssh_with_our_pins() {
        insta::assert_snapshot!(check(&[]).join("\n"));
    }

    #[test]
    fn one_word_is_a_line_and_several_are_words() {
        let line = |remote: &[&str]| check(remote).pop().unwrap();
        assert_eq!(line(&["ls | wc -l"]), "ls | wc -l");
        assert_eq!(line(&["echo", "a b", "it's"]), r"echo 'a b' 'it'\''s'");
    }
}
