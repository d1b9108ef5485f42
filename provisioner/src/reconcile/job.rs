//! Jobs: one action each, run as a task beside the passes.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::ExposeSecret;

use super::Reconciler;
use crate::events::What;
use crate::names::{MachineId, MachineName, StepId};
use crate::plan::{Action, Nodes};
use crate::provider::ProviderError;
use crate::recipe::{Hook, Host, RenderError};
use crate::remote::{Done, Job, RemoteError, Target};

/// A job that runs.
pub(super) struct Running {
    pub(super) what: String,
    pub(super) started: Duration,
    pub(super) on_machine: bool,
    pub(super) task: tokio::task::Id,
}

/// A job that ended.
pub(super) enum Finished {
    /// An action.
    Action(Box<Action>, Outcome),
    /// The question for the nodes.
    Nodes(Nodes),
}

/// What came of an action.
pub(super) enum Outcome {
    /// A call to the cloud.
    Cloud(Result<(), ProviderError>),
    /// A direct question.
    Exists(MachineId, Result<bool, ProviderError>),
    /// Which boot of the machine runs.
    Boot(String),
    /// A script on a machine.
    Ran(Result<Done, RunError>),
}

/// Why a script did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RunError {
    /// The machine.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The recipe.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The front-end that was asked for a fact.
    #[error("fact {fact} of {from}: {source}")]
    Fact {
        /// The fact.
        fact: StepId,
        /// The front-end.
        from: MachineName,
        /// Why.
        source: RemoteError,
    },
}

/// Prints the id of the boot that runs: another one after every start. It is what a kubelet reports as its node's.
const BOOT: &str = "cat /proc/sys/kernel/random/boot_id";
/// Ends the drains of node `$1` that an engine which was killed has left running: they would cordon it once more.
const END_DRAINS: &str = r#"systemctl stop "continuum-drain-$1-*""#;

/// Whether the action runs on a machine, or is a call to the cloud.
pub(super) fn is_on_machine(action: &Action) -> bool {
    match action {
        Action::Create { .. } | Action::Start { .. } | Action::Delete { .. } | Action::Exists { .. } => false,
        Action::RotateHostKey { .. }
        | Action::RunStep { .. }
        | Action::Drain { .. }
        | Action::Uncordon { .. }
        | Action::AskBoot { .. }
        | Action::ForgetNode { .. } => true,
    }
}

type Work = BoxFuture<'static, Outcome>;

/// A machine that a script runs on, and what the script may know of it.
#[derive(Debug, Clone)]
pub struct Place {
    /// How to reach it.
    pub target: Target,
    /// What scripts may know of it.
    pub host: Host,
}

impl Reconciler {
    /// The work of an action, with everything it needs copied out of the ledger and the list. `None` if the
    /// machine is not there after all: the next pass sees that too.
    pub(super) fn prepare_job(&self, action: &Action) -> Option<Work> {
        let provider = Arc::clone(&self.parts.provider);
        match action {
            Action::Create { name, .. } => {
                let (keys, birth) = (&self.parts.keys, self.ledger.key_birth(name)?);
                let data = keys.user_data(name, birth);
                let request = self.ledger.request(name, keys.fingerprint(name, birth), data)?;
                Some(Box::pin(async move { Outcome::Cloud(provider.create(&request).await) }))
            }
            Action::Start { id, .. } => {
                let id = id.clone();
                Some(Box::pin(async move { Outcome::Cloud(provider.start(&id).await) }))
            }
            Action::Delete { id, .. } => {
                let id = id.clone();
                Some(Box::pin(async move { Outcome::Cloud(provider.delete(&id).await) }))
            }
            Action::Exists { id, .. } => {
                let id = id.clone();
                Some(Box::pin(async move {
                    let answer = provider.exists(&id).await;
                    Outcome::Exists(id, answer)
                }))
            }
            Action::RotateHostKey { name } => {
                let row = self.ledger.row(name)?;
                let mut job = self.parts.keys.rotation(name, self.ledger.key_birth(name)?)?;
                job.unit = unit(&job.unit, row.tries());
                let (target, remote) = (self.target(name)?, Arc::clone(&self.parts.remote));
                Some(Box::pin(async move {
                    Outcome::Ran(remote.run(&target, &job).await.map_err(RunError::from))
                }))
            }
            Action::RunStep { name, step, from } => self.step_work(name, step, from.as_ref()),
            Action::Drain { name, on } => self.hook_work(Hook::Drain, name, on),
            Action::Uncordon { name, on } => self.hook_work(Hook::Uncordon, name, on),
            Action::ForgetNode { name, on } => self.hook_work(Hook::Forget, name, on),
            Action::AskBoot { name } => {
                let (target, remote) = (self.target(name)?, Arc::clone(&self.parts.remote));
                Some(Box::pin(async move {
                    match remote.ask(&target, BOOT).await {
                        Ok(printed) => {
                            Outcome::Boot(String::from_utf8_lossy(printed.expose_secret()).trim().to_owned())
                        }
                        Err(error) => Outcome::Ran(Err(error.into())),
                    }
                }))
            }
        }
    }

