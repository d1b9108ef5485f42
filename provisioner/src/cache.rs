//! Where the cache folder is: blobs, bundles and trees, all of it made again when it is lost.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::env;

/// No variable says where the cache may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no cache folder: set CONTINUUM_CACHE, XDG_CACHE_HOME or HOME to an absolute path")]
pub struct NoCache;

/// The cache folder of this user: `$CONTINUUM_CACHE`, else `$XDG_CACHE_HOME/continuum`, else `~/.cache/continuum`.
/// It is not made here.
pub fn folder() -> Result<PathBuf, NoCache> {
    choose(env::os("CONTINUUM_CACHE"), env::os("XDG_CACHE_HOME"), env::os("HOME"))
}

/// Relative paths are passed over: they would name another folder after each `cd`.
fn choose(own: Option<OsString>, xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, NoCache> {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(own)
        .or_else(|| absolute(xdg).map(|path| path.join("continuum")))
        .or_else(|| absolute(home).map(|path| path.join(".cache/continuum")))
        .ok_or(NoCache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_absolute_path_wins() {
        let cases = [
            (Some("/c"), Some("/x"), Some("/h"), Ok("/c")),
            (None, Some("/x"), Some("/h"), Ok("/x/continuum")),
            (None, None, Some("/h"), Ok("/h/.cache/continuum")),
            (Some("c"), Some("x"), Some("/h"), Ok("/h/.cache/continuum")),
            (None, None, None, Err(NoCache)),
        ];
        for (own, xdg, home, right) in cases {
            let got = choose(own.map(Into::into), xdg.map(Into::into), home.map(Into::into));
            assert_eq!(got, right.map(PathBuf::from), "{own:?} {xdg:?} {home:?}");
        }
    }
}
