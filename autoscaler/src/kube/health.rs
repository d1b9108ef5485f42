//! How far what is seen can be trusted: pure, with the time as an argument.
//!
//! Missing information is never evidence. A view is stale, in words, until every kind was listed once; while a kind's watch is in
//! error; and when the API server has not answered a direct question for too long, since a watch over a dead connection is as quiet as
//! one over a quiet cluster.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// For so long a watch may be in error before its kind counts as old: a restarted API server or a closed connection is
/// usually back by then, and what was seen so shortly before is as good as what any cache has.
const WATCH_ERROR: Duration = Duration::from_secs(5);
/// For so long the API server may leave direct questions unanswered: three of them.
const UNANSWERED: Duration = Duration::from_secs(15);
/// After such a silence the watches may lag behind the first answer: what they missed comes within this time, or they are given up.
const CATCH_UP: Duration = Duration::from_secs(2);

/// What is known of one kind.
#[derive(Debug, Default)]
struct Feed {
    /// It was read from its beginning to its end.
    listed: bool,
    /// The cluster does without it.
    absent: bool,
    /// Since when its watch is in error, and why.
    failing: Option<(Instant, String)>,
}

/// What is known of how fresh everything is.
#[derive(Debug)]
pub(super) struct Health {
    feeds: BTreeMap<&'static str, Feed>,
    began: Instant,
    answered: Option<Instant>,
    /// When it answered again after too long a silence.
    back: Option<Instant>,
    silence: String,
    /// Whether it was said last that the view is stale.
    pub(super) said_stale: bool,
}

