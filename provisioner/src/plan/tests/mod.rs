//! One test for each row of the design's table: a world goes in, the whole plan comes out.

mod live;
mod lost;
mod pools;
mod rebuild;
mod recall;
mod size;

use super::fixtures::secs;
use crate::ages::Age;

/// Asked for so long ago, never seen.
fn asked(seconds: u64) -> Age {
    Age { asked: Some(secs(seconds)), ..Age::default() }
}

/// Asked for long ago, last seen so long ago.
fn unseen(seconds: u64) -> Age {
    Age { asked: Some(secs(3000)), seen: Some(secs(seconds)), ..Age::default() }
}
