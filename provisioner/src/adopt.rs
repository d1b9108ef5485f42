//! `adopt`: the machines of another ledger become this one's, and nothing happens to what runs on them.
//!
//! ```text
//! a ledger is saved ─► what is off is started ─► a row for each machine ─► each is taken ─► its checks are run (the engine)
//! taken: tag "their key or ours" ─► our host key and login key are put in ─► tag "ours, by our ledger"
//! ```
//! Takes one owner's machines. Invariants: at every moment the tag of a machine names the host key that it has; a
//! machine is its old ledger's until it is ours as a whole; killed at any point, the same call again goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::events::What;
use crate::ledger::{Illegal, Ledger, NewRow};
use crate::names::{CloudId, LedgerId, MachineId, MachineName, PoolName};
use crate::provider::{Machine, MachineState, ProviderError, Scope, Tags};
use crate::reconcile::Parts;
use crate::remote::{RemoteError, Target};
use crate::spec::{Role, Spec};
use crate::store::StoreError;

/// What an adoption is called in events.
const JOB: &str = "take over";
/// Machines at a time: each is one short job over SSH.
const AT_ONCE: usize = 16;
/// How long machines that are off or booting may take: as long as a slow cloud boots.
const BOOT: Duration = Duration::from_secs(300);
/// How long sshd may take to answer on a machine that runs.
const ANSWER: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// Calls to the cloud that get no answer are made again so often.
const TRIES: u32 = 5;

/// Why machines cannot be adopted; nothing was changed on any of them.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The ledger could not be saved.
    #[error("the ledger could not be saved")]
    Store(#[from] StoreError),
    /// The cloud.
    #[error("the cloud did not answer")]
    Cloud(#[from] ProviderError),
    /// The ledger is another cloud's.
    #[error("the ledger is for cloud {ledger}, but {seen} answers")]
    WrongCloud {
        /// The ledger's.
        ledger: CloudId,
        /// The one that answers.
        seen: CloudId,
    },
    /// Two machines have one name: which of them is the right one nobody can tell.
    #[error("{} machines are called {name}: {}; delete all but the right one", ids.len(), list(ids))]
    Twice {
        /// The name.
        name: MachineName,
        /// The machines.
        ids: Vec<MachineId>,
    },
    /// Machines of a pool that was not asked for: the next `up` would drain them.
    #[error(
        "{machine} is of pool {pool}, which the cluster file does not have; give the file that the cluster was made from"
    )]
    UnknownPool {
        /// One of them.
        machine: MachineName,
        /// Their pool.
        pool: PoolName,
    },
    /// The ledger refuses a row.
    #[error(transparent)]
    Row(#[from] Illegal),
}

fn list(ids: &[MachineId]) -> String {
    ids.iter().map(MachineId::as_str).collect::<Vec<_>>().join(", ")
}

/// What was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Machines that were another ledger's and are this one's now.
    pub taken: Vec<MachineName>,
    /// Machines that were this ledger's already.
    pub had: usize,
    /// Machines that could not be taken, each with the reason. The same call again tries them anew.
    pub failed: Vec<(MachineName, String)>,
}

/// Makes every machine of this ledger's owner this ledger's. `ledger` has the generation that is stored.
pub async fn take(
    parts: &Parts,
    ledger: &mut Ledger,
    spec: &Spec,
    cancel: &CancellationToken,
) -> Result<Adopted, AdoptError> {
    let seen = again(parts, || parts.provider.cloud()).await?;
    if seen != ledger.cloud {
        return Err(AdoptError::WrongCloud { ledger: ledger.cloud.clone(), seen });
    }
    let all = list_all(parts, ledger).await?;
    let own: Vec<Machine> =
        all.iter().filter(|machine| machine.tags.owner == ledger.owner).cloned().collect();
    fit(&own, spec)?;
    // Its id is on disk before the first machine carries it.
    save(parts, ledger).await?;
    let own = awake(parts, ledger, own, cancel).await?;
    rows(parts, ledger, spec, &own)?;
    ledger.raise_past(all.iter().map(|machine| &machine.tags.machine));
    save(parts, ledger).await?;

    let (ours, foreign): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|machine| machine.tags.ledger == ledger.id);
    let mut adopted = Adopted { had: ours.len(), ..Adopted::default() };
    let jobs: Vec<_> = foreign
        .into_iter()
        .filter_map(|machine| {
            let birth = ledger.key_birth(&machine.tags.machine)?;
            Some(one(parts, &ledger.id, ledger.generation, machine, birth, cancel))
        })
        .collect();
    let mut jobs = futures::stream::iter(jobs).buffer_unordered(AT_ONCE);
    while let Some((name, result)) = jobs.next().await {
        match result {
            Ok(()) => adopted.taken.push(name),
            Err(why) => adopted.failed.push((name, why)),
        }
    }
    drop(jobs);
    adopted.taken.sort();
    adopted.failed.sort();
    for name in &adopted.taken {
        ledger.host_key_replaced(name)?;
    }
    save(parts, ledger).await?;
    Ok(adopted)
}

