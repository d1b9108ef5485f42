//! The engine over the world: whole runs.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Faults, World};
use crate::events::Sink;
use crate::ledger::{Ledger, Phase};
use crate::names::{ClusterId, LedgerId, MachineName};
use crate::plan::{Limits, Stop, fixtures};
use crate::provider::Owner;
use crate::reconcile::{Ended, Reconciler};
use crate::spec::Spec;

const HOUR: Duration = Duration::from_secs(3600);

fn new_ledger() -> Ledger {
    Ledger::new(
        LedgerId::from("cli-1"),
        Owner::Cli,
        ClusterId::new("lab1-7k2m9qxa").unwrap(),
        World::cloud_id(),
    )
}

/// One `up`: a new process over what is stored. `None`: killed, or not done within an hour.
async fn up(world: &World, spec: &Spec) -> Option<Ended> {
    let ledger = world.stored().unwrap_or_else(new_ledger);
    let run = async {
        let mut engine = Reconciler::new(world.parts(Sink::none()), ledger, Limits::default());
        engine.settle(spec, &CancellationToken::new()).await.unwrap()
    };
    world.drive(run, HOUR).await
}

fn names(world: &World) -> Vec<String> {
    world.machines().iter().map(|machine| machine.tags.machine.to_string()).collect()
}

/// Rows and machines are the same, all Ready, and the pools as large as asked for.
fn assert_whole(world: &World, spec: &Spec, context: &str) {
    let ledger = world.stored().unwrap();
    let mut rows: Vec<_> = ledger.rows().iter().map(|(name, row)| (name.to_string(), row.phase())).collect();
    rows.sort();
    let mut machines: Vec<_> = names(world).into_iter().map(|name| (name, Phase::Ready)).collect();
    machines.sort();
    assert_eq!(rows, machines, "{context}");
    let mut sizes = BTreeMap::new();
    for row in ledger.rows().values() {
        *sizes.entry(row.pool.clone()).or_insert(0) += 1;
    }
    let asked: BTreeMap<_, _> =
        spec.pools.iter().map(|(name, pool)| (name.clone(), *pool.size.end())).collect();
    assert_eq!(sizes, asked, "{context}");
}

#[tokio::test]
async fn up_makes_a_cluster_and_the_second_up_does_nothing() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_whole(&world, &spec, "first");
    assert_eq!(names(&world), ["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3"]);
    let (log, stored) = (world.log(), world.stored());
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_eq!((world.log(), world.stored()), (log, stored));
}

#[tokio::test]
async fn one_more_worker_touches_no_machine_that_is_ready() {
    let world = World::new(1, Faults::none());
    up(&world, &fixtures::spec(2)).await;
    let before = world.log().len();
    assert_eq!(up(&world, &fixtures::spec(3)).await, Some(Ended::Settled));
    let after: Vec<_> = world.log()[before..].iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(after, ["lab1-workers-4", "lab1-workers-4"]);
}

#[tokio::test]
async fn one_worker_less_drains_the_newest_and_forgets_its_node() {
    let world = World::new(1, Faults::none());
    up(&world, &fixtures::spec(3)).await;
    let before = world.log().len();
    assert_eq!(up(&world, &fixtures::spec(2)).await, Some(Ended::Settled));
    assert_whole(&world, &fixtures::spec(2), "smaller");
    assert_eq!(names(&world), ["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3"]);
    let jobs: Vec<_> = world.log()[before..].iter().map(|(on, unit)| format!("{on} {unit}")).collect();
    assert_eq!(jobs.len(), 2);
    assert!(jobs[0].starts_with("lab1-front-end-1 continuum-drain-lab1-workers-4-"), "{jobs:?}");
    assert!(jobs[1].starts_with("lab1-front-end-1 continuum-forget-lab1-workers-4-"), "{jobs:?}");
    assert!(!world.nodes().contains(&fixtures::name("lab1-workers-4")));
}

