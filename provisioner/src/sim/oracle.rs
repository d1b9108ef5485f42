//! The invariants, checked at every effect by one who knows the whole truth.
//!
//! Knows nothing of how the engine decides: only what operators asked for, what exists, and what was saved.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::timeline::Timeline;
use super::{Law, Violation};
use crate::ledger::{Leaving, Ledger, Phase, Row};
use crate::names::{LedgerId, MachineId, MachineName, PoolName};
use crate::provider::{Machine, MachineState};
use crate::spec::Role;
use crate::world::{Effect, Faults, SETTLE, Scene, Seat, Watch};

/// How long a node may have been Ready before "it is not ready" is wrong: an answer counts for ten seconds.
const STALE_SECS: i64 = 20;
/// Observed time before a boot is too slow: the engine's own limit.
const BOOT_SECS: i64 = 15 * 60;

/// The sizes of the pools that one operator asks for; what is not in it is nobody's or the daemon's.
pub(super) type Asked = BTreeMap<PoolName, u32>;

/// What is known beside the world itself.
#[derive(Default)]
pub(super) struct Oracle {
    /// What each seat asks for now, or asked for last.
    pub(super) asked: BTreeMap<Seat, Vec<Asked>>,
    /// Seats where somebody asked for `down`.
    pub(super) downs: BTreeSet<Seat>,
    /// When the run began that is under way.
    pub(super) began: Option<Timestamp>,
    /// Machines that the daemon or a neighbour made.
    pub(super) strangers: BTreeSet<MachineId>,
    /// Machines that lost their row by an older ledger.
    pub(super) rowless: BTreeSet<MachineId>,
    /// Ledgers that were put back: their ordinals may come again.
    pub(super) rewound: BTreeSet<LedgerId>,
    /// Whether a repeated create may make a second machine.
    pub(super) no_tokens: bool,
    /// Whether the cloud shows what is new later than it promises.
    pub(super) late: bool,
    /// What happened.
    pub(super) timeline: Timeline,
    /// The first law that was broken.
    pub(super) broken: Option<Violation>,
    ready: BTreeSet<MachineId>,
    doomed: BTreeSet<MachineId>,
    tokens: BTreeMap<(LedgerId, MachineName), String>,
}

/// The oracle, as the world holds it.
pub(super) struct Watcher(pub(super) std::sync::Arc<std::sync::Mutex<Oracle>>);

impl Watch for Watcher {
    fn effect(&mut self, effect: Effect<'_>, scene: &Scene<'_>) {
        let mut oracle = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        oracle.effect(effect, scene);
    }
}

impl Oracle {
    pub(super) fn new(timeline: Timeline, faults: &Faults) -> Self {
        let late = faults.late_list + faults.late_create > SETTLE;
        Self { timeline, no_tokens: faults.no_tokens, late, ..Self::default() }
    }

    /// Notes a broken law; the first one counts.
    pub(super) fn breaks(&mut self, law: Law, text: String) {
        if self.broken.is_none() {
            self.timeline.note(|| format!("BROKEN {law}: {text}"));
            self.broken = Some(Violation { law, text });
        }
    }

    fn effect(&mut self, effect: Effect<'_>, scene: &Scene<'_>) {
        self.timeline.effect(scene.now, &effect);
        match effect {
            Effect::Point | Effect::Ran(..) | Effect::Fault(..) => {}
            Effect::Lost(_) => {}
            Effect::Created(machine, token) => {
                self.created(machine, token);
                self.one_of_a_name(scene);
                self.has_row(scene);
            }
            Effect::Deleted(machine, seat) => self.deleted(machine, seat, scene),
            Effect::Elsewhere(what) => {
                self.breaks(Law::OtherCloud, format!("{what} was asked of a cloud that is not the ledger's"));
            }
            Effect::Saved(seat, before, after) => {
                self.saved(seat, before, after, scene);
                self.has_row(scene);
            }
        }
    }

