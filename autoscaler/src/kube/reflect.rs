//! Caches by watching: every kind is listed once in pages and then followed.
//!
//! ```text
//!   list, page by page ─► replace ─► watch from there ─► put, remove ─┐
//!        ▲                             ▲    closed by the server ─────┘
//!        └── 410, refused, or lost     └─── connection lost: again from the last version, with growing pauses
//!            for more than 5 s
//! ```
//!
//! The crate's own `watcher` says nothing when a broken watch is back, nor when a bookmark comes: a quiet kind would stay in error for
//! ever, and one whose connection has died without a word would look healthy for five minutes. Invariants: what is
//! shown is what was seen, and [`Health`] says how far that goes; a list that broke off replaces nothing; a watch from
//! which nothing is heard is given up.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use provisioner::clock;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use tokio::sync::watch;

use super::Snapshot;
use super::cache::{self, KINDS, Kept, Objects, World};
use super::health::Health;
use super::rest::{Fault, Rest, chain, text_at, within};

/// Objects in one page: of the largest pods that is some megabytes at a time.
const PAGE: u32 = 250;
/// One page may take so long on a busy server.
const LIST_WAIT: Duration = Duration::from_secs(30);
/// The server ends a watch after so long, and says just before how far it has come. Short, so that a connection which
/// has died without a word is noticed soon; a new watch costs the server next to nothing.
const WATCH_SECS: u32 = 20;
/// Silence for longer is no quiet kind but a dead connection.
const WATCH_SILENCE: Duration = Duration::from_secs(25);
/// A watch begins within this time.
const WATCH_START: Duration = Duration::from_secs(10);
/// A watch that lasted so long was a good one: the next failure is a new one.
const GOOD: Duration = Duration::from_secs(5);
/// An API that is not there is asked for again so often.
const ABSENT_PAUSE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the watches write and the ticks read.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<(World, Health)>,
    turn: watch::Sender<u64>,
    seen: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> Self {
        let health = Health::new(KINDS, clock::monotonic());
        let state = Mutex::new((World::default(), health));
        Self { state, turn: watch::Sender::new(0), seen: AtomicU64::new(u64::MAX) }
    }

    fn lock(&self) -> MutexGuard<'_, (World, Health)> {
        // A panic elsewhere leaves whole objects behind: every change is one insertion.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) {
        self.turn.send_modify(|turn| *turn = turn.wrapping_add(1));
    }

    /// Changes what is known of freshness; whoever waits is woken if that makes an old view fresh.
    pub(super) fn health<R>(&self, change: impl FnOnce(&mut Health, Instant) -> R) -> R {
        let now = clock::monotonic();
        let health = &mut self.lock().1;
        let result = change(health, now);
        let stale = health.stale(now).is_some();
        if std::mem::replace(&mut health.said_stale, stale) && !stale {
            self.turn();
        }
        result
    }

    pub(super) fn view(&self) -> Snapshot {
        // Before the view is made: what changes meanwhile wakes whoever waits afterwards.
        self.seen.store(*self.turn.borrow(), Ordering::Relaxed);
        let mut state = self.lock();
        let (world, health) = &mut *state;
        Snapshot { view: world.view(), stale: health.stale(clock::monotonic()) }
    }

    pub(super) async fn changed(&self) {
        let mut turn = self.turn.subscribe();
        // The sender lives as long as this does.
        let _ = turn.wait_for(|turn| *turn != self.seen.load(Ordering::Relaxed)).await;
    }
}

/// Why a list or a watch ended before its time.
#[derive(Debug)]
enum Broken {
    /// The API server has no such kind.
    Absent(String),
    /// It goes on from a new list only.
    Anew(Instant, String),
    /// It may go on from where it was.
    Again(Instant, String),
}