#[tokio::test]
async fn a_worker_that_is_gone_is_replaced_under_a_new_name() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    world.destroy(&fixtures::name("lab1-workers-2"));
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_whole(&world, &spec, "replaced");
    let nodes: Vec<_> = world.nodes().iter().map(ToString::to_string).collect();
    assert_eq!(nodes, ["lab1-front-end-1", "lab1-workers-3", "lab1-workers-4"]);
}

#[tokio::test]
async fn a_worker_that_was_switched_off_is_started_again_from_its_disk() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    let log = world.log();
    world.switch_off(&fixtures::name("lab1-workers-2"));
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_eq!(world.log(), log);
    assert_eq!(names(&world), ["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3"]);
}

#[tokio::test]
async fn a_front_end_that_is_gone_stops_with_what_is_lost() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    let front_end = fixtures::name("lab1-front-end-1");
    world.destroy(&front_end);
    let ended = up(&world, &spec).await;
    let why = "gone, and nobody deleted it".to_owned();
    assert_eq!(ended, Some(Ended::Stopped(Stop::FrontEndLost { name: front_end, why, others: false })));
    assert_eq!(names(&world), ["lab1-workers-2", "lab1-workers-3"], "nothing else was touched");
}

#[tokio::test]
async fn an_older_ledger_adopts_what_it_does_not_know() {
    let world = World::new(1, Faults::none());
    up(&world, &fixtures::spec(1)).await;
    let older = world.stored();
    up(&world, &fixtures::spec(3)).await;
    world.restore(older.as_ref());
    assert_eq!(up(&world, &fixtures::spec(3)).await, Some(Ended::Settled));
    assert_whole(&world, &fixtures::spec(3), "adopted");
    let expected = ["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3", "lab1-workers-4"];
    assert_eq!(names(&world), expected, "nothing was deleted and no name was used twice");
}

#[tokio::test]
async fn a_step_that_keeps_failing_stops_the_run_with_its_last_lines() {
    let (world, spec) = (World::new(1, Faults { step_fails: 1000, ..Faults::none() }), fixtures::spec(1));
    let Some(Ended::Stopped(Stop::StepFailed { step, why, tail, .. })) = up(&world, &spec).await else {
        panic!("the run must stop")
    };
    assert_eq!((step.to_string().as_str(), why.as_str()), ("base/setup", "exit status 1"));
    assert_eq!(tail, ["something went wrong"]);
    world.calm();
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled), "the next run really tries again");
}

#[tokio::test]
async fn killed_at_any_point_the_same_command_again_converges() {
    let spec = fixtures::spec(2);
    let total = {
        let world = World::new(1, Faults::none());
        up(&world, &spec).await;
        world.points()
    };
    assert!(total > 50, "a run has many points: {total}");
    for point in 0..total {
        let world = World::new(1, Faults::none());
        world.kill_at(Some(point));
        assert_eq!(up(&world, &spec).await, None, "killed at {point}");
        world.kill_at(None);
        assert_eq!(up(&world, &spec).await, Some(Ended::Settled), "after a kill at {point}");
        assert_whole(&world, &spec, &format!("after a kill at {point}"));
        assert_eq!(world.machines().len(), 3, "no duplicate and no orphan after a kill at {point}");
    }
}

#[tokio::test]
async fn after_a_bad_day_everything_converges() {
    let spec = fixtures::spec(3);
    for seed in 0..60 {
        let world = World::new(seed, Faults::bad_day());
        for _ in 0..6 {
            let _ = up(&world, &spec).await;
        }
        let lost: Vec<MachineName> = match up(&world, &spec).await {
            Some(Ended::Stopped(Stop::FrontEndLost { .. } | Stop::Vanished { .. })) => continue,
            _ => Vec::new(),
        };
        world.calm();
        let ended = up(&world, &spec).await;
        if matches!(ended, Some(Ended::Stopped(Stop::FrontEndLost { .. } | Stop::Vanished { .. }))) {
            continue;
        }
        assert_eq!(ended, Some(Ended::Settled), "seed {seed}, {lost:?}");
        assert_whole(&world, &spec, &format!("seed {seed}"));
    }
}
