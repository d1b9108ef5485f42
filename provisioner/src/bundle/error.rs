//! What can go wrong with a bundle, in kinds that tell the reader what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use super::fetch::FetchError;

/// One file of a bundle that is not what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path within the bundle, or the artifact's name.
    pub what: String,
    /// What is wrong, lower case, no full stop.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// A bundle cannot be read, made or used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file system said no.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// `read`, `write`, …
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// There is no bundle.
    #[error("{} is no bundle: it has no manifest.json (make one with `continuum bundle create`)", path.display())]
    NoBundle {
        /// Where one was expected.
        path: PathBuf,
    },
    /// The manifest cannot be understood.
    #[error("{}: {why}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, with the entry that it is about.
        why: String,
    },
    /// A manifest of another version.
    #[error("{}: manifest version {found}, this continuum reads version {}: make the bundle again", path.display(), super::manifest::VERSION)]
    Version {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// An archive that could write outside its place, or is no bundle archive.
    #[error("{}: entry {entry:?} {why}: not unpacked, get the archive from where it was made", path.display())]
    Unsafe {
        /// The archive.
        path: PathBuf,
        /// The entry's path.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The archive ends early or is no zstd.
    #[error("{}: cut short or damaged: copy it again", path.display())]
    CutShort {
        /// The archive.
        path: PathBuf,
        /// The decoder's words.
        source: std::io::Error,
    },
    /// Files that are missing, too short, or not what their hash says; every one of them.
    #[error("{}: {} damaged (make or copy the bundle again):{}", path.display(), count(faults), lines(faults))]
    Damaged {
        /// The bundle.
        path: PathBuf,
        /// All of them.
        faults: Vec<Fault>,
    },
    /// Artifacts that could not be had; every one of them.
    #[error("{} cannot be put into the bundle:{}", artifacts(faults), lines(faults))]
    Missing {
        /// All of them.
        faults: Vec<Fault>,
    },
    /// A download failed in a way that no other download can share.
    #[error("{0}")]
    Fetch(#[from] FetchError),
}

impl BundleError {
    pub(super) fn io<'a>(
        doing: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<'a> {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

fn count(faults: &[Fault]) -> String {
    if faults.len() == 1 { "1 file is".into() } else { format!("{} files are", faults.len()) }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

fn artifacts(faults: &[Fault]) -> String {
    if faults.len() == 1 { "1 artifact".into() } else { format!("{} artifacts", faults.len()) }
}
