//! Jobs over real SSH on real machines with systemd.
//!
//! Two machines of a sandbox of their own; `CONTINUUM_TEST_SSH` names others, `HOST:PORT:LOGIN_KEY_FILE:HOST_KEY_PUB_FILE;…`.
//! Where no machines can be made, the tests say so and pass. Anything else that has a `Provider` and two machines can be
//! put into a `lab::Lab`.
#[cfg(test)]
mod drops;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod files;
#[cfg(test)]
#[path = "../sandbox/harness.rs"]
#[expect(dead_code, reason = "the sandbox's own tests use the rest")]
mod harness;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod login;
#[cfg(test)]
mod machines;
