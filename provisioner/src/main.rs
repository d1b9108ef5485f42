//! The `continuum` command.

fn main() {}
