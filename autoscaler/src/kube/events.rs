//! Events: what is said about a pod or a node to whoever describes it.
//!
//! The crate's own recorder counts events of one reason as one, whatever their words, and keeps the first ones. Here the same words about the
//! same thing are counted. Invariants: a tick that says the same ten times a second costs one write a minute; there is an
//! end to what is remembered; an event that is lost is lost.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use provisioner::clock;
use serde_json::{Value, json};

use super::rest::{Rest, namespaced};
use super::{About, Tone};

const API: &str = "/apis/events.k8s.io/v1";
const CONTROLLER: &str = "continuum.dev/autoscaler";
/// The API server takes 1 kB.
const WORDS_MAX: usize = 1000;
const REASON_MAX: usize = 128;
/// A count is written so often.
const AGAIN: Duration = Duration::from_secs(60);
/// The API server forgets an event after an hour; what was not said for so long is new.
const FORGOTTEN: Duration = Duration::from_secs(30 * 60);
/// More than this is not remembered: a storm of events makes some of them new again.
const REMEMBERED: usize = 4096;
const WAIT: Duration = Duration::from_secs(3);

/// What was said lately.
#[derive(Debug, Default)]
pub(super) struct Events {
    said: Mutex<HashMap<Key, Said>>,
}

type Key = (String, Tone, String, String);

#[derive(Debug)]
struct Said {
    name: String,
    count: u32,
    written: Instant,
    last: Instant,
}

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
enum Write {
    /// It counts, later.
    Nothing,
    /// It is new.
    New(String),
    /// It was said so often by now.
    Count(String, u32),
}

impl Tone {
    fn word(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// The namespace of an event, and what it is about.
fn regarding(about: &About) -> (&str, Value) {
    match about {
        About::Pod { namespace, name, uid } => (
            namespace,
            json!({"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid}),
        ),
        // As kubelets do it: the name stands for the uid, and whoever describes a node looks for that too.
        About::Node(node) => (
            "default",
            json!({"apiVersion": "v1", "kind": "Node", "name": node.as_str(), "uid": node.as_str()}),
        ),
    }
}

/// As much of a text as fits, in whole characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

impl Events {
    fn note(&self, key: Key, object: &str, time: Timestamp, now: Instant) -> Write {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= REMEMBERED {
            said.retain(|_, one| now.saturating_duration_since(one.last) < AGAIN);
        }
        if said.len() >= REMEMBERED {
            said.clear();
        }
        if let Some(one) = said.get_mut(&key)
            && now.saturating_duration_since(one.last) < FORGOTTEN
        {
            (one.count, one.last) = (one.count.saturating_add(1), now);
            if now.saturating_duration_since(one.written) < AGAIN {
                return Write::Nothing;
            }
            one.written = now;
            return Write::Count(one.name.clone(), one.count);
        }
        let name = format!("{}.{:x}", cut(object, 200), time.as_nanosecond());
        said.insert(key, Said { name: name.clone(), count: 1, written: now, last: now });
        Write::New(name)
    }

    fn forget(&self, key: &Key) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    pub(super) async fn say(
        &self,
        rest: &Rest,
        me: &str,
        about: &About,
        tone: Tone,
        (reason, message): (&str, &str),
    ) {
        let (namespace, object) = regarding(about);
        let name = object["name"].as_str().unwrap_or_default().to_owned();
        let key = (object.to_string(), tone, reason.to_owned(), message.to_owned());
        let now = clock::now();
        let path = namespaced(API, namespace, "events");
        let written = match self.note(key.clone(), &name, now, clock::monotonic()) {
            Write::Nothing => return,
            Write::New(name) => {
                let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
                    "metadata": {"name": name, "namespace": namespace}, "regarding": object,
                    "type": tone.word(), "reason": cut(reason, REASON_MAX), "action": cut(reason, REASON_MAX),
                    "note": cut(message, WORDS_MAX), "eventTime": micro(now),
                    "reportingController": CONTROLLER, "reportingInstance": cut(me, REASON_MAX)});
                rest.create(&path, &event, WAIT).await
            }
            Write::Count(name, count) => {
                let series = json!({"series": {"count": count, "lastObservedTime": micro(now)}});
                rest.merge(&path, &name, &series, WAIT).await
            }
        };
        if let Err(fault) = written {
            tracing::debug!(error = %fault, reason, "an event is lost");
            // It is new again next time: nobody knows whether it is there.
            self.forget(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_are_counted_and_written_once_a_minute() {
        let (events, start) = (Events::default(), clock::monotonic());
        let time = Timestamp::from_second(1_800_000_000).unwrap();
        let say = |words: &str, after| {
            let key = ("pod".to_owned(), Tone::Normal, "NoRoom".to_owned(), words.to_owned());
            events.note(key, "web", time, start + Duration::from_secs(after))
        };
        let name = "web.18fae27693b40000".to_owned();
        assert_eq!(say("too large", 0), Write::New(name.clone()));
        assert_eq!((say("too large", 1), say("too large", 59)), (Write::Nothing, Write::Nothing));
        assert_eq!(say("too small", 59), Write::New(name.clone()));
        assert_eq!(say("too large", 60), Write::Count(name.clone(), 4));
        assert_eq!(say("too large", 61), Write::Nothing);
        assert_eq!(say("too large", 61 + 1800), Write::New(name), "long ago");
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered_and_to_words() {
        let (events, start) = (Events::default(), clock::monotonic());
        for n in 0..10_000 {
            let key = (n.to_string(), Tone::Warning, String::new(), String::new());
            events.note(key, "", Timestamp::UNIX_EPOCH, start);
        }
        assert!(events.said.lock().unwrap().len() <= REMEMBERED);
        assert_eq!(cut("zoë", 3), "zo");
    }
}
