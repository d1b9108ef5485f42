//! The only file that names serde_yaml: typed reading of one YAML document.

use serde::de::DeserializeOwned;

/// A text is no document of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct YamlError {
    /// The file, as it is shown to people.
    pub file: String,
    /// Line, from 1; 0 if it is not known.
    pub line: u64,
    /// What is wrong.
    pub message: String,
}

/// Reads one document. `file` is for the error only.
pub fn from_str<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, YamlError> {
    serde_yaml::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(0, |at| at.line());
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().to_owned();
        YamlError { file: file.to_owned(), line, message }
    })
}