impl Health {
    /// Nothing is known yet of these kinds.
    pub(super) fn new(kinds: &[&'static str], now: Instant) -> Self {
        let feeds = kinds.iter().map(|kind| (*kind, Feed::default())).collect();
        Self { feeds, began: now, answered: None, back: None, silence: String::new(), said_stale: true }
    }

    fn feed(&mut self, kind: &'static str) -> &mut Feed {
        self.feeds.entry(kind).or_default()
    }

    /// A kind was listed, or its watch goes on.
    pub(super) fn flows(&mut self, kind: &'static str) {
        *self.feed(kind) = Feed { listed: true, ..Feed::default() };
    }

    /// A watch is in error, since `since`; an error that lasts began when it began. Whether it has lasted so long that the kind
    /// counts as old: then only a new list makes it fresh, since a watch that begins has not caught up yet.
    pub(super) fn fails(&mut self, kind: &'static str, since: Instant, now: Instant, why: String) -> bool {
        let feed = self.feed(kind);
        let since = feed.failing.as_ref().map_or(since, |(first, _)| (*first).min(since));
        feed.failing = Some((since, why));
        now.saturating_duration_since(since) > WATCH_ERROR
    }

    /// The cluster has no such API. Believed only of a kind that was never there: what was there does not go, it is out of sight.
    pub(super) fn absent(&mut self, kind: &'static str, now: Instant, why: String) {
        if self.feed(kind).listed {
            self.fails(kind, now, now, why);
        } else {
            *self.feed(kind) = Feed { absent: true, ..Feed::default() };
        }
    }

    /// The API server has answered a direct question.
    pub(super) fn answered(&mut self, now: Instant) {
        let silent = self.answered.map(|last| now.saturating_duration_since(last));
        if silent.is_some_and(|silent| silent > UNANSWERED) {
            self.back = Some(now);
        }
        self.answered = Some(now);
    }

    /// It has not, or not with what was asked.
    pub(super) fn unanswered(&mut self, why: String) {
        self.silence = why;
    }

    /// Why the view may be old or in parts, if it may be.
    pub(super) fn stale(&self, now: Instant) -> Option<String> {
        let silent = now.saturating_duration_since(self.answered.unwrap_or(self.began));
        if self.answered.is_none() || silent > UNANSWERED {
            let so_far = if self.answered.is_none() { " yet" } else { "" };
            let words = &self.silence;
            let colon = if words.is_empty() { "" } else { ": " };
            return Some(format!(
                "the API server has not answered{so_far}, for {} s{colon}{words}",
                silent.as_secs()
            ));
        }
        if self.back.is_some_and(|back| now.saturating_duration_since(back) < CATCH_UP) {
            return Some("the API server has only just answered again".to_owned());
        }
        self.feeds.iter().find_map(|(kind, feed)| feed.stale(kind, now))
    }
}

impl Feed {
    fn stale(&self, kind: &str, now: Instant) -> Option<String> {
        let failing = self.failing.as_ref();
        if !self.listed && !self.absent {
            let why = failing.map(|(_, why)| format!(": {why}")).unwrap_or_default();
            return Some(format!("objects of kind {kind} were not all seen yet{why}"));
        }
        let (since, why) = failing?;
        let lasts = now.saturating_duration_since(*since);
        (lasts > WATCH_ERROR)
            .then(|| format!("the watch of kind {kind} has been in error for {} s: {why}", lasts.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use provisioner::clock;

    use super::*;

    const KINDS: &[&str] = &["Node", "Pod"];

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Everything was listed and answered at `now`.
    fn fresh(now: Instant) -> Health {
        let mut health = Health::new(KINDS, now);
        health.answered(now);
        KINDS.iter().for_each(|kind| health.flows(kind));
        assert_eq!(health.stale(now), None);
        health
    }

    #[test]
    fn nothing_is_known_before_everything_was_seen_once() {
        let now = clock::monotonic();
        let mut health = Health::new(KINDS, now);
        assert_eq!(
            health.stale(now + secs(2)).as_deref(),
            Some("the API server has not answered yet, for 2 s")
        );
        health.answered(now);
        assert_eq!(health.stale(now).as_deref(), Some("objects of kind Node were not all seen yet"));
        health.flows("Node");
        health.fails("Pod", now, now, "refused".into());
        assert_eq!(health.stale(now).as_deref(), Some("objects of kind Pod were not all seen yet: refused"));
        health.flows("Pod");
        assert_eq!(health.stale(now), None);
    }

    #[test]
    fn a_watch_in_error_makes_the_view_old_after_five_seconds_and_not_before() {
        let now = clock::monotonic();
        let mut health = fresh(now);
        assert!(!health.fails("Pod", now, now + secs(5), "broken".into()));
        health.answered(now + secs(5));
        assert_eq!(health.stale(now + secs(5)), None);
        // Trying again in vain does not make it younger.
        assert!(health.fails("Pod", now + secs(5), now + secs(6), "still broken".into()));
        assert_eq!(
            health.stale(now + secs(6)).as_deref(),
            Some("the watch of kind Pod has been in error for 6 s: still broken")
        );
        health.flows("Pod");
        assert_eq!(health.stale(now + secs(6)), None);
        // An error that began before it was noticed counts from its beginning.
        health.fails("Node", now, now + secs(6), "silent".into());
        assert!(health.stale(now + secs(6)).is_some());
    }

    #[test]
    fn a_server_that_does_not_answer_makes_the_view_old_whatever_the_watches_say() {
        let now = clock::monotonic();
        let mut health = fresh(now);
        health.unanswered("no answer within 3 s".into());
        assert_eq!(health.stale(now + secs(15)), None);
        assert_eq!(
            health.stale(now + secs(16)).as_deref(),
            Some("the API server has not answered, for 16 s: no answer within 3 s")
        );
        health.answered(now + secs(17));
        assert!(health.stale(now + secs(18)).is_some(), "the watches may not have caught up");
        health.answered(now + secs(18));
        assert_eq!(health.stale(now + secs(19)), None);
    }

    #[test]
    fn an_api_that_is_missing_is_empty_but_one_that_was_there_is_out_of_sight() {
        let now = clock::monotonic();
        let mut health = fresh(now);
        health.absent("Pod", now, "not found (404)".into());
        health.answered(now + secs(6));
        assert!(health.stale(now + secs(6)).is_some_and(|why| why.contains("not found")));
        let mut health = Health::new(KINDS, now);
        health.answered(now);
        health.flows("Node");
        health.absent("Pod", now, "not found (404)".into());
        assert_eq!(health.stale(now + secs(6)), None);
    }
}
