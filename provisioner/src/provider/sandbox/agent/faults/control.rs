//! Faults as they are asked for: set, cleared, shown; cuts made and healed; fates that come to pass.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::super::machine::{StepError, mac};
use super::super::super::wire::{FaultsRequest, FaultsStatus, Pair, rejected};
use super::super::{Agent, Live};
use super::wires::{self, Wires};
use super::{Cut, Fate, Faults};
use crate::clock;
use crate::names::MachineId;
use crate::provider::ProviderError;
use crate::provider::faults::Fault;

impl Agent {
    /// What goes wrong now. Taken after [`Agent::inner`], never before it.
    pub(in super::super) fn faults(&self) -> MutexGuard<'_, Faults> {
        // As good after a panic as before: plain values.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The words and cuts, and how much they did.
    pub fn faults_status(&self) -> FaultsStatus {
        let inner = self.inner();
        let faults = self.faults();
        let name = |id: &MachineId| {
            let live = inner.machines.get(id);
            live.map_or_else(|| id.to_string(), |live| live.record.tags.machine.to_string())
        };
        let cuts = faults.cuts.iter().map(|cut| {
            let [a, b] = cut.ends().map(name);
            Pair { a, b }
        });
        FaultsStatus {
            faults: faults.words.clone(),
            seed: faults.dice.seed,
            ends: faults.ends,
            cuts: cuts.collect(),
            calls: faults.calls,
            met: faults.met,
        }
    }

    /// These words and no others.
    pub async fn set_faults(self: &Arc<Self>, request: FaultsRequest) -> Result<FaultsStatus, ProviderError> {
        let FaultsRequest { faults, seed, lasts } = request;
        for (n, fault) in faults.iter().enumerate() {
            if faults[..n].iter().any(|other| other.word() == fault.word()) {
                return Err(rejected(format!("{} is there twice: say it once", fault.word())));
            }
        }
        let ends = match lasts {
            Some(lasts) => {
                Some(clock::now().checked_add(lasts).map_err(|error| rejected(error.to_string()))?)
            }
            None => None,
        };
        let edition = {
            let _one_at_a_time = self.rewiring.lock().await;
            let before = self.faults().clone();
            let edition = self.faults().set(faults, seed, ends);
            if let Err(error) = self.rewire().await {
                // What this computer cannot do is not half done.
                *self.faults() = before;
                let _ = self.rewire().await;
                return Err(error);
            }
            edition
        };
        let words: Vec<String> = self.faults().words.iter().map(Fault::to_string).collect();
        tracing::info!(faults = words.join(" "), seed, "faults are set");
        if let Some(lasts) = lasts {
            tokio::spawn(Arc::clone(self).end_faults(lasts, edition));
        }
        Ok(self.faults_status())
    }

    async fn end_faults(self: Arc<Self>, lasts: Duration, edition: u64) {
        tokio::time::sleep(lasts).await;
        let _one_at_a_time = self.rewiring.lock().await;
        if !self.faults().is_edition(edition) {
            return;
        }
        self.faults().set(Vec::new(), 0, None);
        match self.rewire().await {
            Ok(()) => tracing::info!("the faults have ended"),
            Err(error) => tracing::warn!(%error, "the faults have ended, but not those of the network"),
        }
    }

    /// Nothing is wrong any more, and nothing is cut.
    pub async fn clear_faults(&self) -> Result<(), ProviderError> {
        let _one_at_a_time = self.rewiring.lock().await;
        self.faults().clear();
        self.rewire().await
    }

    /// Two machines hear nothing of each other any more.
    pub async fn cut(&self, pair: &Pair) -> Result<(), ProviderError> {
        let _one_at_a_time = self.rewiring.lock().await;
        let cut = self.pair(pair)?;
        let is_new = self.faults().cuts.insert(cut.clone());
        let result = self.rewire().await;
        if result.is_err() && is_new {
            self.faults().cuts.remove(&cut);
        }
        result
    }

    /// These two hear each other again, or all that were cut.
    pub async fn heal(&self, pair: Option<&Pair>) -> Result<(), ProviderError> {
        let _one_at_a_time = self.rewiring.lock().await;
        match pair {
            None => self.faults().cuts.clear(),
            Some(pair) => {
                let cut = self.pair(pair)?;
                if !self.faults().cuts.remove(&cut) {
                    return Err(rejected(format!("{} and {} are not cut from each other", pair.a, pair.b)));
                }
            }
        }
        self.rewire().await
    }