/// What is to be made true right after an adoption: what was found, no machine more and none less. How many there are
/// to be is for the next `up` to decide, and for a person to see before.
pub fn as_found(spec: &Spec, ledger: &Ledger) -> Spec {
    let mut spec = spec.clone();
    let mut found: BTreeMap<&PoolName, u32> = BTreeMap::new();
    for row in ledger.rows().values().filter(|row| row.phase().is_live()) {
        *found.entry(&row.pool).or_default() += 1;
    }
    for (name, pool) in &mut spec.pools {
        let count = found.get(name).copied();
        // An elastic pool without rows here is the other owner's, and stays it.
        if count.is_some() || crate::plan::owner_of(pool) == ledger.owner {
            let count = count.unwrap_or(0);
            pool.size = count..=count;
        }
    }
    spec
}

/// Whether there is a front-end among the rows: without one the checks of workers would wait for ever.
pub fn has_front_end(ledger: &Ledger) -> bool {
    ledger.rows().values().any(|row| row.role == Role::FrontEnd && row.phase().is_live())
}

async fn save(parts: &Parts, ledger: &mut Ledger) -> Result<(), StoreError> {
    let expected = ledger.generation;
    ledger.generation += 1;
    parts.store.save(ledger, expected).await
}

/// Asks again while there is no answer.
async fn again<T, F>(parts: &Parts, call: impl Fn() -> F) -> Result<T, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    for tried in 1..TRIES {
        match call().await {
            Err(ProviderError::Unavailable { .. }) => parts.clock.sleep(PAUSE * tried).await,
            answered => return answered,
        }
    }
    call().await
}

async fn list_all(parts: &Parts, ledger: &Ledger) -> Result<Vec<Machine>, ProviderError> {
    let scope = Scope::Cluster {
        name: ledger.cluster.name().ok_or_else(|| ProviderError::Rejected {
            message: format!("cluster id {} has no name in front of its random part", ledger.cluster),
        })?,
        id: Some(ledger.cluster.clone()),
    };
    let mut all = again(parts, || parts.provider.list(&scope)).await?;
    all.retain(|machine| machine.tags.cluster == ledger.cluster);
    all.sort_by(|a, b| (&a.tags.machine, &a.id).cmp(&(&b.tags.machine, &b.id)));
    Ok(all)
}

/// Whether these machines can be rows of one ledger for this spec.
fn fit(own: &[Machine], spec: &Spec) -> Result<(), AdoptError> {
    let mut groups = own.chunk_by(|a, b| a.tags.machine == b.tags.machine);
    if let Some(group) = groups.find(|group| group.len() > 1) {
        let ids = group.iter().map(|machine| machine.id.clone()).collect();
        return Err(AdoptError::Twice { name: group[0].tags.machine.clone(), ids });
    }
    match own.iter().find(|machine| !spec.pools.contains_key(&machine.tags.pool)) {
        Some(machine) => Err(AdoptError::UnknownPool {
            machine: machine.tags.machine.clone(),
            pool: machine.tags.pool.clone(),
        }),
        None => Ok(()),
    }
}

/// Starts what is off, and waits until everything runs, is broken, or has had its time.
async fn awake(
    parts: &Parts,
    ledger: &Ledger,
    mut own: Vec<Machine>,
    cancel: &CancellationToken,
) -> Result<Vec<Machine>, AdoptError> {
    let ids: Vec<MachineId> = own.iter().map(|machine| machine.id.clone()).collect();
    let since = parts.clock.steady();
    loop {
        for machine in own.iter().filter(|machine| machine.state == MachineState::Stopped) {
            again(parts, || parts.provider.start(&machine.id)).await?;
        }
        let waits = |machine: &Machine| {
            matches!(machine.state, MachineState::Stopped | MachineState::Building)
                || machine.state == MachineState::Running && machine.address.is_none()
        };
        let late = parts.clock.steady().saturating_sub(since) >= BOOT;
        if late || cancel.is_cancelled() || !own.iter().any(waits) {
            return Ok(own);
        }
        parts.clock.sleep(PAUSE).await;
        own = list_all(parts, ledger).await?;
        own.retain(|machine| ids.contains(&machine.id));
    }
}

