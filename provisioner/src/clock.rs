//! The one place that reads the clock. Everything else gets time as an argument.

use std::time::Instant;

use jiff::Timestamp;

/// The wall clock, now.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock that never goes back, for time-outs.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}