    fn created(&mut self, machine: &Machine, token: &str) {
        let key = (machine.tags.ledger.clone(), machine.tags.machine.clone());
        let rewound = self.rewound.contains(&key.0);
        match self.tokens.insert(key, token.to_owned()) {
            Some(other) if other != token && !rewound => {
                self.breaks(Law::NameUsedTwice, format!("{} was made before", machine.tags.machine));
            }
            _ => {}
        }
    }

    fn one_of_a_name(&mut self, scene: &Scene<'_>) {
        let mut names: BTreeMap<_, &str> = BTreeMap::new();
        let mut twice = None;
        for made in scene.made.values() {
            let tags = &made.machine.tags;
            let other = names.insert((&tags.cluster, &tags.machine), &made.token);
            // Without tokens the cloud cannot know that a create is a repeated one.
            if other.is_some_and(|token| !self.no_tokens || token != made.token) {
                twice = Some(tags.machine.to_string());
            }
        }
        if let Some(name) = twice {
            self.breaks(Law::OneOfAName, format!("two machines are called {name}"));
        }
    }

    /// Every machine has a row, or its cluster is being taken down.
    fn has_row(&mut self, scene: &Scene<'_>) {
        if self.late {
            // A row whose machine shows only after the settle time may be forgotten before: it is adopted then.
            let unlisted = scene.made.iter().filter(|(_, made)| made.listed_from > scene.now);
            self.rowless.extend(unlisted.map(|(id, _)| id.clone()));
        }
        let lost = scene.made.iter().find(|(id, made)| {
            let tags = &made.machine.tags;
            let row = |ledger: &Ledger| ledger.id == tags.ledger && ledger.row(&tags.machine).is_some();
            let closes = |ledger: &Ledger| ledger.closing.is_some() && ledger.cluster == tags.cluster;
            let known = scene.stored.values().any(|ledger| row(ledger) || closes(ledger));
            !known && !self.strangers.contains(*id) && !self.rowless.contains(*id)
        });
        if let Some((id, made)) = lost {
            let name = &made.machine.tags.machine;
            self.breaks(Law::HasRow, format!("{name} ({id}) is there, and no ledger has a row for it"));
        }
    }

    fn deleted(&mut self, machine: &Machine, seat: Seat, scene: &Scene<'_>) {
        let (id, tags) = (&machine.id, &machine.tags);
        let what = format!("{} ({id}) was deleted", tags.machine);
        let Some(ledger) = scene.stored.get(&seat) else {
            return self.breaks(Law::Strangers, format!("{what} by one who has no ledger"));
        };
        if tags.cluster != ledger.cluster {
            return self.breaks(Law::Strangers, format!("{what}, which is of another cluster"));
        }
        if ledger.closing.is_some() {
            if !self.downs.contains(&seat) {
                self.breaks(Law::ReadyStays, format!("{what}, and nobody asked for `down`"));
            }
            return;
        }
        if tags.ledger != ledger.id {
            return self.breaks(Law::Strangers, format!("{what}, which is of another owner"));
        }
        let row = ledger.row(&tags.machine);
        let was_ready = self.ready.contains(id);
        if was_ready && row.is_some_and(|row| row.role == Role::FrontEnd) {
            return self.breaks(Law::FrontEndStays, what);
        }
        if was_ready && !self.doomed.contains(id) {
            return self
                .breaks(Law::ReadyStays, format!("{what}, was Ready, and nothing said that it should go"));
        }
        if row.is_some_and(|row| row.machine() == Some(id) && row.phase().is_live()) {
            self.breaks(Law::ReadyStays, format!("{what}, though its row is live"));
        }
    }

    fn saved(&mut self, seat: Seat, before: Option<&Ledger>, after: &Ledger, scene: &Scene<'_>) {
        for row in after.rows().values() {
            if let (Phase::Ready, Some(id)) = (row.phase(), row.machine()) {
                self.ready.insert(id.clone());
            }
        }
        if after.closing.is_some() {
            return;
        }
        self.maximum(seat, before, after, scene);
        for (name, row) in after.rows() {
            let lived = before.and_then(|before| before.row(name)).is_none_or(|row| row.phase().is_live());
            if lived && !row.phase().is_live() {
                self.leaves(seat, name, row, (before, after), scene);
            }
        }
    }

