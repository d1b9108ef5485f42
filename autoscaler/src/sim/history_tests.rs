//! Histories by seed: pools, arrivals, boots, deaths, deletions and blindness by chance, with what must hold at every instant.

use std::collections::BTreeMap;

use provisioner::ledger::{Leaving, Phase};
use provisioner::names::MachineName;
use provisioner::policy::Policy;
use provisioner::provider::dice::Random;
use provisioner::quantity::{Cpu, Memory};

use super::run::Run;
use super::story::{Autoscaler, Budget, Fault, Jobs, Pool, Span, Story};

/// How many in `make test`: some ten seconds of one core without optimisation.
const SEEDS: u64 = 100;
/// A node that goes and one like it that comes within so many milliseconds, without anybody new: flapping.
const FLAP: i64 = 180_000;

fn jobs(dice: &mut Random, n: u64) -> Jobs {
    let service = dice.below(6) == 0;
    Jobs {
        name: format!("work{}", n % 4),
        count: 1 + dice.below(8) as u32,
        at: Span::secs(dice.below(1200) as i64),
        cpu: Cpu { millis: [250, 500, 1000, 2000][dice.below(4) as usize] },
        memory: Memory::gib(dice.below(3)),
        run: (!service).then(|| Span::secs(5 + dice.below(240) as i64)),
        selector: BTreeMap::new(),
        tolerates: if dice.below(3) == 0 { vec!["gpu".to_owned()] } else { Vec::new() },
        annotations: BTreeMap::new(),
        then: None,
    }
}

fn pool(dice: &mut Random, taints: &[&str]) -> Pool {
    Pool {
        cpu: Cpu::cores([2, 4, 8][dice.below(3) as usize]),
        memory: Memory::gib(8),
        reserved_cpu: Cpu { millis: 0 },
        reserved_memory: Memory { bytes: 0 },
        min: dice.below(2) as u32,
        max: 2 + dice.below(5) as u32,
        up: 0,
        boot: Span::secs(10 + dice.below(300) as i64),
        boot_spread: 20,
        labels: BTreeMap::new(),
        taints: taints.iter().map(|taint| (*taint).to_owned()).collect(),
    }
}

fn story(seed: u64) -> Story {
    let dice = &mut Random::new(seed);
    let pools = [("workers", pool(dice, &[])), ("tainted", pool(dice, &["gpu=yes:NoSchedule"]))];
    let nothing = |at| Fault { at, dies: None, deleted: None, limit: None, stale: None };
    let faults = (0..dice.below(3)).map(|_| {
        let fault = nothing(Span::secs(dice.below(1500) as i64));
        match dice.below(3) {
            0 => Fault { dies: Some(format!("lab1-workers-{}", 1 + dice.below(4))), ..fault },
            1 => Fault { deleted: Some(format!("work{}", dice.below(4))), ..fault },
            _ => Fault { stale: Some(Span::secs(dice.below(300) as i64)), ..fault },
        }
    });
    Story {
        faults: faults.collect(),
        story: format!("seed {seed}"),
        autoscaler: Autoscaler::Continuum,
        pools: pools.map(|(name, pool)| (name.to_owned(), pool)).into(),
        policy: Policy { idle: std::time::Duration::from_secs(60 + dice.below(240)), ..Policy::default() },
        jobs: (0..2 + dice.below(5)).map(|n| jobs(dice, n)).collect(),
        budgets: vec![Budget { of: "work0".to_owned(), min_available: dice.below(3) as i64 }],
        known_runs: BTreeMap::new(),
        known_boots: BTreeMap::new(),
        forecast: false,
        until: None,
        seed,
    }
}

/// What must hold at every instant, checked from outside.
#[derive(Default)]
struct Watch {
    phases: BTreeMap<MachineName, Phase>,
    /// By pool: when a node last went for having nothing to do, and how many had come by then.
    went: BTreeMap<String, (i64, usize)>,
}

impl Watch {
    fn look(&mut self, run: &Run<'_>) -> Result<(), String> {
        for (name, pool) in &run.spec.pools {
            let live = run.live(name).len();
            if live > *pool.size.end() as usize {
                return Err(format!("{live} of {name}"));
            }
        }
        let news = run.news();
        for (name, row) in run.ledger.rows() {
            let before = self.phases.insert(name.clone(), row.phase());
            let surplus = matches!(row.leaving(), Some(Leaving::Surplus));
            let pool = row.pool.to_string();
            if before.is_none() {
                let flaps = |(at, had): &(i64, usize)| run.at - at < FLAP && *had == news;
                if self.went.get(&pool).is_some_and(flaps) {
                    return Err(format!("{name} is added just after one like it went"));
                }
            }
            if row.phase() == Phase::Deleting && before != Some(Phase::Deleting) && surplus {
                let busy =
                    |one: &super::cluster::Live| one.is_running() && one.pod.spec.node_name == name.as_str();
                if let Some(one) = run.cluster.pods.values().find(|one| busy(one)) {
                    return Err(format!("{name} goes with {} on it", one.pod.metadata.name));
                }
                self.went.insert(pool, (run.at, news));
            }
        }
        Ok(())
    }

