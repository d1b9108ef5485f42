//! What we have decided: one row per machine, saved before the cloud is asked.
//!
//! Pure data with a versioned JSON form. Invariants: only this module changes a [`Phase`], and only along the
//! arrows below; an ordinal is used once; a row pins its whole request, so that asking again asks for the same
//! machine; no secret is ever in here (host keys are derived from a seed that lives elsewhere).
//! ```text
//! Creating ─► Configuring ─► Ready ─► Draining ─► Deleting ─► (forgotten)
//!     │            │  ▲        │         │           ▲
//!     │            │  └────────┤ join    └─► Ready   │
//!     └────────────┴───────────┴─────────────────────┘
//! ```

mod adopt;
mod change;
mod codec;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::names::{
    CloudId, ClusterId, ImageName, LedgerId, MachineId, MachineName, PoolName, ShapeName, StepId, Zone,
};
use crate::provider::{MachineRequest, Owner, ProviderError, Tags, UserData};
use crate::spec::{Role, Shape, Step};

pub use change::{Change, Illegal, changes};
pub use codec::CodecError;

/// The version of the JSON form that this program writes.
pub const VERSION: u32 = 1;

/// How much of a step's hash a row remembers: enough that a change shows, short enough for 2,000 rows.
const HASH_KEPT: usize = 12;

/// Everything that one owner has decided about one cluster. One writer at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// Drawn once; stands on every machine that this ledger made.
    pub id: LedgerId,
    /// Whose it is: a ledger plans the pools of this owner only.
    pub owner: Owner,
    /// The cluster.
    pub cluster: ClusterId,
    /// The cloud that it is pinned to.
    pub cloud: CloudId,
    /// One more with every save; what compare-and-swap compares.
    pub generation: u64,
    /// The ordinal that the next new row gets.
    pub next_ordinal: u64,
    /// Set once the cluster is being taken down; never unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// When machines were given up for lost, newest last, the last hour's only: the destruction budget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destroyed: Vec<Timestamp>,
    rows: BTreeMap<MachineName, Row>,
    #[serde(with = "codec::backoffs", default, skip_serializing_if = "BTreeMap::is_empty")]
    backoff: BTreeMap<(PoolName, ShapeName, Zone), Backoff>,
}

/// The cluster is being taken down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Since when.
    pub at: Timestamp,
    /// Seconds of observed time that a machine may take to drain before it is deleted by force; 0 for at once.
    pub grace_secs: u64,
}

/// What is done with a row's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Asked of the cloud, or about to be.
    Creating,
    /// It is there; its steps are run.
    Configuring,
    /// All its steps are done.
    Ready,
    /// It takes no new work and is being emptied.
    Draining,
    /// It is being deleted; the row goes when the cloud says that the machine is gone.
    Deleting,
}

impl Phase {
    /// Whether the machine counts towards the size of its pool.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Creating | Self::Configuring | Self::Ready)
    }
    /// Whether the machine is on its way: its boot is timed.
    pub fn boots(self) -> bool {
        matches!(self, Self::Creating | Self::Configuring)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "Creating",
            Self::Configuring => "Configuring",
            Self::Ready => "Ready",
            Self::Draining => "Draining",
            Self::Deleting => "Deleting",
        })
    }
}

/// When and as which number a row came to be: part of the token of its create call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Born {
    /// The time of the pass that added it.
    pub at: Timestamp,
    /// Its number in this ledger.
    pub ordinal: u64,
}

/// Why a machine is drained or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaving {
    /// The pool is larger than asked for, gone, or another owner's.
    Surplus,
    /// The cluster is being taken down.
    Closing,
    /// The cloud refused to make it: its words.
    Refused(String),
    /// The cloud calls it broken: its words.
    Failed(String),
    /// It was not Ready in time.
    BootTimeout,
    /// It is gone, though nobody deleted it.
    Vanished,
    /// It runs, but its Node did not come, or did not come back.
    NodeLost,
    /// A front-end that a person gave up for a new one: what had become of it.
    GivenUp(String),
    /// A worker whose front-end was given up: it trusts certificates that nobody can sign for any more.
    FrontEndGivenUp,
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Surplus => f.write_str("its pool is to be smaller"),
            Self::Closing => f.write_str("the cluster is taken down"),
            Self::Refused(words) => write!(f, "the cloud refused it: {words}"),
            Self::Failed(words) => write!(f, "failed: {words}"),
            Self::BootTimeout => f.write_str("not ready in time"),
            Self::Vanished => f.write_str("gone, and nobody deleted it"),
            Self::NodeLost => f.write_str("it runs, but its node does not come"),
            Self::GivenUp(what) => write!(f, "given up for a new one: {what}"),
            Self::FrontEndGivenUp => f.write_str("its front-end is given up"),
        }
    }
}

