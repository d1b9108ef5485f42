//! The environment: read here and nowhere else, so that what a run depends on can be seen in one place.

use std::ffi::OsString;

/// The value of an environment variable; `None` if it is unset or empty.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn var(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
