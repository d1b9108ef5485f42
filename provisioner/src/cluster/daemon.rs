//! The autoscaler of a cluster, from both sides: `up` hands over to it, and it puts itself together from that.
//!
//! ```text
//! up: grant of the cloud + spec + policy + recipes ─► config.json, token ─► the recipe's hook `daemon` on the front-end
//! daemon: config.json ─► keys of its own, provider at the gateway, SSH ─► the parts that its engine works with
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};

use super::images::{self, WithImages};
use super::keys::ClusterKeys;
use super::site::draw;
use super::up::UpError;
use crate::clock::Clock;
use crate::events::Sink;
use crate::handover::{Artifacts, Content, Handover, HandoverError, VERSION};
use crate::keys::{Keys, KeysError};
use crate::ledger::Ledger;
use crate::names::{LedgerId, MachineName, NameError, PoolName};
use crate::plan::Nodes;
use crate::policy::Policy;
use crate::provider::{Grant, Owner, Provider, Scope};
use crate::quantity::{Cpu, Memory};
use crate::recipe::{Hook, Host, Scripts};
use crate::reconcile::Parts;
use crate::remote::{Job, JobFile, Remote, SshRemote, Target};
use crate::spec::Spec;
use crate::store::Store;

/// The recipe that brings it.
pub const RECIPE: &str = "autoscaler";
/// Where the daemon's files are on a front-end.
pub const FOLDER: &str = "/etc/continuum/autoscaler";
/// The cloud's secret there.
pub const TOKEN: &str = "token";
/// What was handed over.
pub const CONFIG: &str = "config.json";
/// Where machines of a sandbox, and front-ends of any cloud, have artifacts by their hash.
pub const BLOBS: &str = "/var/lib/continuum/shared";
/// Starting the daemon takes seconds; the first time it waits until its caches have seen the whole cluster.
const LIMIT: Duration = Duration::from_secs(120);

/// What `up` hands over.
pub struct Given<'a> {
    /// The command line's own ledger: which cluster, and in which cloud.
    pub ledger: &'a Ledger,
    /// What was asked for, prepared images included.
    pub spec: &'a Spec,
    /// What the daemon may do.
    pub policy: &'a Policy,
    /// The recipes and the images of the user's own.
    pub scripts: &'a WithImages,
    /// Everybody who may log in to the cluster's machines.
    pub operators: &'a [String],
}

/// The id of the daemon's ledger, where one was made on this front-end.
async fn ledger_on(target: &Target, parts: &Parts) -> Result<Option<String>, UpError> {
    let question = format!("cat {FOLDER}/ledger 2>/dev/null || :");
    let at = |source| UpError::Remote { machine: target.name.clone(), source };
    let known = parts.remote.ask(target, &question).await.map_err(at)?;
    let known = String::from_utf8_lossy(known.expose_secret()).trim().to_owned();
    Ok(Some(known).filter(|known| !known.is_empty()))
}

/// Removes what an autoscaler made whose front-end is gone for good: on this one none was ever installed, and it would not
/// touch machines of another ledger. `nodes` is what this cluster says: a machine that has a node in it is somebody's, and stays.
pub async fn clear_orphans(
    ledger: &Ledger,
    parts: &Parts,
    target: &Target,
    nodes: &Nodes,
) -> Result<(), UpError> {
    if ledger_on(target, parts).await?.is_some() {
        return Ok(());
    }
    let name = ledger.cluster.name().ok_or_else(|| UpError::Daemon {
        machine: target.name.clone(),
        why: format!("cluster id {} has no name in front of its random part", ledger.cluster),
    })?;
    let scope = Scope::Cluster { name, id: Some(ledger.cluster.clone()) };
    let since = parts.clock.steady();
    loop {
        let mut orphans = parts.provider.list(&scope).await?;
        orphans.retain(|m| m.tags.cluster == ledger.cluster && m.tags.owner == Owner::Autoscaler);
        if orphans.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = orphans.iter().map(|machine| machine.tags.machine.to_string()).collect();
        let lost = |name: &MachineName| matches!(nodes, Nodes::Known(nodes) if !nodes.contains_key(name));
        let all_lost = orphans.iter().all(|machine| lost(&machine.tags.machine));
        if !all_lost || parts.clock.steady().saturating_sub(since) > LIMIT {
            let why =
                format!("machines of another autoscaler of this cluster are there: {}", names.join(", "));
            return Err(UpError::Daemon { machine: target.name.clone(), why });
        }
        for machine in &orphans {
            parts.provider.delete(&machine.id).await?;
        }
        parts.clock.sleep(parts.provider.settle() / 4).await;
    }
}

