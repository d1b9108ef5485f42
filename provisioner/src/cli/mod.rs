//! The command line: one file per noun, clap types and calls, no logic.

pub mod bundle;
