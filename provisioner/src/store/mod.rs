//! Where a ledger is kept. Saving is compare-and-swap: who works on an older copy is told, never obeyed.

mod file;
mod holder;
mod recover;

use async_trait::async_trait;

use crate::ledger::{CodecError, Ledger};

pub use file::FileStore;
pub use holder::Holder;

/// A ledger could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else saved in between.
    #[error("the ledger was changed by somebody else: expected generation {expected}, found {found}")]
    Conflict {
        /// What we worked on.
        expected: u64,
        /// What is there; 0 for nothing.
        found: u64,
    },
    /// Another process works on this cluster.
    #[error("{holder}; wait until it is done, or end it")]
    Locked {
        /// Who, on which computer, since when, doing what.
        holder: String,
    },
    /// What is stored is no ledger that can be used.
    #[error("{place} cannot be used{hint}")]
    Damaged {
        /// The file or object.
        place: String,
        /// What may be used instead.
        hint: String,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// Reading or writing failed.
    #[error("{what} failed")]
    Io {
        /// What was done, with the path.
        what: String,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The place of the ledger does not answer.
    #[error("the ledger's store does not answer: {0}")]
    Unavailable(String),
}

/// Keeps one ledger.
#[async_trait]
pub trait Store: Send + Sync {
    /// The ledger as saved last; `None` if there never was one.
    async fn load(&self) -> Result<Option<Ledger>, StoreError>;
    /// Saves, durably, if what is stored still has generation `expected` (0: nothing is stored).
    /// After an error the effect is unknown unless it is a [`StoreError::Conflict`].
    async fn save(&self, ledger: &Ledger, expected: u64) -> Result<(), StoreError>;
}
