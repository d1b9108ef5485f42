//! A ledger that cannot be read, and the copy before it.
//!
//! An older ledger is safe: what it does not know is found by its tags and adopted, never deleted. So the older copy is
//! used by itself, and the damaged one is kept for a person to look at.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::StoreError;
use super::file::{LEDGER, NEW, OLD, io};
use crate::ledger::{CodecError, Ledger};

/// Reads one of a folder's ledgers; `None` if it is not there.
pub(super) fn read(folder: &Path, name: &str) -> Result<Option<Ledger>, StoreError> {
    let path = folder.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Io { what: format!("reading {}", path.display()), source }),
    };
    // Bytes that are no text are damage like any other.
    Ledger::from_json(&String::from_utf8_lossy(&bytes)).map(Some).map_err(|source| {
        let cluster = folder.file_name().unwrap_or_default().to_string_lossy();
        let hint = match &source {
            CodecError::Version { .. } => String::new(),
            CodecError::Damaged(_) => format!(
                ", nor is there an older copy that can: `continuum cluster adopt {cluster}` makes a new one from the \
                 machines and their tags, `continuum cluster down {cluster}` removes them"
            ),
        };
        StoreError::Damaged { place: path.display().to_string(), hint, source }
    })
}

/// The ledger, or the copy before it where it is damaged or missing. Changes nothing.
pub(super) fn best(folder: &Path) -> Result<Option<Ledger>, StoreError> {
    match read(folder, LEDGER) {
        Ok(Some(ledger)) => Ok(Some(ledger)),
        Err(error) if !is_damage(&error) => Err(error),
        other => match read(folder, OLD) {
            Ok(Some(old)) => {
                tracing::warn!(folder = %folder.display(), "the ledger cannot be used, the copy before it is shown");
                Ok(Some(old))
            }
            _ => other,
        },
    }
}

/// Puts the copy before in the place of a ledger that is damaged or missing, if that copy is good. What was done, in
/// words, if anything was. Whoever calls this holds the lock.
pub(super) fn older_copy(folder: &Path) -> Result<Option<String>, StoreError> {
    let path = folder.join(LEDGER);
    let wrong = match read(folder, LEDGER) {
        Ok(Some(_)) => return Ok(None),
        Ok(None) => format!("{} is missing", path.display()),
        Err(StoreError::Damaged { source: CodecError::Damaged(why), .. }) => {
            format!("{} cannot be used (ledger is damaged: {why})", path.display())
        }
        Err(_) => return Ok(None),
    };
    let Ok(Some(old)) = read(folder, OLD) else { return Ok(None) };
    let damaged = folder.join(format!("{LEDGER}.damaged"));
    let was_there = path.exists();
    let replace = || -> io::Result<()> {
        // A copy and no link: the older copy stays whatever becomes of this one.
        fs::copy(folder.join(OLD), folder.join(NEW))?;
        File::open(folder.join(NEW))?.sync_all()?;
        if was_there {
            fs::rename(&path, &damaged)?;
        }
        fs::rename(folder.join(NEW), &path)?;
        File::open(folder)?.sync_all()
    };
    replace().map_err(io(format!("restoring {}", path.display())))?;
    let kept = if was_there { format!("; it is kept as {}", damaged.display()) } else { String::new() };
    let generation = old.generation;
    Ok(Some(format!(
        "{wrong}{kept}; the copy before it (generation {generation}) is used: what was made since is found by its tags"
    )))
}

fn is_damage(error: &StoreError) -> bool {
    matches!(error, StoreError::Damaged { source: CodecError::Damaged(_), .. })
}
