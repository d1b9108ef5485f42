//! What happened in a history: a hash over all of it, and on demand the last lines for people.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::world::Effect;

/// How many lines are kept: enough for what led to a failure, few enough to read.
const KEPT: usize = 40;

/// The record of one history.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    verbose: bool,
    now: Timestamp,
    start: Option<Timestamp>,
    hash: u64,
    steps: u64,
    lines: VecDeque<String>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Timeline {
    pub(super) fn new(verbose: bool) -> Self {
        // The offset basis of FNV-1a.
        let hash = 0xcbf2_9ce4_8422_2325;
        let lines = VecDeque::new();
        Self { verbose, now: Timestamp::UNIX_EPOCH, start: None, hash, steps: 0, lines }
    }

    /// A hash over everything that happened, in order.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// How many effects and points there were.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// A line for people; the text is made only if somebody reads it.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.verbose {
            if self.lines.len() == KEPT {
                self.lines.pop_front();
            }
            let start = self.start.unwrap_or(self.now);
            let millis = self.now.duration_since(start).as_millis();
            self.lines.push_back(format!("{:>9}.{:03}  {}", millis / 1000, millis % 1000, text()));
        }
    }

    pub(super) fn effect(&mut self, now: Timestamp, effect: &Effect<'_>) {
        self.now = now;
        self.start.get_or_insert(now);
        self.steps += 1;
        self.mix(&now.as_millisecond().to_le_bytes());
        let machine =
            |machine: &crate::provider::Machine| format!("{} ({})", machine.tags.machine, machine.id);
        match effect {
            Effect::Point => self.mix(&[0]),
            Effect::Created(made, _) => {
                self.mix(made.id.0.as_bytes());
                self.note(|| format!("cloud: made {}", machine(made)));
            }
            Effect::Deleted(made, seat) => {
                self.mix(&[2, *seat]);
                self.mix(made.id.0.as_bytes());
                self.note(|| format!("cloud: deleted {} for computer {seat}", machine(made)));
            }
            Effect::Lost(made) => {
                self.mix(made.id.0.as_bytes());
                self.note(|| format!("cloud: {} is gone", machine(made)));
            }
            Effect::Saved(seat, before, after) => {
                self.mix(&[4, *seat]);
                self.mix(&after.generation.to_le_bytes());
                if self.verbose {
                    let changes =
                        before.map_or_else(Vec::new, |before| crate::ledger::changes(before, after));
                    let text: Vec<_> = changes.iter().map(ToString::to_string).collect();
                    let generation = after.generation;
                    self.note(|| format!("computer {seat}: saved {generation}: {}", text.join("; ")));
                }
            }
            Effect::Elsewhere(what) => self.note(|| format!("another cloud: {what}")),
            Effect::Ran(on, unit) => {
                self.mix(unit.as_bytes());
                self.note(|| format!("{}: ran {unit}", machine(on)));
            }
            Effect::Fault(what, kind) => {
                self.mix(&[7]);
                self.note(|| format!("cloud: {what}: {kind}"));
            }
        }
    }
}
