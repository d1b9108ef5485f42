//! Who holds a lock, and whether that process still lives.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::provider::sandbox::machine::process::Process;

/// Who holds a lock: written into the lock file for whoever comes second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user.
    pub user: String,
    /// The computer.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// What it does: `cluster up`.
    pub doing: String,
    /// Which boot of the computer it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// When the process started, in clock ticks since that boot: a pid is used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
}

/// A computer, from one start to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    host: String,
    boot: Option<String>,
}

impl Place {
    /// This one.
    pub(super) fn here() -> Self {
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self {
            host: host.unwrap_or_else(|_| "unknown host".to_owned()),
            boot: boot.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
        }
    }
}

/// What has become of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs.
    Alive,
    /// It has ended.
    Dead,
    /// It ran before this computer was started again.
    EarlierBoot,
    /// It is another computer's: nobody here can tell.
    Elsewhere,
}

impl Life {
    /// After who it is, while the lock is held.
    pub(super) fn aside(self) -> &'static str {
        match self {
            Self::Alive => ", alive,",
            // The kernel says that the lock is held, so somebody who got it from that process lives.
            Self::Dead | Self::EarlierBoot => ", or what it has started,",
            Self::Elsewhere => ", on another computer,",
        }
    }

    /// How it ended, once the lock is free.
    pub(super) fn ended(self) -> &'static str {
        match self {
            Self::EarlierBoot => "which ended when the computer did",
            Self::Alive | Self::Dead | Self::Elsewhere => "which ended without a word",
        }
    }
}

impl Holder {
    /// This process.
    pub fn here(doing: impl Into<String>, since: Timestamp) -> Self {
        let uid = nix::unistd::getuid();
        let user = nix::unistd::User::from_uid(uid).ok().flatten();
        let Place { host, boot } = Place::here();
        let pid = std::process::id();
        Self {
            user: user.map_or_else(|| uid.to_string(), |user| user.name),
            host,
            pid,
            since,
            doing: doing.into(),
            boot,
            started: process(pid).map(|process| process.started),
        }
    }

    /// What has become of it, as seen from `place`, which is where we are.
    pub(super) fn life(&self, place: &Place) -> Life {
        let same_boot = self.boot.is_none() || place.boot.is_none() || self.boot == place.boot;
        match (self.host == place.host, same_boot) {
            // A computer may get another name while it runs; its boot's id is its own.
            (false, true) if self.boot.is_none() => Life::Elsewhere,
            (_, true) => {
                let runs = process(self.pid).is_some_and(|process| {
                    process.alive() && self.started.is_none_or(|started| started == process.started)
                });
                if runs { Life::Alive } else { Life::Dead }
            }
            (true, false) => Life::EarlierBoot,
            (false, false) => Life::Elsewhere,
        }
    }
}

fn process(pid: u32) -> Option<Process> {
    Process::of(i32::try_from(pid).ok()?).ok()
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, host, pid, since, doing, .. } = self;
        write!(f, "`{doing}` of {user} on {host} (pid {pid}) since {since:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_lives_dies_or_cannot_be_seen() {
        let me = Holder::here("cluster up", Timestamp::UNIX_EPOCH);
        let place = Place::here();
        let other_boot = Some("0-0".to_owned());
        let cases = [
            (me.clone(), Life::Alive),
            (Holder { started: me.started.map(|at| at + 1), ..me.clone() }, Life::Dead),
            (Holder { boot: other_boot.clone(), ..me.clone() }, Life::EarlierBoot),
            (Holder { host: "renamed".into(), ..me.clone() }, Life::Alive),
            (Holder { host: "there".into(), boot: other_boot, ..me.clone() }, Life::Elsewhere),
            // Written by an earlier version.
            (Holder { boot: None, started: None, ..me.clone() }, Life::Alive),
            (Holder { host: "there".into(), boot: None, started: None, ..me }, Life::Elsewhere),
        ];
        for (holder, expected) in cases {
            assert_eq!(holder.life(&place), expected, "{holder:?}");
        }
    }
}
