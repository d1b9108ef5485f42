//! The command line: one file per noun, clap types and calls, no logic.

pub(crate) mod sandbox;
