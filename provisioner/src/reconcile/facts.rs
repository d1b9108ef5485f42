//! Facts that front-ends were asked for, kept in memory for as long as each allows, and never longer than the run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};
use tokio::sync::Mutex as AsyncMutex;

use super::job::{Place, RunError};
use super::{Parts, until};
use crate::names::{MachineName, StepId};

type Kept = Option<(Duration, SecretSlice<u8>)>;
type Slot = Arc<AsyncMutex<Kept>>;

/// Answers by fact and front-end. Each has a lock of its own, so that ten workers that join together ask once.
#[derive(Default)]
pub(super) struct Facts(Mutex<BTreeMap<(StepId, MachineName), Slot>>);

impl Facts {
    /// The facts, each asked now or kept from before.
    pub(super) async fn ask(
        &self,
        parts: &Parts,
        front_end: &Place,
        facts: &[StepId],
    ) -> Result<BTreeMap<StepId, SecretSlice<u8>>, RunError> {
        let mut answers = BTreeMap::new();
        for id in facts {
            let fact = parts.scripts.fact(&front_end.host, id)?;
            let from = front_end.target.name.clone();
            let answer = match fact.keep {
                None => parts.remote.ask(&front_end.target, &fact.script).await,
                Some(keep) => {
                    let slot = self.slot(id, &from);
                    let mut kept = slot.lock().await;
                    let fresh = kept.as_ref().filter(|(at, _)| until(*at, parts.clock.steady()) < keep);
                    match fresh {
                        Some((_, answer)) => Ok(copy(answer)),
                        None => {
                            let answer = parts.remote.ask(&front_end.target, &fact.script).await;
                            if let Ok(answer) = &answer {
                                *kept = Some((parts.clock.steady(), copy(answer)));
                            }
                            answer
                        }
                    }
                }
            };
            let failed = |source| RunError::Fact { fact: id.clone(), from, source };
            answers.insert(id.clone(), answer.map_err(failed)?);
        }
        Ok(answers)
    }

    fn slot(&self, id: &StepId, from: &MachineName) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry((id.clone(), from.clone())).or_default())
    }
}

fn copy(secret: &SecretSlice<u8>) -> SecretSlice<u8> {
    SecretSlice::from(secret.expose_secret().to_vec())
}
