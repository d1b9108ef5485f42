//! What the agent does wrong when it is told to: dice and decisions (pure).
//!
//! ```text
//! edge.rs: a call has come ──► Faults::meet ──► Verdict ──► obeyed by edge.rs
//! machines.rs: a machine is made, boots, is listed ──► Faults::{born, boots_after, shown}
//! control.rs: set, clear, cut, heal ──► Faults ──► wires.rs: rules and queues inside the hub
//! ```
//! Invariants: chances come by seed, and every kind of call has dice of its own, so that the third create meets what
//! it met before, however many lists were asked for meanwhile. Without words nothing is drawn. Nothing of it is ever on
//! disk: an agent that is started again is a healthy one, so that nobody is locked out.

mod call;
mod control;
pub mod edge;
pub mod line;
mod wires;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use call::Call;

use crate::names::MachineId;
use crate::provider::dice::Random;
use crate::provider::faults::Fault;
use crate::provider::{Machine, ProviderError};

/// How many of a thousand creates or deletes have their effect late, where that happens at all: as in memory.
const LATE: u64 = 300;
/// A machine that dies or stops does so within this time.
const DOOM: Duration = Duration::from_secs(120);
/// The most that a refusal says to wait, in whole seconds: a client should wait, and a test not for long.
const RETRY_AFTER_MOST: u64 = 2;

/// The value of a word, if it is set.
macro_rules! value {
    ($words:expr, $kind:ident) => {
        $words.iter().find_map(|word| match word {
            Fault::$kind(value) => Some(*value),
            _ => None,
        })
    };
}

/// A chance, in thousandths.
macro_rules! chance {
    ($words:expr, $kind:ident) => {
        u64::from(value!($words, $kind).unwrap_or(0))
    };
}

/// What becomes of a call before its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It has its effect now.
    Go,
    /// Nothing is said for a while, then the connection ends.
    Hang,
    /// The connection ends.
    Drop,
    /// 500.
    Error500,
    /// 429, with a time to wait.
    RateLimit(Duration),
    /// The effect comes after this time.
    Late(Duration),
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Before its effect.
    pub before: Before,
    /// After its effect the connection ends without an answer.
    pub answer_lost: bool,
}

/// What becomes of a machine by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Lives,
    /// It never boots.
    NeverBoots,
    /// It is gone after this time.
    Dies(Duration),
    /// It is switched off after this time.
    Stops(Duration),
}

/// Who draws: each has dice of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Drawer {
    Call(Call),
    Capacity,
    Newcomer,
    Boot,
    List,
}

impl Drawer {
    fn number(self) -> u64 {
        match self {
            Self::Capacity => 1,
            Self::Newcomer => 2,
            Self::Boot => 3,
            Self::List => 4,
            Self::Call(call) => 16 + call as u64,
        }
    }
}

/// All dice of a seed.
#[derive(Debug, Clone, Default)]
struct Dice {
    seed: u64,
    all: BTreeMap<Drawer, Random>,
}

impl Dice {
    fn of(&mut self, drawer: Drawer) -> &mut Random {
        // Seeds far from each other: neighbours' first numbers would be alike.
        let seed = self.seed ^ drawer.number().wrapping_mul(0xd134_2543_de82_ef95);
        self.all.entry(drawer).or_insert_with(|| Random::new(seed))
    }
}

/// Two machines that do not hear each other, the lower id first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut(MachineId, MachineId);

impl Cut {
    /// Between these two.
    pub fn new(a: MachineId, b: MachineId) -> Self {
        if a <= b { Self(a, b) } else { Self(b, a) }
    }
    /// Both ends.
    pub fn ends(&self) -> [&MachineId; 2] {
        [&self.0, &self.1]
    }
}

/// What goes wrong now.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    words: Vec<Fault>,
    dice: Dice,
    /// When they end by themselves.
    ends: Option<Timestamp>,
    /// Of each [`set`](Self::set) and [`clear`](Self::clear): what was begun under others knows that these are over.
    edition: u64,
    cuts: BTreeSet<Cut>,
    /// Machines that are not in lists yet, and from when on they are.
    unlisted: BTreeMap<MachineId, Instant>,
    /// Machines that never boot.
    broken: BTreeSet<MachineId>,
    calls: u64,
    met: u64,
}

