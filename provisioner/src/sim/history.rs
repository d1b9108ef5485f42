//! What operators, accidents and the cloud do in one history, drawn from its seed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::names::{ClusterName, ImageName, NameError, PoolName, StepId};
use crate::provider::Config;
use crate::quantity::{Cpu, Memory};
use crate::spec::{Network, Pool, Role, Shape, Spec, Step};
use crate::world::{Faults, Random, Seat};

/// The name of every cluster of a history but the neighbour's.
pub(super) const NAME: &str = "lab1";
/// A pool that is always the daemon's.
pub(super) const ELASTIC: &str = "elastic";

/// What a cluster file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sizes {
    /// A fixed pool.
    pub(super) workers: u32,
    /// A second pool: not there, fixed, or handed over to the daemon.
    pub(super) more: Option<More>,
}

/// Whose the second pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Fixed(u32),
    Daemons,
}

/// Something that happens while the engine runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Incident {
    /// The operators' clock jumps by so many seconds.
    Clock(i64),
    /// Lists lack what was there, for this long.
    Hide(Duration),
    /// A machine is destroyed by hand: which, counted round.
    Destroy(usize),
    /// A machine is switched off by hand.
    SwitchOff(usize),
}

/// The circumstances of a run.
#[derive(Debug, Clone)]
pub(super) struct Circumstances {
    /// The process is killed at this point.
    pub(super) kill: Option<u64>,
    /// The operator loses patience.
    pub(super) limit: Duration,
    /// Another cloud answers.
    pub(super) elsewhere: bool,
    /// What happens meanwhile, each so long after the one before.
    pub(super) incidents: Vec<(Duration, Incident)>,
}

/// One thing that somebody does.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// `up` on this computer.
    Up(Seat, Sizes, Circumstances),
    /// Two `up`s with one ledger at the same time, the second so much later.
    Twice([Sizes; 2], Duration, Circumstances),
    /// `down` on this computer.
    Down(Seat, Duration, Circumstances),
    /// `down` of the first computer's cluster on one that knows nothing of it.
    DownByTags(Circumstances),
    /// Nobody watches.
    Rest(Duration),
    /// The operators' clocks jump.
    Clock(i64),
    /// The ledger that the first computer had so many acts ago comes back.
    Restore(usize),
    /// The daemon of the first computer's cluster makes this many machines.
    Daemon(u32),
    /// Something happens while nobody watches.
    Accident(Incident),
}

/// A whole history.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) faults: Faults,
    pub(super) acts: Vec<Act>,
    /// What is asked for in the end.
    pub(super) last: Sizes,
    /// What happens to the clocks while it is made.
    pub(super) jump: Option<Incident>,
}

fn secs(random: &mut Random, most: u64) -> Duration {
    Duration::from_millis(random.draw() % (most * 1000))
}

fn below(random: &mut Random, most: u64) -> u64 {
    random.draw() % most
}

fn number(random: &mut Random, most: u64) -> usize {
    usize::try_from(below(random, most)).unwrap_or(0)
}

fn size(random: &mut Random) -> u32 {
    u32::try_from(below(random, 5)).unwrap_or(0)
}

fn sizes(random: &mut Random) -> Sizes {
    let more = match below(random, 6) {
        0 => Some(More::Daemons),
        1 | 2 => Some(More::Fixed(size(random))),
        _ => None,
    };
    Sizes { workers: size(random), more }
}

/// Seconds that clocks jump by: a moment, hours, or days, in both directions.
fn jump(random: &mut Random) -> i64 {
    let most = [60, 4 * 3600, 90_000][number(random, 3)];
    let seconds = i64::try_from(below(random, most)).unwrap_or(0);
    if random.chance(500) { seconds } else { -seconds }
}

fn incident(random: &mut Random) -> Incident {
    match below(random, 10) {
        0..=3 => Incident::Clock(jump(random)),
        4..=6 => Incident::Hide(secs(random, 60)),
        7 | 8 => Incident::Destroy(number(random, 12)),
        _ => Incident::SwitchOff(number(random, 12)),
    }
}

fn circumstances(random: &mut Random) -> Circumstances {
    let limit = [30, 120, 1500][number(random, 3)];
    let many = if random.chance(300) { 1 + number(random, 2) } else { 0 };
    Circumstances {
        kill: random.chance(400).then(|| below(random, 150)),
        limit: Duration::from_secs(limit),
        elsewhere: random.chance(40),
        incidents: (0..many).map(|_| (secs(random, 30), incident(random))).collect(),
    }
}