/// Puts the daemon's configuration onto the front-end and lets the daemon obey it. Repeatable.
pub async fn hand_over(
    given: &Given<'_>,
    parts: &Parts,
    (target, host): &(Target, Host),
) -> Result<(), UpError> {
    let cluster = &given.ledger.cluster;
    install(given, parts, target, host).await?;
    let grant = parts.provider.grant(cluster, &Path::new(FOLDER).join(TOKEN)).await?;
    let ledger = match ledger_on(target, parts).await? {
        Some(known) => known,
        None => draw(12).map_err(|error| UpError::Site(Box::new(error)))?,
    };
    let handover = handover(given, &grant, LedgerId(ledger.clone()));
    let config = serde_json::to_vec_pretty(&handover).map_err(HandoverError::from)?;
    for (index, script) in given.scripts.hook(host, Hook::Daemon)?.into_iter().enumerate() {
        let token: SecretSlice<u8> = grant.secret.expose_secret().as_bytes().to_vec().into();
        let file = |name: &str, content| JobFile { name: name.to_owned(), content };
        let job = Job {
            unit: format!("continuum-daemon-{}-{index}", parts.clock.now().as_millisecond()),
            script: format!("set -- {ledger}\n{script}"),
            files: vec![file(CONFIG, config.clone().into()), file(TOKEN, token)],
            blobs: Vec::new(),
            timeout: LIMIT,
        };
        run(parts, target, &job).await?;
    }
    Ok(())
}

/// Runs a job that must end well.
async fn run(parts: &Parts, target: &Target, job: &Job) -> Result<(), UpError> {
    let machine = || target.name.clone();
    let done = parts.remote.run(target, job).await;
    let done = done.map_err(|source| UpError::Remote { machine: machine(), source })?;
    if done.status == 0 {
        return Ok(());
    }
    Err(UpError::Daemon { machine: machine(), why: format!("{}: {}", job.unit, done.tail.join("\n")) })
}

/// Runs the steps of its recipe, where that has not been done: a front-end may have been Ready before any pool had a range, and
/// an upgrade brings another program.
async fn install(given: &Given<'_>, parts: &Parts, target: &Target, host: &Host) -> Result<(), UpError> {
    let steps = given.spec.pools.get(&host.pool).map_or(&[][..], |pool| pool.steps.as_slice());
    for step in steps.iter().filter(|step| step.id.recipe.as_str() == RECIPE) {
        let job = given.scripts.job(host, &step.id, BTreeMap::new())?;
        run(parts, target, &job).await?;
    }
    Ok(())
}

fn handover(given: &Given<'_>, grant: &Grant, ledger: LedgerId) -> Handover {
    let blobs = given.scripts.recipes.blobs();
    let files = blobs.files.iter().map(|(name, blob)| (name.clone(), Content::from(blob))).collect();
    let mut spec = given.spec.clone();
    spec.provider = grant.config.clone();
    // Its reader makes them again from the recipes.
    spec.pools.values_mut().for_each(|pool| pool.steps.clear());
    Handover {
        version: VERSION,
        cluster: given.ledger.cluster.clone(),
        cloud: given.ledger.cloud.clone(),
        ledger,
        spec,
        policy: given.policy.clone(),
        recipes: given.scripts.recipes.texts(),
        artifacts: Artifacts { arch: blobs.arch.clone(), files },
        images: given.scripts.images.iter().map(Content::from).collect(),
        operators: given.operators.to_vec(),
        shadow: false,
    }
}

/// Why a daemon cannot put itself together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// What was handed over.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// Its own keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The parts of a daemon's engine, but for what the caller brings.
pub struct Assembled {
    /// What was asked for, with the steps of every pool.
    pub spec: Spec,
    /// What the recipes of each pool keep from pods.
    pub reserved: BTreeMap<PoolName, (Cpu, Memory)>,
    /// What renders scripts.
    pub scripts: Arc<dyn Scripts>,
    keys: ClusterKeys,
}

/// Puts together what was handed over. `state` is the daemon's own folder: its keys are made there once, and stay there.
pub fn assemble(handover: &Handover, state: &Path) -> Result<Assembled, AssembleError> {
    let (mut spec, recipes) = handover.resolve(Path::new(BLOBS))?;
    let images: Vec<_> = handover.images.iter().map(|image| image.below(Path::new(BLOBS))).collect();
    images::add_steps(&mut spec, &images)?;
    let keys = Keys::load_or_create(&state.join("keys"), "continuum-autoscaler")?;
    Ok(Assembled {
        reserved: recipes.reserved(),
        spec,
        scripts: Arc::new(WithImages { recipes, images }),
        keys: ClusterKeys { keys: Arc::new(keys), operators: handover.operators.clone() },
    })
}

impl Assembled {
    /// Scripts on its machines, over SSH with its own key. `state` is as before.
    pub fn ssh(&self, provider: &Arc<dyn Provider>, state: &Path) -> SshRemote {
        let login = self.keys.keys.operator().private().expose_secret().to_owned().into();
        SshRemote::new(Arc::clone(provider), login, state.join("logs"))
    }

    /// What the engine works with.
    pub fn parts(
        &self,
        provider: Arc<dyn Provider>,
        remote: Arc<dyn Remote>,
        store: Arc<dyn Store>,
        events: Sink,
    ) -> Parts {
        Parts {
            provider,
            planner: crate::plan::plan,
            remote,
            scripts: Arc::clone(&self.scripts),
            store,
            keys: Arc::new(self.keys.clone()),
            clock: Clock::system(),
            events,
        }
    }
}
