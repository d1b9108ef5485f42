//! What a finished job means: for the ledger, for the next plan, or for the whole run.

use std::time::Duration;

use super::job::{Finished, Outcome, RunError};
use super::{Reconciler, TRIES};
use crate::events::What;
use crate::names::MachineName;
use crate::plan::{Action, Stop};
use crate::provider::ProviderError;
use crate::remote::{Done, RemoteError};

/// A machine is left alone until then.
pub(super) struct Hold {
    pub(super) since: Duration,
    pub(super) until: Duration,
    pub(super) why: String,
    count: u32,
}

/// First and longest pauses between tries.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// A machine boots: soon again, it may be up any moment.
    Boot,
    /// Something failed: a little more each time.
    Failure,
}

impl Pace {
    fn delay(self, count: u32) -> Duration {
        let (first, longest) = match self {
            Self::Boot => (Duration::from_millis(100), Duration::from_secs(1)),
            Self::Failure => (Duration::from_secs(1), Duration::from_secs(15)),
        };
        (first * 2_u32.pow(count.min(8))).min(longest)
    }
}

/// A job failed: how, for people.
struct Failure {
    why: String,
    tail: Vec<String>,
    again: bool,
}

impl Reconciler {
    pub(super) fn fold(&mut self, finished: Finished) {
        self.news = true;
        let (action, outcome) = match finished {
            Finished::Nodes(nodes) => {
                // An answer like the last one is no news: the pace of passes may slow down.
                self.news = nodes != self.nodes.answer;
                let now = self.parts.clock.steady();
                return self.nodes.answered(nodes, now);
            }
            Finished::Action(action, outcome) => (action, outcome),
        };
        let started = self.running.remove(action.name()).map(|run| run.started);
        let mut changed = None;
        let failure = match outcome {
            Outcome::Cloud(result) => self.fold_cloud(&action, result),
            Outcome::Exists(id, Ok(exists)) => {
                self.exists.insert(id, (exists, self.parts.clock.steady()));
                None
            }
            Outcome::Exists(_, Err(error)) => Some(self.retry(&action, error.to_string(), None)),
            Outcome::Boot(boot) => {
                self.boots.insert(action.name().clone(), (boot, self.parts.clock.steady()));
                self.fold_done(&action);
                None
            }
            Outcome::Ran(Ok(done)) if done.status == 0 => {
                changed = Some(done.changed);
                self.fold_done(&action);
                None
            }
            Outcome::Ran(Ok(done)) => Some(self.fold_failed(&action, done)),
            Outcome::Ran(Err(error)) => Some(self.fold_error(&action, &error)),
        };
        let took = started.map_or(Duration::ZERO, |started| self.since(started));
        let (machine, job) = (action.name().clone(), action.what());
        let pool = self.ledger.row(&machine).map(|row| row.pool.clone());
        self.tell(match failure {
            None => What::Finished { machine, pool, job, took, changed },
            Some(Failure { why, tail, again }) => What::Failed { machine, pool, job, took, why, tail, again },
        });
    }

    fn fold_cloud(&mut self, action: &Action, result: Result<(), ProviderError>) -> Option<Failure> {
        // What was listed before the call says nothing about after it.
        self.list = None;
        let name = action.name();
        if matches!(action, Action::Create { .. }) {
            self.ages.ask(name);
        }
        match (action, result) {
            (Action::Delete { .. }, Ok(())) => {
                // Clouds delete in their own time: asked again only after a while.
                self.hold(name, "the cloud was asked to delete it".into(), Pace::Boot, None);
                None
            }
            (_, Ok(())) => {
                self.held.remove(name);
                self.boots.remove(name);
                None
            }
            (_, Err(ProviderError::Unavailable { message, retry_after })) => {
                Some(self.retry(action, format!("unavailable: {message}"), retry_after))
            }
            (Action::Create { .. }, Err(error)) => {
                let why = error.to_string();
                self.refused.insert(name.clone(), error);
                Some(Failure { why, tail: Vec::new(), again: false })
            }
            (_, Err(error)) => Some(self.count(action, error.to_string(), Vec::new())),
        }
    }