    /// Decisions never grow a pool beyond what was asked for, others' machines in it counted.
    fn maximum(&mut self, seat: Seat, before: Option<&Ledger>, after: &Ledger, scene: &Scene<'_>) {
        let live = |ledger: &Ledger, pool: &PoolName| {
            ledger.rows().values().filter(|row| row.pool == *pool && row.phase().is_live()).count()
        };
        let pools: BTreeSet<&PoolName> = after.rows().values().map(|row| &row.pool).collect();
        for pool in pools {
            let (was, now) = (before.map_or(0, |before| live(before, pool)), live(after, pool));
            let others = scene.made.values().filter(|made| {
                let tags = &made.machine.tags;
                tags.cluster == after.cluster && tags.pool == *pool && tags.ledger != after.id
            });
            let sizes = self.asked.get(&seat).into_iter().flatten().map(|asked| asked.get(pool).copied());
            let most = sizes.flatten().max().unwrap_or(0) as usize;
            if now > was && now + others.count() > most {
                self.breaks(Law::Maximum, format!("pool {pool} grows to {now} rows of at most {most}"));
            }
        }
    }

    /// A row leaves: the evidence must be true.
    fn leaves(
        &mut self,
        seat: Seat,
        name: &MachineName,
        row: &Row,
        ledgers: (Option<&Ledger>, &Ledger),
        scene: &Scene<'_>,
    ) {
        let Some(id) = row.machine() else { return };
        let was_ready = self.ready.contains(id);
        let why = row.leaving().cloned().unwrap_or(Leaving::Surplus);
        if was_ready && row.role == Role::FrontEnd {
            return self.breaks(Law::FrontEndStays, format!("{name} leaves: {why}"));
        }
        let made = scene.made.get(id);
        let ready_for = made.filter(|made| made.machine.state == MachineState::Running).and_then(|made| {
            let node = scene.nodes.get(&(made.machine.tags.cluster.clone(), name.clone()))?;
            Some(scene.now.duration_since(node.ready.max(made.up_from)).as_secs())
        });
        let watched = self.began.map_or(0, |began| scene.now.duration_since(began).as_secs());
        let healthy = was_ready && ready_for.is_some_and(|time| time > STALE_SECS);
        let wrong = match why {
            Leaving::Vanished => made.is_some(),
            Leaving::BootTimeout => watched < BOOT_SECS || healthy,
            Leaving::NodeLost => healthy,
            Leaving::Failed(_) => {
                made.is_some_and(|made| !matches!(made.machine.state, MachineState::Failed(_)))
            }
            Leaving::Surplus => was_ready && !self.is_surplus(seat, row, ledgers),
            Leaving::Refused(_) | Leaving::Closing | Leaving::GivenUp(_) | Leaving::FrontEndGivenUp => true,
        };
        if wrong {
            let law = if matches!(why, Leaving::BootTimeout) { Law::ObservedTime } else { Law::ReadyStays };
            return self.breaks(law, format!("{name} ({id}) leaves without evidence: {why}"));
        }
        self.doomed.insert(id.clone());
    }

    fn is_surplus(&self, seat: Seat, row: &Row, (before, after): (Option<&Ledger>, &Ledger)) -> bool {
        let sizes = self.asked.get(&seat).into_iter().flatten();
        let least = sizes.map(|asked| asked.get(&row.pool).copied().unwrap_or(0)).min().unwrap_or(0) as usize;
        let lived = |name: &MachineName| {
            before.and_then(|before| before.row(name)).is_none_or(|row| row.phase().is_live())
        };
        let of_pool = after.rows().iter().filter(|(_, other)| other.pool == row.pool);
        of_pool.filter(|(name, other)| other.phase().is_live() || lived(name)).count() > least
    }
}
