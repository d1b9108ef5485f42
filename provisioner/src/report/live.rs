//! The live part of a terminal: one line a machine below the lines that scroll.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock;
use crate::duration::short;
use crate::events::What;
use crate::plan::{Subject, Wait};

/// More live lines than this would push the rest off a small terminal; the others are counted.
const SHOWN: usize = 16;

/// The live lines.
#[derive(Debug)]
pub(super) struct Live {
    all: MultiProgress,
    bars: BTreeMap<Subject, ProgressBar>,
    waits: Vec<Wait>,
    as_of: Instant,
}

impl Live {
    pub(super) fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        Self { all, bars: BTreeMap::new(), waits: Vec::new(), as_of: clock::monotonic() }
    }

    /// Prints a line above the live ones.
    pub(super) fn print(&self, text: &str) {
        // the terminal went away: there is nobody to tell
        let _ = self.all.println(text);
    }

    /// Takes what an event says about the machines' lines.
    pub(super) fn take(&mut self, what: &What) {
        if let What::Waits { waits } = what {
            self.waits.clone_from(waits);
            self.as_of = clock::monotonic();
        }
        self.draw();
    }

    fn draw(&mut self) {
        let passed = clock::monotonic().duration_since(self.as_of);
        let shown: BTreeMap<Subject, String> =
            self.waits.iter().take(SHOWN).map(|wait| (wait.subject.clone(), text(wait, passed))).collect();
        let gone: Vec<Subject> = self.bars.keys().filter(|key| !shown.contains_key(key)).cloned().collect();
        for subject in gone {
            if let Some(bar) = self.bars.remove(&subject) {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
        }
        for (subject, text) in shown {
            let all = &self.all;
            let bar = self.bars.entry(subject).or_insert_with(|| {
                let bar = all.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(200));
                bar
            });
            bar.set_message(text);
        }
    }

    /// Removes the live lines.
    pub(super) fn end(self) {
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
    }
}

/// `lab1-workers-2  kubernetes/join runs (12s of 10m)`.
fn text(wait: &Wait, passed: Duration) -> String {
    let limit = wait.limit.map_or_else(String::new, |limit| format!(" of {}", short(limit)));
    format!("{}  {} ({}{limit})", wait.subject, wait.reason, short(wait.since + passed))
}
