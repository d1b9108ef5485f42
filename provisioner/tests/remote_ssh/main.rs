//! Jobs over real SSH on real machines with systemd.
//!
//! `CONTINUUM_TEST_SSH` names two machines, `HOST:PORT:LOGIN_KEY_FILE:HOST_KEY_PUB_FILE;…`; without it the tests say
//! that they were skipped. Anything else that has a `Provider` and two machines can be put into a `lab::Lab`.

#[cfg(test)]
mod drops;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod files;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod login;
