//! `operators:` the public keys of further people.

use crate::diagnostic::Problem;
use crate::keys::HostKey;
use crate::tree::Node;
use crate::tree::read::{self, Problems};

/// A list of OpenSSH public keys, each once.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for item in read::list(node, "operators", problems) {
        let Some(text) = read::text(item, "operators", problems) else { continue };
        match HostKey::parse(text) {
            Ok(key) if keys.iter().any(|known| known == key.as_str()) => {}
            Ok(key) => keys.push(key.as_str().to_owned()),
            // The text is not repeated: whoever mixes up the halves of a key pair must not see the private one in a log.
            Err(_) => problems.push(
                Problem::at(&item.place, "operators: this is no public key")
                    .expected("one line of a .pub file: ssh-ed25519 AAAA… name"),
            ),
        }
    }
    keys
}
