//! [`SshRemote`]: the trait over SSH. Connections by machine, threads, reconnects.
//!
//! libssh2 blocks, so every operation has an OS thread of its own while it lasts: never one of the runtime's, nor of
//! its shared blocking pool, which a few long steps would fill. A connection that is still good is kept for the next
//! script on that machine (connecting and logging in costs 100 ms).
//!
//! A connection that drops under a job is made again by [`run`](Remote::run) itself, [`PAUSES`] times; then it returns
//! [`RemoteError::Dropped`], and calling it again joins the unit where it is. Dropping the future closes the
//! connection within seconds; the unit goes on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::{SecretSlice, SecretString};
use tokio::sync::{Semaphore, oneshot};

use crate::clock::monotonic;
use crate::names::MachineId;
use crate::provider::{Provider, Stream};

use super::log::Log;
use super::ssh::Link;
use super::talk::{self, Gone};
use super::wire::Request;
use super::{Done, Job, Remote, RemoteError, Target};

/// Where sshd listens, inside and outside clouds.
const PORT: u16 = 22;
/// A machine that does not take a connection in this time is not up.
const DIAL: Duration = Duration::from_secs(10);
/// Jobs at once, each a thread that mostly sleeps; questions have their own limit, as jobs wait for answers.
const JOBS: usize = 256;
const QUESTIONS: usize = 64;
/// A connection that nobody used for so long may be dead without knowing it: a new one is safer.
const IDLE: Duration = Duration::from_secs(20);
/// Idle connections kept of one machine.
const IDLE_EACH: usize = 3;
/// Before each new connection after one that dropped.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(4)];

/// A machine and the host keys that it was reached with: after a rotation its connections are made anew.
type Key = (MachineId, Vec<String>);
type Work<T> = Arc<dyn Fn(&mut Link, Gone) -> Result<T, RemoteError> + Send + Sync>;

/// Scripts on machines over SSH.
pub struct SshRemote {
    provider: Arc<dyn Provider>,
    key: SecretString,
    log_dir: PathBuf,
    idle: Arc<Idle>,
    jobs: Arc<Semaphore>,
    questions: Arc<Semaphore>,
}

