//! What is known of a machine's host key before it has shown one.

use crate::keys::{HostKey, HostKeyError, fingerprint};

/// A host key that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pin {
    /// The key itself.
    Key(HostKey),
    /// Its fingerprint: what a tag has room for.
    Fingerprint(String),
}

impl Pin {
    /// Reads `ssh-ed25519 AAAA…` or `SHA256:…`.
    pub(super) fn parse(text: &str) -> Result<Self, HostKeyError> {
        if text.starts_with("SHA256:") {
            return Ok(Self::Fingerprint(text.to_owned()));
        }
        HostKey::parse(text).map(Self::Key)
    }

    /// The kind of key. Machines of ours have ed25519 keys.
    pub(super) fn algorithm(&self) -> &str {
        match self {
            Self::Key(key) => key.algorithm(),
            Self::Fingerprint(_) => "ssh-ed25519",
        }
    }

    /// Whether this is the key, as it travels in the key exchange.
    pub(super) fn is(&self, blob: &[u8]) -> bool {
        match self {
            Self::Key(key) => key.blob() == blob,
            Self::Fingerprint(text) => *text == fingerprint(blob),
        }
    }

    /// `SHA256:…`.
    pub(super) fn fingerprint(&self) -> String {
        match self {
            Self::Key(key) => key.fingerprint(),
            Self::Fingerprint(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_pins_its_own_key_and_no_other() {
        let text =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHmtiD8Pq+FvbHHB/G3o7d3W4/BhoP0XGY6N6ZECuas a comment";
        let key = HostKey::parse(text).unwrap();
        let whole = Pin::parse(text).unwrap();
        let pin = Pin::parse(&whole.fingerprint()).unwrap();
        assert_eq!(pin, Pin::Fingerprint(key.fingerprint()));
        assert!(pin.is(key.blob()) && whole.is(key.blob()));
        let mut other = key.blob().to_vec();
        *other.last_mut().unwrap() ^= 1;
        assert!(!pin.is(&other) && !whole.is(&other));
        assert!(!Pin::parse("SHA256:").unwrap().is(key.blob()), "an empty fingerprint pins nothing");
        assert!(Pin::parse("MD5:00").is_err());
    }
}
