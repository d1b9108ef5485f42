//! JSON files that are there whole or not at all: temp → fsync → rename → fsync of the folder.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::machine::StepError;

/// Writes a value, 0600, over what was there.
pub fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), StepError> {
    let at = || StepError::at(format!("write {}", path.display()));
    let text = serde_json::to_vec_pretty(value).map_err(std::io::Error::from).map_err(at())?;
    let temp = path.with_extension("json.new");
    let _ = fs::remove_file(&temp);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temp).map_err(at())?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(at())?;
    fs::rename(&temp, path).map_err(at())?;
    sync_parent(path)
}

/// Makes a rename in this path's folder durable.
pub fn sync_parent(path: &Path) -> Result<(), StepError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(StepError::at(format!("sync {}", parent.display())))
}

/// Reads a value; `None` if there is no such file.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StepError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StepError::at(format!("read {}", path.display()))(error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(StepError::at(format!("understand {}", path.display())))
}

/// Random bytes as hex, `2 × bytes` characters: ids and tokens.
pub fn random_hex(bytes: usize) -> Result<String, StepError> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).map_err(|error| StepError {
        step: "get random bytes".into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(hex(&buffer))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_value_reads_back_and_a_missing_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert_eq!(load::<u32>(&path).unwrap(), None);
        save(&path, &7).unwrap();
        save(&path, &8).unwrap();
        assert_eq!(load::<u32>(&path).unwrap(), Some(8));
        fs::write(&path, "{").unwrap();
        assert!(load::<u32>(&path).unwrap_err().to_string().starts_with("cannot understand "));
    }
}
