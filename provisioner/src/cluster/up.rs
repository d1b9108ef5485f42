//! `cluster up` and `cluster plan`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::bake::Bake;
use super::daemon::Given;
use super::images::WithImages;
use super::input::Input;
use super::site::Site;
use crate::handover::HandoverError;
use crate::ledger::Ledger;
use crate::names::{ImageName, MachineName, PoolName};
use crate::plan::{Limits, Plan, Stop, lost_front_end};
use crate::policy::Policy;
use crate::provider::{Demand, Problem, ProviderError};
use crate::recipe::{Hook, Host, RenderError};
use crate::reconcile::{Ended, Parts, Reconciler};
use crate::remote::{Job, RemoteError, Target};
use crate::spec::Spec;
use crate::state::{StateError, write_private};
use crate::store::StoreError;

/// How long the cluster as a whole may take to be usable once its machines are Ready: image pulls of its own
/// services are over by then, and who waits longer wants to look at it.
const SETTLED: Duration = Duration::from_secs(180);

/// Why `up` could not go on, beside what the engine itself says.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cloud.
    #[error(transparent)]
    Cloud(#[from] ProviderError),
    /// A recipe.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A front-end.
    #[error("{machine}")]
    Remote {
        /// Which.
        machine: MachineName,
        /// Why.
        source: RemoteError,
    },
    /// Machines are Ready, but the cluster is not usable.
    #[error("every machine is Ready, but the cluster is not usable yet: {why}")]
    NotUsable {
        /// The last lines of the check.
        why: String,
    },
    /// The autoscaler does not take what it is handed.
    #[error("{machine}: the autoscaler could not be configured: {why}")]
    Daemon {
        /// Where.
        machine: MachineName,
        /// The last lines of its hook.
        why: String,
    },
    /// What is handed to it.
    #[error("the autoscaler's configuration")]
    Handover(#[from] HandoverError),
    /// No random bytes.
    #[error(transparent)]
    Site(Box<super::site::SiteError>),
    /// The kubeconfig could not be written.
    #[error("the kubeconfig could not be written")]
    Kubeconfig(#[from] StateError),
}

/// A run of `up` that is prepared: looked at, nothing done.
pub struct Up {
    spec: Spec,
    engine: Reconciler,
    parts: Parts,
    before: Ledger,
    daemon: Option<ForDaemon>,
}

/// What `up` is about to do.
#[derive(Debug, Serialize)]
pub struct Outlook {
    /// Machines to make, by pool.
    pub create: BTreeMap<PoolName, u32>,
    /// Machines to drain and delete.
    pub remove: Vec<MachineName>,
    /// An image that is made first.
    pub bake: Option<ImageName>,
    /// Every change and action of the first pass, as text.
    pub lines: Vec<String>,
    /// Ready machines whose recipes have changed since; they are left as they are.
    pub outdated: Vec<MachineName>,
    /// Why nothing can be done.
    pub stop: Option<String>,
    /// The front-end that is lost, if that is why: a person may give it up.
    pub lost_front_end: Option<MachineName>,
    /// What would fail.
    pub problems: Vec<Problem>,
}

impl Outlook {
    /// Whether everything is as asked for already.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// A spec in which no pool of the daemon's has a minimum: nobody makes it before there is a daemon.
fn without_minima(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    for pool in spec.pools.values_mut().filter(|pool| pool.is_elastic()) {
        pool.size = 0..=*pool.size.end();
    }
    spec
}

/// A run for a spec of the caller's own.
pub fn of(
    site: &Site,
    spec: Spec,
    scripts: Arc<dyn crate::recipe::Scripts>,
    events: crate::events::Sink,
    limits: Limits,
) -> Up {
    let parts = site.parts(scripts, events);
    let engine = Reconciler::new(parts.clone(), site.ledger.clone(), limits);
    Up { spec, engine, parts, before: site.ledger.clone(), daemon: None }
}

/// Prepares `up` of a cluster. `accept_lost`: a person said that machines which are gone together are lost.
pub fn prepare(site: &Site, input: Input, events: crate::events::Sink, accept_lost: bool) -> Up {
    let limits = Limits { accept_vanished: accept_lost, ..Limits::default() };
    let scripts = Arc::new(input.scripts);
    let daemon = input.autoscaler.then(|| ForDaemon {
        policy: input.policy,
        scripts: Arc::clone(&scripts),
        operators: site.authorized(&input.spec.operators),
    });
    Up { daemon, ..of(site, input.spec, scripts, events, limits) }
}

/// What the daemon of a cluster with elastic pools gets, beside the spec.
struct ForDaemon {
    policy: Policy,
    scripts: Arc<WithImages>,
    operators: Vec<String>,
}

impl Up {
    /// Looks at what is there, and says what would be done and what would fail.
    pub async fn outlook(&mut self) -> Result<Outlook, UpError> {
        let plan = self.engine.preview(&self.spec).await;
        let problems = self.parts.provider.check(&self.demand(&plan)).await?;
        let text = plan.describe(&self.before);
        let lost = plan.stop.as_ref().and_then(|stop| self.lost_front_end(stop));
        let lost_front_end = lost.map(|(name, _)| name);
        let stop = Stop::closing(&self.before).or(plan.stop.clone()).as_ref().map(Stop::to_string);
        let wait = |line: &str| line.starts_with("wait ") || line.starts_with("stop: ");
        let lines = text.lines().filter(|line| !wait(line)).map(str::to_owned).collect();
        let (create, remove) = self.changes(&plan);
        let outdated = plan.outdated;
        Ok(Outlook { create, remove, bake: None, lines, outdated, stop, lost_front_end, problems })
    }

    fn changes(&self, plan: &Plan) -> (BTreeMap<PoolName, u32>, Vec<MachineName>) {
        let mut create = BTreeMap::new();
        let mut remove = Vec::new();
        for (name, row) in plan.ledger.rows() {
            let was = self.before.row(name);
            if was.is_none() && row.machine().is_none() {
                *create.entry(row.pool.clone()).or_default() += 1;
            }
            if was.is_some_and(|was| was.phase().is_live()) && !row.phase().is_live() {
                remove.push(name.clone());
            }
        }
        (create, remove)
    }

    /// What the cloud must have room for: the rows that have no machine yet.
    fn demand(&self, plan: &Plan) -> Demand {
        let new = plan.ledger.rows().values().filter(|row| row.phase().is_live() && row.machine().is_none());
        Demand {
            cluster: self.spec.cluster.clone(),
            network: self.spec.network.clone(),
            machines: new.map(|row| (1, row.shape.clone(), row.image.clone())).collect(),
        }
    }

    /// Lets new machines boot a prepared image.
    pub fn serve(&mut self, image: &Bake) {
        image.serve(&mut self.spec);
    }

    /// The front-end that this stop says is lost, if a person may give it up, and what became of it.
    pub fn lost_front_end(&self, stop: &Stop) -> Option<(MachineName, String)> {
        lost_front_end(self.engine.ledger(), stop)
    }

    /// A person gives this front-end up: the next [`run`](Self::run) makes the cluster anew.
    pub fn give_up_front_end(&mut self, name: MachineName) {
        self.before = self.engine.ledger().clone();
        self.engine.give_up_front_end(name);
    }

    /// What was asked for.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The ledger, with everything that this run knows.
    pub fn ledger(&self) -> &Ledger {
        self.engine.ledger()
    }

    /// Makes it so: passes of the engine until nothing is left to do.
    pub async fn run(&mut self, cancel: &CancellationToken) -> Result<Ended, UpError> {
        if let Some(stop) = Stop::closing(&self.before) {
            return Ok(Ended::Stopped(stop));
        }
        if self.daemon.is_none() {
            return Ok(self.engine.settle(&self.spec, cancel).await?);
        }
        // A daemon that is there is told first: it lets go of pools that are no longer its own. One that is not is installed
        // with its front-end, and nobody makes the minima of its pools before.
        if !self.hand_over().await? {
            let ended = self.engine.settle(&without_minima(&self.spec), cancel).await?;
            if ended != Ended::Settled {
                return Ok(ended);
            }
            self.hand_over().await?;
        }
        Ok(self.engine.settle(&self.spec, cancel).await?)
    }

    /// Hands over to the daemon. Whether there is a front-end for it.
    async fn hand_over(&self) -> Result<bool, UpError> {
        let (Some(daemon), Some(front_end)) = (&self.daemon, self.engine.front_end()) else {
            return Ok(false);
        };
        let given = Given {
            ledger: self.engine.ledger(),
            spec: &self.spec,
            policy: &daemon.policy,
            scripts: &daemon.scripts,
            operators: &daemon.operators,
        };
        let nodes = self.engine.nodes_now().await;
        super::daemon::clear_orphans(given.ledger, &self.parts, &front_end.0, &nodes).await?;
        super::daemon::hand_over(&given, &self.parts, &front_end).await?;
        Ok(true)
    }

    /// Waits until the cluster as a whole is usable, by the recipes' own checks.
    pub async fn usable(&self) -> Result<(), UpError> {
        let Some((target, host)) = self.engine.front_end() else { return Ok(()) };
        for (index, script) in self.parts.scripts.hook(&host, Hook::Settled)?.into_iter().enumerate() {
            // the generation in the name: a machine keeps a unit's result, and this is to be asked anew
            let job = Job {
                unit: format!("continuum-settled-{}-{index}", self.parts.clock.now().as_millisecond()),
                script,
                files: Vec::new(),
                blobs: Vec::new(),
                timeout: SETTLED,
            };
            let done = self.parts.remote.run(&target, &job).await;
            let done = done.map_err(|source| UpError::Remote { machine: target.name.clone(), source })?;
            if done.status != 0 {
                return Err(UpError::NotUsable { why: done.tail.join("\n") });
            }
        }
        Ok(())
    }

    /// Fetches the operator's kubeconfig; `None` if no recipe brings one.
    pub async fn kubeconfig(&self, site: &Site) -> Result<Option<std::path::PathBuf>, UpError> {
        let Some((target, host)) = self.engine.front_end() else { return Ok(None) };
        let Some(content) = fetch_kubeconfig(&self.parts, &target, &host).await? else { return Ok(None) };
        let path = site.dir.kubeconfig();
        let same = std::fs::read(&path).is_ok_and(|old| old == content.expose_secret());
        if !same {
            write_private(&path, content.expose_secret())?;
        }
        Ok(Some(path))
    }
}

async fn fetch_kubeconfig(
    parts: &Parts,
    target: &Target,
    host: &Host,
) -> Result<Option<secrecy::SecretSlice<u8>>, UpError> {
    let Some(script) = parts.scripts.hook(host, Hook::Kubeconfig)?.into_iter().next() else {
        return Ok(None);
    };
    let asked = parts.remote.ask(target, &script).await;
    Ok(Some(asked.map_err(|source| UpError::Remote { machine: target.name.clone(), source })?))
}
