//! Recipes: how one piece of software gets onto a machine.
//!
//! A recipe is a folder with `recipe.yaml`, POSIX sh scripts and templates; adding one needs no Rust.
//! ```text
//! load (folder -> Recipe, all problems) -> order (needs) -> resolve (spec + recipes -> steps of each pool)
//!                                                        -> render (step + values -> one script)
//! ```

pub mod model;
