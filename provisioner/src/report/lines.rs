//! Events as lines for people.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::duration::took;
use crate::events::What;
use crate::ledger::Phase;
use crate::names::MachineName;
use crate::plan::{Reason, Wait};

/// A wait shorter than this is no news where lines cannot be taken back: most end within it.
const LONG: Duration = Duration::from_secs(10);

/// Whether a wait has lasted long enough to be told in a pipe. That no front-end was asked for the nodes yet is so from the
/// start, and ends soon after it is Ready.
pub(super) fn is_long(wait: &Wait) -> bool {
    wait.since >= if matches!(wait.reason, Reason::NodesUnknown { .. }) { LONG * 6 } else { LONG }
}

/// The same failure of the same job is told again only after this long: a machine that boots, or whose SSH is gone, is
/// tried every second.
const FAILED_AGAIN: Duration = Duration::from_secs(60);

/// Remembers which failures were told.
#[derive(Default)]
pub(super) struct Repeats {
    told: BTreeMap<MachineName, (String, String, Duration)>,
}

impl Repeats {
    /// Whether an event is worth a line at this time since the start.
    pub(super) fn news(&mut self, what: &What, since: Duration) -> bool {
        match what {
            What::Failed { machine, job, why, again: true, .. } => {
                let before = self.told.get(machine);
                if before.is_some_and(|(old_job, old_why, at)| {
                    old_job == job && old_why == why && since.saturating_sub(*at) < FAILED_AGAIN
                }) {
                    return false;
                }
                self.told.insert(machine.clone(), (job.clone(), why.clone(), since));
                true
            }
            What::Finished { machine, .. } | What::Phase { machine, .. } => {
                self.told.remove(machine);
                true
            }
            _ => true,
        }
    }
}

/// One line, or nothing where the event is no news for a person.
pub fn line(what: &What) -> Option<String> {
    Some(match what {
        What::Planned { .. } | What::Started { .. } | What::Waits { .. } | What::Settled { .. } => {
            return None;
        }
        What::Added { machine, pool } => format!("{machine}  added to pool {pool}"),
        What::Phase { machine, to, why, .. } => match why {
            Some(why) => format!("{machine}  {}: {why}", phase(*to)),
            None => format!("{machine}  {}", phase(*to)),
        },
        What::Forgotten { machine } => format!("{machine}  is gone"),
        What::Finished { job, .. } if job.starts_with("ask ") => return None,
        What::Finished { machine, job, changed: Some(false), .. } => {
            format!("{machine}  {job}: nothing to change")
        }
        What::Finished { machine, job, took: time, .. } => {
            format!("{machine}  {job}: done in {}", took(*time))
        }
        What::Failed { machine, job, took: time, why, again, .. } => {
            let next = if *again { "; will be tried again" } else { "" };
            format!("{machine}  {job}: failed after {}: {why}{next}", took(*time))
        }
        What::Stopped { text, .. } => format!("stopped: {text}"),
        What::Interrupted { running: 0 } => "interrupted".into(),
        What::Interrupted { running } => format!(
            "interrupted: nothing new is started, {running} running jobs are finished (Ctrl-C again leaves at once)"
        ),
    })
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Creating => "is being created",
        Phase::Configuring => "is up, being configured",
        Phase::Ready => "is Ready",
        Phase::Draining => "is being drained",
        Phase::Deleting => "is being deleted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::PoolName;

    #[test]
    fn a_failure_that_repeats_is_told_once_a_minute() {
        let failed = |why: &str| What::Failed {
            machine: MachineName::new("lab1-front-end-1").unwrap(),
            pool: None,
            job: "base/system".into(),
            took: Duration::ZERO,
            why: why.into(),
            tail: vec![],
            again: true,
        };
        let done = What::Finished {
            machine: MachineName::new("lab1-front-end-1").unwrap(),
            pool: None,
            job: "base/system".into(),
            took: Duration::ZERO,
            changed: None,
        };
        let mut repeats = Repeats::default();
        let told: Vec<bool> = [
            (0, failed("refused")),
            (1, failed("refused")),
            (59, failed("refused")),
            (60, failed("refused")),
            (61, failed("timed out")),
            (62, done),
            (63, failed("timed out")),
        ]
        .iter()
        .map(|(at, what)| repeats.news(what, Duration::from_secs(*at)))
        .collect();
        assert_eq!(told, [true, false, false, true, true, true, true]);
    }

    #[test]
    fn an_event_is_one_line_that_says_who_and_what() {
        let machine = MachineName::new("lab1-workers-2").unwrap();
        let pool = PoolName::new("workers").unwrap();
        let (from, to) = (Phase::Creating, Phase::Configuring);
        let took = Duration::from_millis(1240);
        let cases = [
            (
                What::Added { machine: machine.clone(), pool: pool.clone() },
                Some("lab1-workers-2  added to pool workers"),
            ),
            (
                What::Phase { machine: machine.clone(), pool: pool.clone(), from, to, why: None },
                Some("lab1-workers-2  is up, being configured"),
            ),
            (
                What::Finished {
                    machine: machine.clone(),
                    pool: Some(pool.clone()),
                    job: "containerd/install".into(),
                    took,
                    changed: Some(true),
                },
                Some("lab1-workers-2  containerd/install: done in 1.2s"),
            ),
            (
                What::Failed {
                    machine: machine.clone(),
                    pool: Some(pool),
                    job: "kubernetes/join".into(),
                    took,
                    why: "exit status 3".into(),
                    tail: vec![],
                    again: true,
                },
                Some(
                    "lab1-workers-2  kubernetes/join: failed after 1.2s: exit status 3; will be tried again",
                ),
            ),
            (What::Waits { waits: vec![] }, None),
        ];
        for (what, expected) in cases {
            assert_eq!(line(&what).as_deref(), expected);
        }
    }
}
