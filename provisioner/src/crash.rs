//! Points at which a process can be made to die: before and after every save of the ledger, every call to the cloud and
//! every script on a machine.
//!
//! ```text
//! engine ─► points ─► store, provider, remote
//! ```
//! The points are wrappers around the parts that an engine works with, put there where the parts are put together; the
//! engine has no code for them. A test bed, as [`world`](crate::world) is: `continuum` never names this module, so that
//! nothing of it is in the program, and `tests/tests/crash.rs` looks whether that is so. The tests have a program of their
//! own (`continuum-crash`), which is `continuum` with [`between`] its engine and its parts.
//!
//! A point's name says what is done, the how manieth time in this process, and which side of it: `save:12:after`,
//! `provider.create:1:before`. Invariants: a point is told of before anything after it happens; past the fatal one nothing
//! goes on, here or in any other task.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::SecretSlice;

use crate::ledger::Ledger;
use crate::names::{CloudId, ClusterId, ClusterName, MachineId};
use crate::provider::{
    Demand, Grant, Leftover, Machine, MachineRequest, Problem, Provider, ProviderError, Scaffold, Scope,
    Stream, Tags,
};
use crate::reconcile::Parts;
use crate::remote::{Done, Job, Remote, RemoteError, Target};
use crate::spec::{Network, Shape};
use crate::store::{Store, StoreError};

/// Names the fatal point: its name, or its number from 1 on.
const AT: &str = "CONTINUUM_CRASH_AT";
/// Names the file that gets the name of every point that is passed, one a line.
const LOG: &str = "CONTINUUM_CRASH_LOG";

/// The point at which a process dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fatal {
    /// The so manieth that is passed, from 1 on.
    Number(usize),
    /// The one of this name.
    Name(String),
}

impl From<&str> for Fatal {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Number)
    }
}

/// The points of one process.
pub struct Points {
    fatal: Option<Fatal>,
    tell: Box<dyn Fn(&str) + Send + Sync>,
    die: Box<dyn Fn() + Send + Sync>,
    passed: Mutex<Passed>,
}

#[derive(Default)]
struct Passed {
    names: Vec<String>,
    times: BTreeMap<&'static str, usize>,
    dead: bool,
}

impl Points {
    /// Points of which one may be fatal. `tell` hears of each that is passed, `die` ends the process, or what stands for it.
    pub fn new(
        fatal: Option<Fatal>,
        tell: impl Fn(&str) + Send + Sync + 'static,
        die: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { fatal, tell: Box::new(tell), die: Box::new(die), passed: Mutex::default() })
    }

    /// The names of all that were passed so far, in order.
    pub fn passed(&self) -> Vec<String> {
        self.locked().names.clone()
    }

    /// The same parts with the points around them.
    pub fn around(self: &Arc<Self>, parts: Parts) -> Parts {
        let points = || Arc::clone(self);
        Parts {
            provider: Arc::new(Cloud { points: points(), inner: parts.provider }),
            remote: Arc::new(Machines { points: points(), inner: parts.remote }),
            store: Arc::new(Book { points: points(), inner: parts.store }),
            ..parts
        }
    }

    fn locked(&self) -> MutexGuard<'_, Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn of<T>(&self, what: &'static str, work: impl Future<Output = T> + Send) -> T {
        let time = {
            let mut passed = self.locked();
            let times = passed.times.entry(what).or_default();
            *times += 1;
            *times
        };
        self.pass(format!("{what}:{time}:before")).await;
        let result = work.await;
        self.pass(format!("{what}:{time}:after")).await;
        result
    }

    async fn pass(&self, name: String) {
        if self.is_last(name) {
            (self.die)();
        }
        if self.locked().dead {
            // A signal comes when it comes, and other tasks run on until then.
            std::future::pending::<()>().await;
        }
    }

    /// Whether this is the fatal point. The dead pass none.
    fn is_last(&self, name: String) -> bool {
        let mut passed = self.locked();
        if passed.dead {
            return false;
        }
        (self.tell)(&name);
        passed.names.push(name);
        passed.dead = match (&self.fatal, passed.names.last()) {
            (Some(Fatal::Number(number)), _) => passed.names.len() == *number,
            (Some(Fatal::Name(fatal)), last) => last == Some(fatal),
            (None, _) => false,
        };
        passed.dead
    }
}

/// The parts with the points of this process around them, as the environment says: `CONTINUUM_CRASH_AT=<number or name>` makes
/// it kill itself there, so that it has no chance to write anything down; `CONTINUUM_CRASH_LOG=<file>` gets the names of
/// those that are passed. Without either: the parts as they are.
pub fn between(parts: Parts) -> Parts {
    // A process may put parts together more than once, and its points are counted through.
    static POINTS: OnceLock<Option<Arc<Points>>> = OnceLock::new();
    match POINTS.get_or_init(of_environment) {
        Some(points) => points.around(parts),
        None => parts,
    }
}