    /// At the end nobody waits who could be helped.
    fn end(run: &Run<'_>) -> Result<(), String> {
        let full = |pool: &str| {
            run.spec
                .pools
                .iter()
                .any(|(name, of)| name.as_str() == pool && run.live(name).len() >= *of.size.end() as usize)
        };
        let helped = |one: &&super::cluster::Live| {
            let tolerates = one.jobs.tolerates.iter().any(|key| key == "gpu");
            let could = |pool: &str| !full(pool) && run.story.pools[pool].cpu >= one.jobs.cpu;
            one.over.is_none() && !one.is_running() && (could("workers") || tolerates && could("tainted"))
        };
        match run.cluster.pods.values().find(helped) {
            Some(one) => Err(format!("{} waits at the end", one.pod.metadata.name)),
            None => Ok(()),
        }
    }
}

/// Plays a history; `tamper` may spoil it at any instant, and says whether it did.
fn play(seed: u64, mut tamper: impl FnMut(&mut Run<'_>) -> bool) -> Result<(Vec<String>, bool), String> {
    let story = story(seed);
    let mut run = Run::new(&story)?;
    let (mut watch, mut spoilt) = (Watch::default(), false);
    let what = |run: &Run<'_>, why: String| {
        format!("seed {seed} at {} ms: {why}\n{}", run.at, run.log.lines.join("\n"))
    };
    while run.step() {
        spoilt = spoilt || tamper(&mut run);
        watch.look(&run).map_err(|why| what(&run, why))?;
    }
    Watch::end(&run).map_err(|why| what(&run, why))?;
    Ok((run.log.lines, spoilt))
}

#[test]
fn in_no_history_a_limit_is_passed_a_busy_node_removed_a_pod_forgotten_or_a_node_flaps() {
    let (mut added, mut gone, mut evicted) = (0, 0, 0);
    for seed in 0..SEEDS {
        let (lines, _) = play(seed, |_| false).unwrap_or_else(|why| panic!("{why}"));
        let count = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
        added += count("new, Creating");
        gone += count("is gone");
        evicted += count("evict ");
    }
    // The histories are of all kinds, or the test says nothing.
    assert!(added > SEEDS as usize && gone > SEEDS as usize / 2 && evicted > 3, "{added} {gone} {evicted}");
}

/// How many of some histories, of those that were spoilt, were seen to be.
fn seen(tamper: impl Fn(&mut Run<'_>) -> bool) -> (usize, usize) {
    let (mut spoilt, mut seen) = (0, 0);
    for seed in 0..20 {
        let mut did = false;
        let result = play(seed, |run| {
            did = did || tamper(run);
            did
        });
        spoilt += usize::from(did);
        seen += usize::from(did && result.is_err());
    }
    (spoilt, seen)
}

#[test]
fn planted_mistakes_are_seen() {
    let busy = |run: &mut Run<'_>| {
        let names = run.cluster.pods.values().filter(|one| one.is_running());
        let names: Vec<_> = names.map(|one| one.pod.spec.node_name.clone()).collect();
        let mut ours = names.iter().filter_map(|name| MachineName::new(name.as_str()).ok());
        ours.any(|name| {
            run.ledger
                .drain(&name, Leaving::Surplus)
                .and_then(|()| run.ledger.delete(&name, Leaving::Surplus))
                .is_ok()
        })
    };
    let (spoilt, found) = seen(busy);
    assert!(spoilt > 10 && found == spoilt, "a busy node is removed: {found} of {spoilt}");

    let above = |run: &mut Run<'_>| {
        let pools: Vec<_> =
            run.spec.pools.iter().map(|(name, pool)| (name.clone(), *pool.size.end())).collect();
        let (name, most) = &pools[0];
        (0..=*most).all(|_| run.add_row(name).is_some())
    };
    let (spoilt, found) = seen(above);
    assert!(spoilt > 10 && found == spoilt, "a limit is passed: {found} of {spoilt}");

    let unknown = |run: &mut Run<'_>| {
        // The autoscaler is told that the API server never answers again: nobody is helped any more.
        let waits = run.cluster.pods.values().any(|one| one.over.is_none() && !one.is_running());
        if waits {
            run.stale_until = i64::MAX;
        }
        waits
    };
    let (spoilt, found) = seen(unknown);
    assert!(spoilt > 10 && found * 2 > spoilt, "nobody is helped: {found} of {spoilt}");
}