/// A row for each machine that has none, with what can be told of it.
fn rows(parts: &Parts, ledger: &mut Ledger, spec: &Spec, own: &[Machine]) -> Result<(), AdoptError> {
    for machine in own {
        let tags = &machine.tags;
        if ledger.row(&tags.machine).is_some() {
            continue;
        }
        let Some(pool) = spec.pools.get(&tags.pool) else { continue };
        let expose = if pool.role == Role::FrontEnd { spec.network.expose.clone() } else { Vec::new() };
        let new = NewRow {
            pool: tags.pool.clone(),
            role: pool.role,
            shape: machine.shape.clone(),
            image: pool.image.clone(),
            zone: None,
            expose,
            expires: tags.expires,
        };
        let born: Timestamp = machine.created.unwrap_or_else(|| parts.clock.now());
        ledger.adopt(tags.machine.clone(), machine.id.clone(), new, born)?;
    }
    Ok(())
}

/// Takes one machine, and tells what became of it.
async fn one(
    parts: &Parts,
    ledger: &LedgerId,
    generation: u64,
    machine: Machine,
    birth: Timestamp,
    cancel: &CancellationToken,
) -> (MachineName, Result<(), String>) {
    let (name, pool) = (machine.tags.machine.clone(), Some(machine.tags.pool.clone()));
    if cancel.is_cancelled() {
        return (name, Err("interrupted".to_owned()));
    }
    let began = parts.clock.steady();
    let tell = |what| parts.events.tell(parts.clock.now(), generation, what);
    tell(What::Started { machine: name.clone(), pool: pool.clone(), job: JOB.to_owned() });
    let result = transfer(parts, ledger, machine, birth).await;
    let took = parts.clock.steady().saturating_sub(began);
    let (machine, job) = (name.clone(), JOB.to_owned());
    tell(match &result {
        Ok(()) => What::Finished { machine, pool, job, took, changed: Some(true) },
        Err(why) => {
            What::Failed { machine, pool, job, took, why: why.clone(), tail: Vec::new(), again: false }
        }
    });
    (name, result)
}

async fn transfer(
    parts: &Parts,
    ledger: &LedgerId,
    machine: Machine,
    birth: Timestamp,
) -> Result<(), String> {
    let name = machine.tags.machine.clone();
    let retag = async |tags: &Tags| {
        let answer = again(parts, || parts.provider.retag(&machine.id, tags)).await;
        answer.map_err(|error| format!("its tags cannot be written: {error}"))
    };
    let mut tags = Tags { ledger: ledger.clone(), ..machine.tags.clone() };
    // What is broken for good has nothing left to log in to; its row says what becomes of it.
    let broken = matches!(machine.state, MachineState::Failed(_));
    if let Some((mut job, ours)) = parts.keys.takeover(&name, birth).filter(|_| !broken) {
        let mut pins: Vec<String> = machine.tags.host_keys().map(str::to_owned).collect();
        if !pins.contains(&ours) {
            pins.push(ours.clone());
            retag(&Tags { host_key: pins.join(" "), ..machine.tags.clone() }).await?;
        }
        // A machine keeps the result of a unit. What was ours, then another's, is to be made ours once more.
        let hash = Sha256::digest(pins.join(" "));
        job.unit = format!("{}-{:02x}{:02x}{:02x}{:02x}", job.unit, hash[0], hash[1], hash[2], hash[3]);
        let target = Target { name: name.clone(), machine: machine.clone(), host_keys: pins };
        enter(parts, &target, &job).await?;
        tags.host_key = ours;
    }
    retag(&tags).await
}

/// Runs the job, waiting for a machine that does not answer yet.
async fn enter(parts: &Parts, target: &Target, job: &crate::remote::Job) -> Result<(), String> {
    let since = parts.clock.steady();
    loop {
        match parts.remote.run(target, job).await {
            Ok(done) if done.status == 0 => return Ok(()),
            Ok(done) => return Err(format!("exit status {}: {}", done.status, done.tail.join(" | "))),
            Err(RemoteError::NotUp(_) | RemoteError::Dropped(_))
                if parts.clock.steady().saturating_sub(since) < ANSWER =>
            {
                parts.clock.sleep(PAUSE).await;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
