//! The environment: the only place that reads variables.

use std::path::PathBuf;

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that names an absolute path; a relative one is ignored, as the XDG specification asks.
pub fn path(name: &str) -> Option<PathBuf> {
    var(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The user's home folder.
pub fn home() -> Option<PathBuf> {
    path("HOME")
}