    fn fold_done(&mut self, action: &Action) {
        let name = action.name();
        self.held.remove(name);
        self.failures.remove(name);
        // The row may have been decided upon otherwise meanwhile: then the result is of no use, and no harm.
        let _ = match action {
            Action::RunStep { step, .. } => self.ledger.step_done(name, step),
            Action::RotateHostKey { .. } => self.ledger.host_key_replaced(name),
            Action::Drain { .. } => {
                self.uncordoned.remove(name);
                self.drained.insert(name.clone());
                Ok(())
            }
            Action::Uncordon { .. } => {
                self.drained.remove(name);
                self.uncordoned.insert(name.clone());
                Ok(())
            }
            Action::ForgetNode { .. } => {
                self.forgotten.insert(name.clone());
                Ok(())
            }
            Action::Create { .. }
            | Action::Start { .. }
            | Action::Delete { .. }
            | Action::Exists { .. }
            | Action::AskBoot { .. } => Ok(()),
        };
    }

    /// The script ended, with a status that says no.
    fn fold_failed(&mut self, action: &Action, done: Done) -> Failure {
        let _ = self.ledger.step_failed(action.name());
        self.count(action, format!("exit status {}", done.status), done.tail)
    }

    fn fold_error(&mut self, action: &Action, error: &RunError) -> Failure {
        let why = error.to_string();
        let (RunError::Remote(remote) | RunError::Fact { source: remote, .. }) = error else {
            return self.give_up(action, why);
        };
        match remote {
            RemoteError::NotUp(_) | RemoteError::Dropped(_) => {
                self.hold(action.name(), why.clone(), Pace::Boot, None);
                Failure { why, tail: Vec::new(), again: true }
            }
            RemoteError::TimedOut { tail, .. } => {
                let _ = self.ledger.step_failed(action.name());
                self.count(action, why, tail.clone())
            }
            // A fact's script: the front-end may be busy with what makes the fact true.
            RemoteError::ScriptFailed { .. } => self.count(action, why, Vec::new()),
            RemoteError::Unfit(_)
            | RemoteError::Here(_)
            | RemoteError::WrongHostKey { .. }
            | RemoteError::KeyRefused(_)
            | RemoteError::AuthRefused { .. } => self.give_up(action, why),
        }
    }

    /// One failure more; the last one that is allowed ends the run. A drain is not counted: its time-out is.
    fn count(&mut self, action: &Action, why: String, tail: Vec<String>) -> Failure {
        let name = action.name().clone();
        let failures = self.failures.entry(name.clone()).or_default();
        *failures += 1;
        let again = *failures < TRIES || matches!(action, Action::Drain { .. });
        if again {
            self.hold(&name, format!("{} failed: {why}", action.what()), Pace::Failure, None);
        } else {
            let stop = match action.step() {
                Some(step) => {
                    Stop::StepFailed { name, step: step.clone(), why: why.clone(), tail: tail.clone() }
                }
                None => Stop::JobFailed { name, what: action.what(), why: why.clone() },
            };
            self.stop.get_or_insert(stop);
        }
        Failure { why, tail, again }
    }

    fn give_up(&mut self, action: &Action, why: String) -> Failure {
        let (name, what) = (action.name().clone(), action.what());
        self.stop.get_or_insert(Stop::JobFailed { name, what, why: why.clone() });
        Failure { why, tail: Vec::new(), again: false }
    }

    fn retry(&mut self, action: &Action, why: String, after: Option<Duration>) -> Failure {
        self.hold(action.name(), format!("{}: {why}", action.what()), Pace::Failure, after);
        Failure { why, tail: Vec::new(), again: true }
    }

    pub(super) fn hold(&mut self, name: &MachineName, why: String, pace: Pace, after: Option<Duration>) {
        let now = self.parts.clock.steady();
        let before = self.held.get(name);
        let (since, count) = before.map_or((now, 0), |hold| (hold.since, hold.count + 1));
        let delay = after.unwrap_or_else(|| pace.delay(count));
        let until = now.saturating_add(delay);
        self.held.insert(name.clone(), Hold { since, until, why, count });
    }
}