/// Follows a kind for ever.
pub(super) async fn follow<T: Kept>(shared: std::sync::Arc<Shared>, rest: Rest) {
    // Where the watch goes on; nothing before the first list.
    let mut version: Option<String> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let began = clock::monotonic();
        let outcome = match &mut version {
            None => list::<T>(&shared, &rest).await.map(|at| version = Some(at)).map(|()| true),
            Some(version) => follow_on::<T>(&shared, &rest, version).await.map(|()| false),
        };
        let lasted = clock::monotonic().saturating_duration_since(began);
        if lasted > GOOD {
            pause = FIRST_PAUSE;
        }
        match outcome {
            // A list goes on into its watch, and so does a watch that came to its end; one that ended at once waits.
            Ok(listed) if listed || lasted > GOOD => continue,
            Ok(_) => {}
            Err(Broken::Absent(why)) => {
                shared.health(|health, now| health.absent(T::KIND, now, why));
                tokio::time::sleep(ABSENT_PAUSE).await;
                continue;
            }
            Err(Broken::Anew(since, why)) => {
                version = None;
                fails::<T>(&shared, since, why);
            }
            Err(Broken::Again(since, why)) => {
                if fails::<T>(&shared, since, why) {
                    version = None;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn fails<T: Kept>(shared: &Shared, since: Instant, why: String) -> bool {
    tracing::debug!(kind = T::KIND, error = why, "watch in error");
    shared.health(|health, now| health.fails(T::KIND, since, now, why))
}

fn broken<T: Kept>(fault: &Fault) -> Broken {
    let (now, words) = (clock::monotonic(), fault.to_string());
    match fault.code() {
        // Of the kinds that are always there it is not believed.
        Some(404) if T::OPTIONAL => Broken::Absent(words),
        // Too old, too far ahead after a restored backup, or no longer allowed: only a list tells.
        Some(_) => Broken::Anew(now, words),
        None => Broken::Again(now, words),
    }
}

/// Reads everything; the version that it was read at.
async fn list<T: Kept>(shared: &Shared, rest: &Rest) -> Result<String, Broken> {
    let mut all: Objects<T> = BTreeMap::new();
    // No resourceVersion: what is read is at least as new as this moment.
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let text = rest.list(T::PATH, &params, LIST_WAIT).await.map_err(|fault| broken::<T>(&fault))?;
        let page: Page<T> = serde_json::from_str(&text)
            .map_err(|_| Broken::Anew(clock::monotonic(), "a page of its list cannot be read".to_owned()))?;
        all.extend(page.items.0);
        match page.metadata.next {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => {
                {
                    let (world, health) = &mut *shared.lock();
                    T::kept(world).replace(all);
                    health.flows(T::KIND);
                }
                shared.turn();
                return Ok(page.metadata.version);
            }
        }
    }
}

/// Follows from a version, which goes on with it, until the server ends the watch in good order.
async fn follow_on<T: Kept>(shared: &Shared, rest: &Rest, version: &mut String) -> Result<(), Broken> {
    let params = WatchParams::default().timeout(WATCH_SECS);
    let again = |words: String| Broken::Again(clock::monotonic(), words);
    let request = Request::new(T::PATH).watch(&params, version).map_err(|error| again(error.to_string()))?;
    let events = within(WATCH_START, rest.client.request_events::<Value>(request))
        .await
        .map_err(|fault| broken::<T>(&fault))?;
    shared.health(|health, _| health.flows(T::KIND));
    let mut events = pin!(events);
    let mut heard = clock::monotonic();
    loop {
        let Ok(event) = tokio::time::timeout(WATCH_SILENCE, events.next()).await else {
            return Err(Broken::Again(heard, "nothing is heard of it".to_owned()));
        };
        heard = clock::monotonic();
        match event {
            None => return Ok(()),
            Some(Ok(event)) => take::<T>(shared, event, version)?,
            Some(Err(kube::Error::Api(status))) => return Err(broken::<T>(&Fault::Api(status))),
            Some(Err(error)) => return Err(Broken::Anew(heard, chain(&error))),
        }
    }
}

fn take<T: Kept>(shared: &Shared, event: WatchEvent<Value>, version: &mut String) -> Result<(), Broken> {
    let nameless = || Broken::Anew(clock::monotonic(), "an object of it has no name".to_owned());
    let (changed, at) = match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            let entry = cache::read::<T>(&object).ok_or_else(nameless)?;
            (
                T::kept(&mut shared.lock().0).put(entry),
                text_at(&object, "/metadata/resourceVersion").to_owned(),
            )
        }
        WatchEvent::Deleted(object) => {
            let (path, _) = cache::read::<T>(&object).ok_or_else(nameless)?;
            (
                T::kept(&mut shared.lock().0).remove(&path),
                text_at(&object, "/metadata/resourceVersion").to_owned(),
            )
        }
        WatchEvent::Bookmark(bookmark) => (false, bookmark.metadata.resource_version),
        WatchEvent::Error(status) => {
            return Err(Broken::Anew(clock::monotonic(), Fault::Api(status).to_string()));
        }
    };
    if !at.is_empty() {
        *version = at;
    }
    if changed {
        shared.turn();
    }
    Ok(())
}

/// One page of a list; each object is read and dropped before the next one is.
#[derive(Deserialize)]
#[serde(bound = "T: Kept")]
struct Page<T> {
    metadata: PageMeta,
    items: Items<T>,
}

#[derive(Deserialize)]
struct PageMeta {
    #[serde(rename = "resourceVersion")]
    version: String,
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

struct Items<T>(Vec<(String, cache::Entry<T>)>);

impl<'de, T: Kept> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each<T>(PhantomData<T>);
        impl<'de, T: Kept> Visitor<'de> for Each<T> {
            type Value = Items<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of objects")
            }
            // Go writes an empty list as null where nobody has made one.
            fn visit_unit<E>(self) -> Result<Items<T>, E> {
                Ok(Items(Vec::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(value) = list.next_element::<Value>()? {
                    let read = cache::read(&value);
                    items.push(read.ok_or_else(|| serde::de::Error::custom("an object without a name"))?);
                }
                Ok(Items(items))
            }
        }
        from.deserialize_any(Each(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;
    use crate::view::{CsiNode, Node};

    #[test]
    fn a_page_without_a_list_is_no_empty_page() {
        let read = |text: &str| serde_json::from_str::<Page<Node>>(text).map(|page| page.items.0.len()).ok();
        let head = r#""metadata": {"resourceVersion": "7"}"#;
        assert_eq!(read(&format!(r#"{{{head}, "items": [{{"metadata": {{"name": "a"}}}}]}}"#)), Some(1));
        assert_eq!(read(&format!(r#"{{{head}, "items": null}}"#)), Some(0));
        assert_eq!(read(&format!("{{{head}}}")), None);
        assert_eq!(read(&format!(r#"{{{head}, "items": "none"}}"#)), None);
        assert_eq!(read(&format!(r#"{{{head}, "items": [{{}}]}}"#)), None);
        assert_eq!(read(r#"{"metadata": {}, "items": []}"#), None);
    }

    #[test]
    fn a_kind_that_every_cluster_has_is_never_taken_for_absent() {
        let missing = Fault::Api(Status::failure("not found", "NotFound").with_code(404).boxed());
        assert!(matches!(broken::<CsiNode>(&missing), Broken::Absent(_)));
        assert!(matches!(broken::<Node>(&missing), Broken::Anew(..)));
        let silent = Fault::Silent("no answer".into());
        assert!(matches!(broken::<CsiNode>(&silent), Broken::Again(..)));
    }

    #[test]
    fn a_view_names_what_is_missing_and_a_change_wakes_once() {
        let shared = Shared::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let wakes = || {
            let patience = Duration::from_millis(50);
            runtime.block_on(async { tokio::time::timeout(patience, shared.changed()).await.is_ok() })
        };
        assert!(wakes(), "nothing was looked at yet");
        assert!(shared.view().stale.is_some());
        assert!(!wakes());
        let mut version = String::new();
        let node = |at: &str| json!({"metadata": {"name": "a", "resourceVersion": at}});
        take::<Node>(&shared, WatchEvent::Added(node("1")), &mut version).unwrap();
        assert!(wakes() && wakes(), "until somebody looks");
        assert_eq!((shared.view().view.nodes.len(), version.as_str()), (1, "1"));
        take::<Node>(&shared, WatchEvent::Modified(node("2")), &mut version).unwrap();
        assert!(!wakes(), "nothing to decide by has changed");
        take::<Node>(&shared, WatchEvent::Deleted(node("3")), &mut version).unwrap();
        assert!(wakes());
        assert_eq!((shared.view().view.nodes.len(), version.as_str()), (0, "3"));
    }
}