    /// Two machines that could hear each other.
    fn pair(&self, pair: &Pair) -> Result<Cut, ProviderError> {
        let inner = self.inner();
        let find = |name: &str| -> Result<&Live, ProviderError> {
            let named = |live: &&Live| {
                live.listed()
                    && (live.record.id.as_str() == name || live.record.tags.machine.as_str() == name)
            };
            let found: Vec<&Live> = inner.machines.values().filter(named).collect();
            match found[..] {
                [one] => Ok(one),
                [] => {
                    Err(rejected(format!("there is no machine {name} (continuum sandbox status lists them)")))
                }
                _ => Err(rejected(format!("{} machines are {name}: name one by its id", found.len()))),
            }
        };
        let (a, b) = (find(&pair.a)?, find(&pair.b)?);
        if a.record.id == b.record.id {
            return Err(rejected(format!("{} cannot be cut from itself", pair.a)));
        }
        if a.record.tags.cluster != b.record.tags.cluster {
            let words = "are of two clusters, whose networks are apart anyway";
            return Err(rejected(format!("{} and {} {words}", pair.a, pair.b)));
        }
        Ok(Cut::new(a.record.id.clone(), b.record.id.clone()))
    }

    /// Makes the hub as the faults say. The caller holds `rewiring`.
    async fn rewire(&self) -> Result<(), ProviderError> {
        let wires = {
            let inner = self.inner();
            let faults = self.faults();
            let address = |id: &MachineId| inner.machines.get(id).map(|live| mac(live.record.address));
            let macs = |cut: &Cut| {
                let [a, b] = cut.ends().map(address);
                Some([a?, b?])
            };
            Wires::of(&faults.words, faults.cuts.iter().filter_map(macs).collect())
        };
        wires::apply(self, wires).await
    }

    /// A machine that boots while the network is slow gets its part of that.
    pub(in super::super) async fn wire_newcomer(&self) {
        let _one_at_a_time = self.rewiring.lock().await;
        if !self.faults().words.iter().any(Fault::is_of_network) {
            return;
        }
        if let Err(error) = self.rewire().await {
            tracing::warn!(%error, "a new machine's network is not as faulty as the others'");
        }
    }

    /// A machine is gone, and the next one with its address is not cut from anybody.
    pub(in super::super) async fn unwire(&self, id: &MachineId) {
        if !self.faults().forget(id) {
            return;
        }
        let _one_at_a_time = self.rewiring.lock().await;
        if let Err(error) = self.rewire().await {
            tracing::warn!(machine = %id, %error, "its cut is still there");
        }
    }

    /// What an earlier agent has left of faulty networks goes: faults end with the agent that was told of them.
    pub(in super::super) async fn heal_inherited(&self) {
        let _one_at_a_time = self.rewiring.lock().await;
        if let Err(error) = self.rewire().await {
            tracing::warn!(%error, "faults of the network are left from an earlier agent");
        }
    }

    /// Draws what becomes of a machine that is made, before anybody can list it.
    pub(in super::super) fn draw_fate(self: &Arc<Self>, id: &MachineId) {
        let (fate, edition) = {
            let mut faults = self.faults();
            (faults.born(id, clock::monotonic()), faults.edition)
        };
        let after = match fate {
            Fate::Dies(after) | Fate::Stops(after) => after,
            Fate::Lives | Fate::NeverBoots => return,
        };
        let (agent, id) = (Arc::clone(self), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if !agent.faults().is_edition(edition) {
                return;
            }
            tracing::info!(machine = %id, ?fate, "a fault comes to pass");
            let result = match fate {
                Fate::Dies(_) => agent.delete(&id).await,
                _ => agent.stop(&id).await,
            };
            if let Err(error) = result {
                tracing::warn!(machine = %id, %error, "a fault could not come to pass");
            }
        });
    }

    /// Waits as long as a boot is to take longer; an error if the machine is one that never boots.
    pub(in super::super) async fn delay_boot(&self, id: &MachineId) -> Result<(), StepError> {
        let after = self.faults().boots_after(id);
        match after {
            Some(after) => {
                tokio::time::sleep(after).await;
                Ok(())
            }
            None => Err(StepError {
                step: format!("boot {id}"),
                source: std::io::Error::other("fault boot-failure"),
            }),
        }
    }
}
