//! Clusters that grow and shrink with their pods, end to end: real machines, real Kubernetes, and the daemon as a service on
//! the front-end. Two clusters for all checks, because each takes a while. Needs root and a bundle; says so and passes without.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it measured")]

mod cluster;
mod objects;
mod outages;
mod story;
