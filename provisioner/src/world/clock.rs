//! Virtual time: stands still while anything can run, then jumps to the next sleeper.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;

/// How often every task may run before time jumps: more than the longest chain of tasks that wake each other.
const ROUNDS: usize = 10;

struct Inner {
    now: Timestamp,
    /// How far the operators' clocks are off.
    off: SignedDuration,
    next: u64,
    sleepers: BTreeMap<(Timestamp, u64), Waker>,
}

/// The clock of a world.
#[derive(Clone)]
pub struct VirtualClock(Arc<Mutex<Inner>>);

impl VirtualClock {
    pub(super) fn new() -> Self {
        // Any time will do; a round one is easy to read in failures.
        let now = Timestamp::from_second(1_800_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
        Self(Arc::new(Mutex::new(Inner {
            now,
            off: SignedDuration::ZERO,
            next: 0,
            sleepers: BTreeMap::new(),
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner().now
    }

    pub(super) fn after(&self, time: Duration) -> Timestamp {
        let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::ZERO);
        self.now().saturating_add(time).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn before(&self, time: Duration) -> Timestamp {
        let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::ZERO);
        self.now().saturating_sub(time).unwrap_or(Timestamp::MIN)
    }

    pub(super) fn shift(&self, seconds: i64) {
        let mut inner = self.inner();
        inner.off = inner.off.saturating_add(SignedDuration::from_secs(seconds));
    }

    fn shown(&self) -> Timestamp {
        let inner = self.inner();
        inner.now.saturating_add(inner.off).unwrap_or(inner.now)
    }

    pub(super) fn sleep(&self, time: Duration) -> Nap {
        Nap { clock: self.clone(), until: self.after(time), slot: None }
    }

    pub(super) fn as_clock(&self) -> Clock {
        let (a, b, c) = (self.clone(), self.clone(), self.clone());
        let steady = move || c.now().duration_since(Timestamp::UNIX_EPOCH).unsigned_abs();
        Clock::new(move || a.shown(), steady, move |time| Box::pin(b.sleep(time)))
    }

    /// Runs `work`; `None` when `limit` of virtual time has passed, or nothing sleeps and nothing runs.
    pub(super) async fn drive<T>(&self, work: impl Future<Output = T>, limit: Duration) -> Option<T> {
        let end = self.after(limit);
        // Polled only when it was woken: most rounds are there for its tasks alone.
        let mut work = std::iter::once(work).collect::<FuturesUnordered<_>>();
        loop {
            for _ in 0..ROUNDS {
                tokio::select! {
                    biased;
                    Some(done) = work.next() => return Some(done),
                    () = tokio::task::yield_now() => {}
                }
            }
            let woken = {
                let mut inner = self.inner();
                let ((at, _), waker) = inner.sleepers.pop_first()?;
                inner.now = inner.now.max(at);
                waker
            };
            if self.now() > end {
                return None;
            }
            woken.wake();
        }
    }
}

/// A sleep in virtual time.
pub(super) struct Nap {
    clock: VirtualClock,
    until: Timestamp,
    slot: Option<(Timestamp, u64)>,
}

impl Future for Nap {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut inner = clock.inner();
        if inner.now >= self.until {
            return Poll::Ready(());
        }
        let slot = self.slot.unwrap_or((self.until, inner.next));
        inner.next += 1;
        self.slot = Some(slot);
        inner.sleepers.insert(slot, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.clock.inner().sleepers.remove(&slot);
        }
    }
}