impl Faults {
    /// These words and no others from here on. What was drawn for machines is forgotten; cuts stay.
    pub fn set(&mut self, words: Vec<Fault>, seed: u64, ends: Option<Timestamp>) -> u64 {
        let (cuts, edition) = (std::mem::take(&mut self.cuts), self.edition + 1);
        let dice = Dice { seed, all: BTreeMap::new() };
        *self = Self { words, dice, ends, edition, cuts, ..Self::default() };
        edition
    }
    /// Nothing goes wrong any more.
    pub fn clear(&mut self) {
        *self = Self { edition: self.edition + 1, ..Self::default() };
    }
    /// The words.
    pub fn words(&self) -> &[Fault] {
        &self.words
    }
    /// Whether nothing is wrong.
    pub fn is_none(&self) -> bool {
        self.words.is_empty() && self.cuts.is_empty()
    }
    /// Whether these are still what they were when this number was given.
    pub fn is_edition(&self, edition: u64) -> bool {
        self.edition == edition
    }

    /// What becomes of a call that has come.
    pub fn meet(&mut self, call: Call) -> Verdict {
        if self.words.is_empty() {
            return Verdict { before: Before::Go, answer_lost: false };
        }
        let words = &self.words;
        let dice = self.dice.of(Drawer::Call(call));
        let most = match call {
            Call::Create => value!(words, LateCreate),
            Call::Delete => value!(words, LateDelete),
            _ => None,
        };
        let before = if dice.chance(chance!(words, Hang)) {
            Before::Hang
        } else if dice.chance(chance!(words, DropBefore)) {
            Before::Drop
        } else if dice.chance(chance!(words, Error500)) {
            Before::Error500
        } else if dice.chance(chance!(words, RateLimit)) {
            Before::RateLimit(Duration::from_secs(1 + dice.draw() % RETRY_AFTER_MOST))
        } else {
            match most.filter(|most| !most.is_zero() && dice.chance(LATE)) {
                Some(most) => Before::Late(dice.time(most)),
                None => Before::Go,
            }
        };
        let has_effect = matches!(before, Before::Go | Before::Late(_));
        let answer_lost = has_effect && dice.chance(chance!(words, DropAfter));
        self.calls += 1;
        self.met += u64::from(before != Before::Go || answer_lost);
        Verdict { before, answer_lost }
    }

    /// Whether a repeated create makes a second machine.
    pub fn knows_tokens(&self) -> bool {
        !self.words.contains(&Fault::NoTokens)
    }
    /// Whether there is room for one machine more.
    pub fn room(&mut self) -> Result<(), ProviderError> {
        let chance = chance!(self.words, NoCapacity);
        if self.dice.of(Drawer::Capacity).chance(chance) {
            let message = "no host has room (fault no-capacity)".into();
            return Err(ProviderError::NoCapacity { message });
        }
        Ok(())
    }
    /// No more machines than this.
    pub fn quota(&self) -> Option<u64> {
        value!(self.words, Quota).map(u64::from)
    }

    /// What becomes of a new machine; from when on lists have it is noted.
    pub fn born(&mut self, id: &MachineId, now: Instant) -> Fate {
        let words = &self.words;
        let dice = self.dice.of(Drawer::Newcomer);
        let late = value!(words, LateList).map(|most| dice.time(most));
        let fate = if dice.chance(chance!(words, BootFailure)) {
            Fate::NeverBoots
        } else if dice.chance(chance!(words, Dies)) {
            Fate::Dies(dice.time(DOOM))
        } else if dice.chance(chance!(words, Stops)) {
            Fate::Stops(dice.time(DOOM))
        } else {
            Fate::Lives
        };
        if let Some(from) = late.and_then(|late| now.checked_add(late)) {
            self.unlisted.insert(id.clone(), from);
        }
        if fate == Fate::NeverBoots {
            self.broken.insert(id.clone());
        }
        fate
    }
    /// What is remembered of a machine goes; whether it was cut from another.
    pub fn forget(&mut self, id: &MachineId) -> bool {
        self.unlisted.remove(id);
        self.broken.remove(id);
        let before = self.cuts.len();
        self.cuts.retain(|cut| !cut.ends().contains(&id));
        self.cuts.len() != before
    }
    /// How much later than now a machine boots; `None`: never.
    pub fn boots_after(&mut self, id: &MachineId) -> Option<Duration> {
        if self.broken.contains(id) {
            return None;
        }
        let most = value!(self.words, SlowBoot).unwrap_or_default();
        Some(if most.is_zero() { most } else { self.dice.of(Drawer::Boot).time(most) })
    }
    /// What a list shows of these machines.
    pub fn shown(&mut self, mut machines: Vec<Machine>, now: Instant) -> Vec<Machine> {
        self.unlisted.retain(|_, from| *from > now);
        machines.retain(|machine| !self.unlisted.contains_key(&machine.id));
        let chance = chance!(self.words, ShortList);
        let dice = self.dice.of(Drawer::List);
        if dice.chance(chance) {
            machines.retain(|_| dice.draw().is_multiple_of(2));
        }
        machines
    }
}

#[cfg(test)]
mod tests;