/// Which steps a row has behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Done {
    /// These, each with the beginning of its hash.
    Steps(BTreeMap<StepId, String>),
    /// All of its pool's, with the beginning of [`steps_hash`].
    All(String),
}

/// One machine that we decided to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its pool.
    pub pool: PoolName,
    /// What it is for.
    pub role: Role,
    /// Its birth.
    pub born: Born,
    /// Its size.
    pub shape: Shape,
    /// What it boots.
    pub image: ImageName,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// Ports exposed to the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<u16>,
    /// The expiry that its tag says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<MachineId>,
    done: Done,
    #[serde(default, skip_serializing_if = "is_false")]
    was_ready: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    rejoined: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    restarted: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    host_key_rotated: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    tries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaving: Option<Leaving>,
}

fn is_false(value: &bool) -> bool {
    !value
}
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// What a new row is to pin: everything that the cloud will be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRow {
    /// The pool.
    pub pool: PoolName,
    /// What it is for.
    pub role: Role,
    /// The size.
    pub shape: Shape,
    /// What it boots.
    pub image: ImageName,
    /// Where.
    pub zone: Option<Zone>,
    /// Ports to expose.
    pub expose: Vec<u16>,
    /// When it may be removed by anybody.
    pub expires: Option<Timestamp>,
}

/// A pool, shape and zone that failed lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// How often in a row.
    pub failures: u32,
    /// The last time.
    pub since: Timestamp,
    /// The last words.
    pub why: String,
}

impl Backoff {
    /// Seconds from the last failure to the next try: doubles from 10 s, which a cloud needs to free
    /// what failed, up to 10 minutes, after which capacity is as likely to be back as later.
    pub fn delay_secs(&self) -> i64 {
        (10_i64 << self.failures.saturating_sub(1).min(6)).min(600)
    }
    /// Seconds still to wait; `None` when the next try may start. A clock that went back ends the wait:
    /// an early try does less harm than a wait without end.
    pub fn remaining_secs(&self, now: Timestamp) -> Option<i64> {
        let passed = now.duration_since(self.since).as_secs();
        (passed >= 0 && passed < self.delay_secs()).then(|| self.delay_secs() - passed)
    }
}

impl Ledger {
    /// An empty ledger, not saved yet (generation 0).
    pub fn new(id: LedgerId, owner: Owner, cluster: ClusterId, cloud: CloudId) -> Self {
        Self {
            version: VERSION,
            id,
            owner,
            cluster,
            cloud,
            generation: 0,
            next_ordinal: 1,
            closing: None,
            destroyed: Vec::new(),
            rows: BTreeMap::new(),
            backoff: BTreeMap::new(),
        }
    }
    /// The rows, by name.
    pub fn rows(&self) -> &BTreeMap<MachineName, Row> {
        &self.rows
    }
    /// One row.
    pub fn row(&self, name: &MachineName) -> Option<&Row> {
        self.rows.get(name)
    }
    /// The back-off of a pool, shape and zone, whether it still holds or not.
    pub fn backoff(&self, pool: &PoolName, shape: &ShapeName, zone: Option<&Zone>) -> Option<&Backoff> {
        self.backoff.get(&backoff_key(pool, shape, zone))
    }
    /// What the cloud is asked for a row. The same at every call: the token makes the create repeatable.
    /// `host_key` is the SHA-256 fingerprint for the tag.
    pub fn request(&self, name: &MachineName, host_key: String, data: UserData) -> Option<MachineRequest> {
        let row = self.row(name)?;
        Some(MachineRequest {
            token: self.token(name)?,
            tags: Tags {
                cluster: self.cluster.clone(),
                pool: row.pool.clone(),
                owner: self.owner,
                ledger: self.id.clone(),
                machine: name.clone(),
                expires: row.expires,
                host_key,
            },
            role: row.role,
            shape: row.shape.clone(),
            image: row.image.clone(),
            zone: row.zone.clone(),
            expose: row.expose.clone(),
            user_data: data,
        })
    }
    /// What a machine's host keys are derived from beside its name, in the form that keys take. Made of the ledger's
    /// id and the ordinal alone: a machine whose row was lost and which was adopted must be reachable again, and
    /// a ledger uses an ordinal once.
    pub fn key_birth(&self, name: &MachineName) -> Option<Timestamp> {
        let ordinal = self.row(name)?.born.ordinal;
        let hash = Sha256::digest(format!("{}/{ordinal}", self.id));
        let number = hash.iter().take(5).fold(0_i64, |number, byte| (number << 8) | i64::from(*byte));
        // 36 bits of seconds: what a timestamp can hold.
        Timestamp::from_second(number >> 4).ok()
    }
    /// The token of a row's create call: ledger id, name and birth.
    pub fn token(&self, name: &MachineName) -> Option<String> {
        let born = self.row(name)?.born;
        Some(format!("{}/{name}/{}", self.id, born.at.as_millisecond()))
    }
}

