//! The clock: the only place that reads one. The core gets time as an argument, once a pass.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock that only goes forward: for durations, and for nothing that is saved.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// A sleep under way.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time and waits for it: what the engine takes, so that a world in memory can bring its own time.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    steady: Arc<dyn Fn() -> Duration + Send + Sync>,
    sleep: Arc<dyn Fn(Duration) -> Sleep + Send + Sync>,
}

impl Clock {
    /// This computer's.
    pub fn system() -> Self {
        let began = monotonic();
        let steady = move || monotonic().saturating_duration_since(began);
        Self::new(now, steady, |time| Box::pin(tokio::time::sleep(time)))
    }
    /// One made of its functions.
    pub fn new(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        steady: impl Fn() -> Duration + Send + Sync + 'static,
        sleep: impl Fn(Duration) -> Sleep + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), steady: Arc::new(steady), sleep: Arc::new(sleep) }
    }
    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }
    /// Time since some moment before, whatever is done to the wall clock: for everything that lasts.
    pub fn steady(&self) -> Duration {
        (self.steady)()
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