impl SshRemote {
    /// `key`: the operator's private key in OpenSSH's format. `log_dir` gets one log per machine.
    pub fn new(provider: Arc<dyn Provider>, key: SecretString, log_dir: PathBuf) -> Self {
        Self {
            provider,
            key,
            log_dir,
            idle: Arc::default(),
            jobs: Arc::new(Semaphore::new(JOBS)),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    async fn dial(&self, target: &Target) -> Result<Stream, RemoteError> {
        match tokio::time::timeout(DIAL, self.provider.dial(&target.machine, PORT)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(RemoteError::NotUp(e.to_string())),
            Err(_) => Err(RemoteError::NotUp(format!("no connection within {}s", DIAL.as_secs()))),
        }
    }

    /// Does the work over a connection that is there, or over a new one; again if the connection drops.
    async fn with_link<T: Send + 'static>(
        &self,
        target: &Target,
        limit: &Arc<Semaphore>,
        work: Work<T>,
    ) -> Result<T, RemoteError> {
        let permit = Arc::clone(limit).acquire_owned().await;
        let _permit = permit.map_err(|e| RemoteError::Here(e.to_string()))?;
        let key = (target.machine.id.clone(), target.host_keys.clone());
        if let Some(link) = self.idle.take(&key) {
            match self.on_thread(target, &key, From::from(link), &work).await {
                // it was dead before we used it: that is no failure of the machine
                Err(RemoteError::Dropped(why)) => tracing::debug!(machine = %target.name, why, "idle link"),
                other => return other,
            }
        }
        let mut was_up = false;
        let mut pauses = PAUSES.iter();
        loop {
            let result = match self.dial(target).await {
                Ok(stream) => self.on_thread(target, &key, From::from(stream), &work).await,
                Err(e) => Err(e),
            };
            let why = match result {
                Err(RemoteError::Dropped(why)) => why,
                Err(RemoteError::NotUp(why)) if was_up => why,
                other => return other,
            };
            was_up = true;
            let Some(pause) = pauses.next() else { return Err(RemoteError::Dropped(why)) };
            tracing::debug!(machine = %target.name, why, "connection dropped, connecting again");
            tokio::time::sleep(*pause).await;
        }
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        target: &Target,
        key: &Key,
        over: Over,
        work: &Work<T>,
    ) -> Result<T, RemoteError> {
        let (reply, result) = oneshot::channel();
        let (work, idle, key, login_key) =
            (Arc::clone(work), Arc::clone(&self.idle), key.clone(), self.key.clone());
        let body = move || {
            let gone = || reply.is_closed();
            let result = over.link(&login_key, &key.1).and_then(|mut link| {
                let result = work(&mut link, &gone);
                if matches!(
                    result,
                    Ok(_) | Err(RemoteError::TimedOut { .. } | RemoteError::ScriptFailed { .. })
                ) {
                    link.until(None);
                    idle.put(key, link);
                }
                result
            });
            // nobody waits any more: nothing to tell
            let _ = reply.send(result);
        };
        std::thread::Builder::new()
            .name(format!("ssh {}", target.name))
            .spawn(body)
            .map_err(|e| RemoteError::Here(format!("no thread for {}: {e}", target.name)))?;
        result.await.unwrap_or_else(|_| Err(RemoteError::Here("the connection's thread ended".into())))
    }
}

#[async_trait]
impl Remote for SshRemote {
    async fn run(&self, target: &Target, job: &Job) -> Result<Done, RemoteError> {
        let request = Request::of(job).map_err(RemoteError::Here)?;
        let (dir, name) = (self.log_dir.clone(), target.name.clone());
        let work: Work<Done> = Arc::new(move |link, gone| {
            let mut log = Log::open(&dir, &name, &request.unit)
                .map_err(|e| RemoteError::Here(format!("log of {name} in {}: {e}", dir.display())))?;
            talk::run(link, &request, &mut log, gone)
        });
        self.with_link(target, &self.jobs, work).await
    }

    async fn ask(&self, target: &Target, script: &str) -> Result<SecretSlice<u8>, RemoteError> {
        let script = script.to_owned();
        let work: Work<SecretSlice<u8>> = Arc::new(move |link, gone| talk::ask(link, &script, gone));
        self.with_link(target, &self.questions, work).await
    }
}

/// What an operation goes over.
enum Over {
    Link(Link),
    Stream(Stream),
}
impl From<Link> for Over {
    fn from(link: Link) -> Self {
        Self::Link(link)
    }
}
impl From<Stream> for Over {
    fn from(stream: Stream) -> Self {
        Self::Stream(stream)
    }
}
impl Over {
    fn link(self, key: &SecretString, host_keys: &[String]) -> Result<Link, RemoteError> {
        match self {
            Self::Link(link) => Ok(link),
            Self::Stream(stream) => Link::login(stream, key, host_keys),
        }
    }
}

/// Connections that wait for their next use.
#[derive(Default)]
struct Idle(Mutex<HashMap<Key, Vec<(Link, Instant)>>>);

impl Idle {
    fn take(&self, key: &Key) -> Option<Link> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prune(&mut all);
        Some(all.get_mut(key)?.pop()?.0)
    }

    fn put(&self, key: Key, link: Link) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prune(&mut all);
        let links = all.entry(key).or_default();
        if links.len() < IDLE_EACH {
            links.push((link, monotonic()));
        }
    }
}

fn prune(all: &mut HashMap<Key, Vec<(Link, Instant)>>) {
    let now = monotonic();
    all.retain(|_, links| {
        links.retain(|(_, since)| now.duration_since(*since) < IDLE);
        !links.is_empty()
    });
}