fn backoff_key(pool: &PoolName, shape: &ShapeName, zone: Option<&Zone>) -> (PoolName, ShapeName, Zone) {
    (pool.clone(), shape.clone(), zone.cloned().unwrap_or_else(|| Zone(String::new())))
}

impl Row {
    /// What is done with it.
    pub fn phase(&self) -> Phase {
        self.phase
    }
    /// The cloud's id, from the first time that it was seen.
    pub fn machine(&self) -> Option<&MachineId> {
        self.machine.as_ref()
    }
    /// Whether it was Ready at any time: a front-end that was holds what cannot be made again.
    pub fn was_ready(&self) -> bool {
        self.was_ready
    }
    /// Whether its join step was run a second time and its Node has not been Ready since.
    pub fn rejoined(&self) -> bool {
        self.rejoined
    }
    /// Whether its machine was started again and its Node has not been known to be Ready since: what the cluster
    /// says of the Node may be its last word from before.
    pub fn restarted(&self) -> bool {
        self.restarted
    }
    /// Whether its second host key is in place: only that one is right then.
    pub fn host_key_rotated(&self) -> bool {
        self.host_key_rotated
    }
    /// How often a step has failed or was asked for anew; only ever grows. Part of the unit names of its
    /// steps: a machine keeps the result of a unit, so a new try needs a new name, also after a restart.
    pub fn tries(&self) -> u32 {
        self.tries
    }
    /// Why it goes.
    pub fn leaving(&self) -> Option<&Leaving> {
        self.leaving.as_ref()
    }
    /// Whether the step is behind it, in this version of the step.
    pub fn has_done(&self, step: &Step) -> bool {
        match &self.done {
            Done::All(_) => true,
            Done::Steps(done) => done.get(&step.id).is_some_and(|hash| *hash == kept(&step.hash)),
        }
    }
    /// Whether a step of this id is behind it, in whatever version.
    pub fn has_passed(&self, step: &StepId) -> bool {
        match &self.done {
            Done::All(_) => true,
            Done::Steps(done) => done.contains_key(step),
        }
    }
    /// Whether it leaves because the cluster that it belonged to was given up: nobody remembers its Node.
    pub fn is_given_up(&self) -> bool {
        matches!(self.leaving, Some(Leaving::GivenUp(_) | Leaving::FrontEndGivenUp))
    }
    /// Whether any step is behind it.
    pub fn has_begun(&self) -> bool {
        match &self.done {
            Done::All(_) => true,
            Done::Steps(done) => !done.is_empty(),
        }
    }
    /// Whether it became Ready with other steps than those of this [`steps_hash`]: its recipes have changed since.
    pub fn is_outdated(&self, steps: &str) -> bool {
        matches!(&self.done, Done::All(hash) if hash != steps)
    }
}

fn kept(hash: &str) -> String {
    hash.chars().take(HASH_KEPT).collect()
}

/// One hash for a whole list of steps: what is left of them in a row once it is Ready.
pub fn steps_hash(steps: &[Step]) -> String {
    let mut all = Sha256::new();
    for step in steps {
        all.update(format!("{} {}\n", step.id, step.hash));
    }
    all.finalize().iter().take(HASH_KEPT / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a refused create stays refused however often it is tried unchanged.
pub fn is_lasting(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Rejected { .. })
}

#[cfg(test)]
mod tests;
