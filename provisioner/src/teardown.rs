//! `down`: everything of a cluster goes, and what stays is named with what holds it.
//!
//! ```text
//! closing is saved ─► every row Deleting, rowless machines of the cluster's id too ─► sweep
//!                        ─► the list is empty for two settle times ─► the ledger is forgotten by the caller
//! ```
//! Goes by cluster id, whoever the owner. Works without any ledger: [`find`] gets the id from the tags.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ledger::{Closing, Ledger};
use crate::names::{ClusterId, ClusterName, LedgerId, MachineName};
use crate::plan::{Limits, Stop};
use crate::provider::{Leftover, Owner, Provider, ProviderError, Scope};
use crate::reconcile::{Ended, Parts, Reconciler};
use crate::spec::{Network, Spec};
use crate::store::StoreError;

/// How a teardown ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// Nothing is left: lists were empty for two settle times, and nothing else of the cluster was found.
    Gone,
    /// This stayed; the same command again goes on.
    Left(Vec<Leftover>),
    /// Something needs a person.
    Stopped(Stop),
    /// A person asked to stop.
    Interrupted,
}

/// A teardown could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DownError {
    /// The ledger could not be saved.
    #[error("the ledger could not be saved")]
    Store(#[from] StoreError),
    /// The cloud.
    #[error("the cloud did not do it")]
    Cloud(#[from] ProviderError),
}

/// Questions before it gives up on what stays: clouds free ports and addresses some seconds after the machines.
const ASKED: u32 = 5;

/// The ids under which clusters of this name are in the cloud, each with its machines: what a teardown
/// without a ledger goes by. A network without machines counts too. More than one: the person says which.
pub async fn find(
    provider: &dyn Provider,
    name: &ClusterName,
) -> Result<BTreeMap<ClusterId, Vec<MachineName>>, ProviderError> {
    let machines = provider.list(&Scope::Cluster { name: name.clone(), id: None }).await?;
    let mut found: BTreeMap<ClusterId, Vec<MachineName>> =
        provider.clusters(name).await?.into_iter().map(|id| (id, Vec::new())).collect();
    for machine in machines {
        found.entry(machine.tags.cluster).or_default().push(machine.tags.machine);
    }
    Ok(found)
}

/// A ledger to take down a cluster whose own is lost. `id` is drawn by the caller.
pub fn stand_in(id: LedgerId, cluster: ClusterId, cloud: crate::names::CloudId) -> Ledger {
    Ledger::new(id, Owner::Cli, cluster, cloud)
}

/// Takes the cluster of this ledger down. The second argument is the ledger as loaded, or a [`stand_in`].
/// `grace` is how long Ready machines may take to drain. Dropping the future at any moment is safe: the same call
/// again goes on.
pub async fn down(
    parts: Parts,
    ledger: Ledger,
    grace: Duration,
    cancel: &CancellationToken,
) -> Result<Down, DownError> {
    let (cluster, provider, clock) = (ledger.cluster.clone(), parts.provider.clone(), parts.clock.clone());
    let Some(spec) = nothing_wanted(&ledger) else {
        let why = format!("cluster id {cluster} has no name in front of its random part");
        return Ok(Down::Stopped(Stop::Defect { why }));
    };
    // From now on the daemon can make nothing more, whether it still runs or not.
    patiently(&clock, || provider.revoke(&cluster), |()| false).await?;
    let mut engine = Reconciler::new(parts, ledger, Limits::default());
    engine.close(Closing { at: clock.now(), grace_secs: grace.as_secs() });
    // Without a single row there is no settle time that a row's age would wait for.
    let mut quiet_since = None;
    loop {
        match engine.settle(&spec, cancel).await? {
            Ended::Settled => {}
            Ended::Stopped(Stop::JobFailed { name, what, why }) => {
                let what = format!("machine {name}: {what}");
                return Ok(Down::Left(vec![Leftover { what, blocker: why }]));
            }
            Ended::Stopped(stop) => return Ok(Down::Stopped(stop)),
            Ended::Interrupted => return Ok(Down::Interrupted),
        }
        // Another cluster of the same name is in the list too, and is nothing of ours.
        let ours = engine.machines().iter().any(|machine| machine.tags.cluster == cluster);
        let empty = !ours && engine.ledger().rows().is_empty();
        let now = clock.steady();
        let since = *quiet_since.get_or_insert(now);
        if !empty {
            quiet_since = None;
        } else if now.saturating_sub(since) >= provider.settle() * 2 {
            break;
        }
        tokio::select! {
            () = clock.sleep(provider.settle() / 4) => {}
            () = cancel.cancelled() => return Ok(Down::Interrupted),
        }
    }
    let left = sweep(&*provider, &cluster, &clock).await?;
    Ok(if left.is_empty() { Down::Gone } else { Down::Left(left) })
}

/// Sweeps until nothing is left, or what is left stays.
async fn sweep(
    provider: &dyn Provider,
    cluster: &ClusterId,
    clock: &crate::clock::Clock,
) -> Result<Vec<Leftover>, ProviderError> {
    patiently(clock, || provider.sweep(cluster), |left| !left.is_empty()).await
}

/// Asks again, a few times, where the cloud does not answer or its answer is `not_yet` the one that is wanted.
async fn patiently<T, F: Future<Output = Result<T, ProviderError>>>(
    clock: &crate::clock::Clock,
    ask: impl Fn() -> F,
    not_yet: impl Fn(&T) -> bool,
) -> Result<T, ProviderError> {
    let mut tried = 1;
    loop {
        let result = ask().await;
        let passes = match &result {
            Ok(answer) => not_yet(answer),
            Err(error) => matches!(error, ProviderError::Unavailable { .. }),
        };
        if !passes || tried == ASKED {
            return result;
        }
        clock.sleep(Duration::from_secs(1 << tried)).await;
        tried += 1;
    }
}

/// A spec that asks for nothing: a closing ledger plans no pools.
pub fn nothing_wanted(ledger: &Ledger) -> Option<Spec> {
    Some(Spec {
        cluster: ledger.cluster.name()?,
        // Not used: a teardown talks to the provider that it was given.
        provider: crate::provider::Config::Sandbox(crate::provider::sandbox::Config::default()),
        network: Network { internet: false, expose: Vec::new() },
        pools: BTreeMap::new(),
        expires: None,
        operators: Vec::new(),
        inputs: BTreeMap::new(),
    })
}
