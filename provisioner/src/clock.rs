//! The clock: the one place where this crate reads it and sleeps by it.
//!
//! Everything that depends on time takes a [`Clock`], so that a world in memory can bring its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A sleep under way.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The wall clock's time.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock that never goes back; only differences mean something.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Reads time and waits for it.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    sleep: Arc<dyn Fn(Duration) -> Sleep + Send + Sync>,
}

impl Clock {
    /// The computer's own clock.
    pub fn system() -> Self {
        Self::new(now, |time| Box::pin(tokio::time::sleep(time)))
    }
    /// A clock made of its two functions.
    pub fn new(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        sleep: impl Fn(Duration) -> Sleep + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), sleep: Arc::new(sleep) }
    }
    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }
    /// Ends after `time`.
    pub fn sleep(&self, time: Duration) -> Sleep {
        (self.sleep)(time)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
