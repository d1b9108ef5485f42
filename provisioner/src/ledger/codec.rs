//! The JSON form of a ledger: compact, versioned, and read strictly.

use serde::{Deserialize, Serialize};

use super::{Ledger, VERSION};

/// A text is no ledger that this program can use.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Written by a newer program.
    #[error("ledger has version {found}, this program knows {VERSION}: use the program that wrote it")]
    Version {
        /// What it says.
        found: u64,
    },
    /// Not JSON, or not a ledger.
    #[error("ledger is damaged")]
    Damaged(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Head {
    version: u64,
}

impl Ledger {
    /// Reads what [`to_json`](Self::to_json) wrote.
    pub fn from_json(text: &str) -> Result<Self, CodecError> {
        // The version is looked at first: a newer form may have any fields.
        let head: Head = serde_json::from_str(text).map_err(CodecError::Damaged)?;
        if head.version != u64::from(VERSION) {
            return Err(CodecError::Version { found: head.version });
        }
        serde_json::from_str(text).map_err(CodecError::Damaged)
    }

    /// One line of JSON; about 300 bytes a Ready row before compression.
    pub fn to_json(&self) -> Result<String, CodecError> {
        serde_json::to_string(self).map_err(CodecError::Damaged)
    }
}

/// JSON has no maps with composite keys: the back-offs are a list.
pub(super) mod backoffs {
    use std::collections::BTreeMap;

    use serde::{Deserializer, Serializer};

    use super::{Deserialize, Serialize};
    use crate::ledger::Backoff;
    use crate::names::{PoolName, ShapeName, Zone};

    type Map = BTreeMap<(PoolName, ShapeName, Zone), Backoff>;

    pub(in super::super) fn serialize<S: Serializer>(map: &Map, to: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(to)
    }
    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Map, D::Error> {
        Ok(Vec::<((PoolName, ShapeName, Zone), Backoff)>::deserialize(from)?.into_iter().collect())
    }
}
