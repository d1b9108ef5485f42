//! The one place that reads the environment.

use std::path::PathBuf;

/// The text of a variable; `None` if it is unset, empty or no UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The cache folder: `$CONTINUUM_CACHE`, else `$XDG_CACHE_HOME/continuum`, else `~/.cache/continuum`.
pub fn cache_dir() -> PathBuf {
    let of = |name| text(name).map(PathBuf::from);
    of("CONTINUUM_CACHE")
        .or_else(|| of("XDG_CACHE_HOME").map(|dir| dir.join("continuum")))
        .or_else(|| of("HOME").map(|dir| dir.join(".cache/continuum")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/continuum"))
}
