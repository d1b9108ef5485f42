//! What a person does with a cluster as a whole: each verb of `continuum cluster`, from files to the engine and back.
//!
//! ```text
//! input   cluster file + template + recipes + bundle ─► Spec and scripts, or every problem with its place
//! site    state folder, lock, ledger, keys, cloud     ─► the parts that the engine works with
//! bake    an image with what can be done before there is a cluster
//! daemon  what is handed to the autoscaler on the front-end
//! up, down, look                                       the verbs
//! ```
//! This is shell: it reads files, asks clouds, and hands values to the core.

pub mod adopt;
pub mod bake;
pub mod daemon;
pub mod down;
pub mod images;
pub mod input;
mod keys;
pub mod look;
pub mod site;
pub mod up;
