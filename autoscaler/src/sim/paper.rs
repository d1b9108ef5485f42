//! The paper's case: videos that are cut into images, and a job for each image, on one to five small workers.
//!
//! From the paper: workers of 4 cores and 8 GB, of which Kubernetes takes 0.2 and 250 MB, so that three one-core jobs fit; one is
//! up when the videos come, at most five; the first stage takes 206.4 s a video and gives 37 images; an image takes 9 s; nodes go
//! after 300 s without work. How long a machine took there is not told, but that all four came when the 37 jobs had ended, 111 s
//! after these came, and that with five videos they came in time: three minutes, fifteen percent more or less, are both.

use std::collections::BTreeMap;

use provisioner::policy::Policy;
use provisioner::quantity::{Cpu, Memory};

use super::story::{Autoscaler, Jobs, Pool, Span, Story};

/// Images of one video.
const IMAGES: u32 = 37;
const STAGE_1: Span = Span(206_400);
const STAGE_2: Span = Span(9_000);
const BOOT: Span = Span::secs(180);
/// Long enough for 20 videos and for the nodes to go afterwards, and the same for both policies: machine time is counted to the
/// same end.
const UNTIL: Span = Span::secs(45 * 60);

/// The whole workflow for so many videos at once. `known`: the functions ran before, as in the paper's means of five runs, so
/// that their times were learned; without it nobody knows them yet.
pub fn story(videos: u32, autoscaler: Autoscaler, known: bool) -> Story {
    let image = jobs("mask-detector", IMAGES, 1, STAGE_2, None);
    let video = jobs("anon-and-split", videos, 2, STAGE_1, Some(Box::new(image)));
    let runs = [("anon-and-split", STAGE_1), ("mask-detector", STAGE_2)];
    let runs = runs.map(|(name, run)| (name.to_owned(), run));
    Story {
        story: format!("{videos} videos"),
        autoscaler,
        pools: BTreeMap::from([("workers".to_owned(), workers())]),
        policy: Policy::default(),
        jobs: vec![video],
        faults: Vec::new(),
        budgets: Vec::new(),
        known_runs: if known { runs.into() } else { BTreeMap::new() },
        known_boots: BTreeMap::from([("workers".to_owned(), BOOT)]),
        forecast: false,
        until: Some(UNTIL),
        seed: u64::from(videos),
    }
}

fn workers() -> Pool {
    Pool {
        cpu: Cpu::cores(4),
        memory: Memory::gib(8),
        reserved_cpu: Cpu { millis: 200 },
        reserved_memory: Memory { bytes: 250_000_000 },
        min: 1,
        max: 5,
        up: 1,
        boot: BOOT,
        boot_spread: 15,
        labels: BTreeMap::new(),
        taints: Vec::new(),
    }
}

fn jobs(name: &str, count: u32, gib: u64, run: Span, then: Option<Box<Jobs>>) -> Jobs {
    Jobs {
        name: name.to_owned(),
        count,
        at: Span(0),
        cpu: Cpu::cores(1),
        memory: Memory::gib(gib),
        run: Some(run),
        selector: BTreeMap::new(),
        tolerates: Vec::new(),
        annotations: BTreeMap::new(),
        then,
    }
}