fn of_environment() -> Option<Arc<Points>> {
    let fatal = crate::env::var(AT).map(|text| Fatal::from(text.as_str()));
    let log = crate::env::path(LOG);
    if fatal.is_none() && log.is_none() {
        return None;
    }
    let tell = move |name: &str| {
        if let Some(path) = &log
            && let Err(error) = append(path, name)
        {
            tracing::error!(path = %path.display(), %error, "a point could not be written down");
        }
    };
    let die = || {
        if let Err(error) = kill(Pid::this(), Signal::SIGKILL) {
            tracing::error!(%error, "this process could not kill itself");
        }
    };
    Some(Points::new(fatal, tell, die))
}

fn append(path: &PathBuf, line: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// The ledger's store.
struct Book {
    points: Arc<Points>,
    inner: Arc<dyn Store>,
}

#[async_trait]
impl Store for Book {
    async fn load(&self) -> Result<Option<Ledger>, StoreError> {
        self.inner.load().await
    }
    async fn save(&self, ledger: &Ledger, expected: u64) -> Result<(), StoreError> {
        self.points.of("save", self.inner.save(ledger, expected)).await
    }
}

/// Scripts on machines.
struct Machines {
    points: Arc<Points>,
    inner: Arc<dyn Remote>,
}

#[async_trait]
impl Remote for Machines {
    async fn run(&self, target: &Target, job: &Job) -> Result<Done, RemoteError> {
        self.points.of("remote.run", self.inner.run(target, job)).await
    }
    async fn ask(&self, target: &Target, script: &str) -> Result<SecretSlice<u8>, RemoteError> {
        self.points.of("remote.ask", self.inner.ask(target, script)).await
    }
}

/// The cloud. A connection to a machine has no points: it is a part of what runs there.
struct Cloud {
    points: Arc<Points>,
    inner: Arc<dyn Provider>,
}

#[async_trait]
impl Provider for Cloud {
    fn settle(&self) -> Duration {
        self.inner.settle()
    }
    async fn cloud(&self) -> Result<CloudId, ProviderError> {
        self.points.of("provider.cloud", self.inner.cloud()).await
    }
    async fn check(&self, demand: &Demand) -> Result<Vec<Problem>, ProviderError> {
        self.points.of("provider.check", self.inner.check(demand)).await
    }
    async fn scaffold(&self, cluster: &ClusterId, network: &Network) -> Result<Scaffold, ProviderError> {
        self.points.of("provider.scaffold", self.inner.scaffold(cluster, network)).await
    }
    async fn find_scaffold(&self, cluster: &ClusterId) -> Result<Option<Scaffold>, ProviderError> {
        self.points.of("provider.find-scaffold", self.inner.find_scaffold(cluster)).await
    }
    async fn clusters(&self, name: &ClusterName) -> Result<Vec<ClusterId>, ProviderError> {
        self.points.of("provider.clusters", self.inner.clusters(name)).await
    }
    async fn list(&self, scope: &Scope) -> Result<Vec<Machine>, ProviderError> {
        self.points.of("provider.list", self.inner.list(scope)).await
    }
    async fn exists(&self, id: &MachineId) -> Result<bool, ProviderError> {
        self.points.of("provider.exists", self.inner.exists(id)).await
    }
    async fn create(&self, request: &MachineRequest) -> Result<(), ProviderError> {
        self.points.of("provider.create", self.inner.create(request)).await
    }
    async fn start(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.points.of("provider.start", self.inner.start(id)).await
    }
    async fn retag(&self, id: &MachineId, tags: &Tags) -> Result<(), ProviderError> {
        self.points.of("provider.retag", self.inner.retag(id, tags)).await
    }
    async fn delete(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.points.of("provider.delete", self.inner.delete(id)).await
    }
    async fn shapes(&self) -> Result<Vec<Shape>, ProviderError> {
        self.points.of("provider.shapes", self.inner.shapes()).await
    }
    async fn sweep(&self, cluster: &ClusterId) -> Result<Vec<Leftover>, ProviderError> {
        self.points.of("provider.sweep", self.inner.sweep(cluster)).await
    }
    async fn grant(&self, cluster: &ClusterId, file: &Path) -> Result<Grant, ProviderError> {
        self.points.of("provider.grant", self.inner.grant(cluster, file)).await
    }
    async fn revoke(&self, cluster: &ClusterId) -> Result<(), ProviderError> {
        self.points.of("provider.revoke", self.inner.revoke(cluster)).await
    }
    async fn dial(&self, machine: &Machine, port: u16) -> Result<Stream, ProviderError> {
        self.inner.dial(machine, port).await
    }
    async fn console(&self, id: &MachineId) -> Result<String, ProviderError> {
        self.points.of("provider.console", self.inner.console(id)).await
    }
}
