//! The environment: the only place that reads variables.

use std::ffi::OsString;
use std::path::PathBuf;

/// A variable that is set and not empty, whatever its bytes.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn os(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable that is set, not empty, and text.
pub fn var(name: &str) -> Option<String> {
    os(name)?.into_string().ok()
}

/// A variable that names an absolute path; a relative one is ignored, as the XDG specification asks.
pub fn path(name: &str) -> Option<PathBuf> {
    os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The user's home folder.
pub fn home() -> Option<PathBuf> {
    path("HOME")
}