/// One fault, and how often or how long.
fn fault(random: &mut Random, faults: &mut Faults) {
    let often = 20 + below(random, 200);
    match below(random, 16) {
        0 => faults.lost_request = often,
        1 => faults.lost_answer = often,
        2 => faults.error_500 = often,
        3 => faults.rate_limit = often,
        4 => faults.hangs = often / 4,
        5 => faults.short_list = often,
        // Together less than this cloud's settle time, which is what it promises.
        6 => faults.late_list = secs(random, 5),
        7 => faults.late_create = secs(random, 4),
        8 => faults.late_delete = secs(random, 8),
        9 => faults.slow_boot = secs(random, 120),
        10 => faults.boot_fails = often / 2,
        11 => faults.dies = often / 2,
        12 => faults.stops = often / 2,
        13 => faults.step_fails = often / 2,
        14 => faults.drops = often,
        _ => faults.no_capacity = often,
    }
}

fn faults(random: &mut Random) -> Faults {
    let mut faults = Faults::none();
    for _ in 0..[0, 1, 2, 4, 8][number(random, 5)] {
        fault(random, &mut faults);
    }
    if random.chance(100) {
        faults.quota = Some(number(random, 8));
    }
    // A cloud without tokens may show what it made later than it promises, too.
    if random.chance(200) {
        faults.no_tokens = true;
        faults.late_list = secs(random, 40);
    }
    faults
}

fn act(random: &mut Random) -> Act {
    match below(random, 100) {
        0..=41 => Act::Up(0, sizes(random), circumstances(random)),
        42..=47 => Act::Up(1, sizes(random), circumstances(random)),
        48..=54 => Act::Twice([sizes(random), sizes(random)], secs(random, 20), circumstances(random)),
        55..=63 => Act::Down(0, secs(random, 60) * u32::from(random.chance(300)), circumstances(random)),
        64 | 65 => Act::Down(1, Duration::ZERO, circumstances(random)),
        66..=68 => Act::DownByTags(circumstances(random)),
        69..=74 => Act::Rest(secs(random, 40_000)),
        75..=80 => Act::Clock(jump(random)),
        81..=88 => Act::Restore(number(random, 4)),
        89..=92 => Act::Daemon(1 + size(random) / 2),
        _ => Act::Accident(incident(random)),
    }
}

impl History {
    pub(super) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x00c0_ffee_0000_0000);
        let faults = faults(&mut random);
        let mut acts = vec![Act::Up(0, sizes(&mut random), circumstances(&mut random))];
        for _ in 0..1 + below(&mut random, 6) {
            acts.push(act(&mut random));
        }
        let jump = random.chance(300).then(|| Incident::Clock(jump(&mut random)));
        Self { faults, acts, last: sizes(&mut random), jump }
    }
}

fn step(id: &str, after: &[&str]) -> Option<Step> {
    let ids = || after.iter().map(|id| id.parse::<StepId>()).collect::<Result<Vec<_>, _>>().ok();
    let facts = if after.is_empty() { Vec::new() } else { vec!["kubernetes/join".parse().ok()?] };
    Some(Step { id: id.parse().ok()?, after: ids()?, facts, hash: format!("{id}-0123456789") })
}

fn pool(role: Role, size: std::ops::RangeInclusive<u32>) -> Pool {
    let steps = match role {
        Role::FrontEnd => vec![step("base/setup", &[]), step("kubernetes/init", &[])],
        Role::Worker => vec![step("base/setup", &[]), step("kubernetes/join", &["kubernetes/init"])],
    };
    Pool {
        role,
        size,
        shapes: vec![Shape::of(Cpu::cores(2), Memory::gib(4)), Shape::of(Cpu::cores(4), Memory::gib(8))],
        image: ImageName::from("debian-12"),
        zones: Vec::new(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        recipes: Vec::new(),
        steps: steps.into_iter().flatten().collect(),
        baked: None,
    }
}

impl Sizes {
    /// The whole of what is asked for.
    pub(super) fn spec(&self) -> Result<Spec, NameError> {
        let mut pools = BTreeMap::from([
            (PoolName::new("front-end")?, pool(Role::FrontEnd, 1..=1)),
            (PoolName::new("workers")?, pool(Role::Worker, self.workers..=self.workers)),
            (PoolName::new(ELASTIC)?, pool(Role::Worker, 0..=4)),
        ]);
        match self.more {
            Some(More::Fixed(size)) => pools.insert(PoolName::new("more")?, pool(Role::Worker, size..=size)),
            Some(More::Daemons) => pools.insert(PoolName::new("more")?, pool(Role::Worker, 0..=4)),
            None => None,
        };
        Ok(Spec {
            cluster: ClusterName::new(NAME)?,
            provider: Config::Sandbox(crate::provider::sandbox::Config::default()),
            network: Network { internet: false, expose: vec![6443] },
            pools,
            expires: None,
            inputs: BTreeMap::new(),
            operators: Vec::new(),
        })
    }
}