    fn step_work(
        &self,
        name: &MachineName,
        step: &crate::spec::Step,
        from: Option<&MachineName>,
    ) -> Option<Work> {
        let place = self.place(name)?;
        let front_end = match from {
            Some(from) => Some(self.place(from)?),
            None => None,
        };
        let tries = self.ledger.row(name)?.tries();
        let (parts, facts, step) = (self.parts.clone(), Arc::clone(&self.facts), step.clone());
        Some(Box::pin(async move {
            let result = async {
                let given = match front_end {
                    Some(front_end) => facts.ask(&parts, &front_end, &step.facts).await?,
                    None => std::collections::BTreeMap::new(),
                };
                let mut job = parts.scripts.job(&place.host, &step.id, given)?;
                job.unit = unit(&job.unit, tries);
                Ok(parts.remote.run(&place.target, &job).await?)
            };
            Outcome::Ran(result.await)
        }))
    }

    /// The scripts of a hook, one after the other, about one node.
    fn hook_work(&self, hook: Hook, about: &MachineName, on: &MachineName) -> Option<Work> {
        let place = self.place(on)?;
        let (parts, about) = (self.parts.clone(), about.clone());
        let timeout = self.limits.drain_timeout;
        let when = format!("{}-{}", self.began.as_millisecond(), self.ledger.generation);
        Some(Box::pin(async move {
            let result = async {
                let mut last = Done { status: 0, changed: false, tail: Vec::new() };
                for (index, script) in parts.scripts.hook(&place.host, hook)?.iter().enumerate() {
                    let (verb, script) = match hook {
                        Hook::Drain => ("drain", script.clone()),
                        Hook::Uncordon => ("uncordon", format!("{END_DRAINS}\n{script}")),
                        _ => ("forget", script.clone()),
                    };
                    let job = hook_job(&format!("{verb}-{about}-{when}-{index}"), &about, &script, timeout);
                    last = parts.remote.run(&place.target, &job).await?;
                    if last.status != 0 {
                        break;
                    }
                }
                Ok(last)
            };
            Outcome::Ran(result.await)
        }))
    }

    /// Starts the work as a task.
    pub(super) fn spawn(&mut self, action: Action, work: Work) {
        let (name, what, on_machine) = (action.name().clone(), action.what(), is_on_machine(&action));
        let pool = self.ledger.row(&name).map(|row| row.pool.clone());
        self.told_settled = false;
        self.tell(What::Started { machine: name.clone(), pool, job: what.clone() });
        let task = self.jobs.spawn(async move { Finished::Action(Box::new(action), work.await) }).id();
        let started = self.parts.clock.steady();
        self.running.insert(name, Running { what, started, on_machine, task });
    }
}

/// A machine keeps the result of a unit: a new try is a new unit.
fn unit(unit: &str, tries: u32) -> String {
    if tries == 0 { unit.to_owned() } else { format!("{unit}-try{}", tries + 1) }
}

/// A hook's script takes its subject as `$1`. The unit has the run and the ledger's generation in its name: asking again
/// later runs it again, also where a run was killed between a drain and what calls it off, or the other way round.
fn hook_job(unit: &str, subject: &MachineName, script: &str, timeout: Duration) -> Job {
    Job {
        unit: format!("continuum-{unit}"),
        script: with_subject(subject, script),
        files: Vec::new(),
        blobs: Vec::new(),
        timeout,
    }
}

/// The script with `$1` set. A machine name has only letters, digits and dashes, so it needs no quoting.
pub(super) fn with_subject(subject: &MachineName, script: &str) -> String {
    format!("set -- {subject}\n{script}")
}
