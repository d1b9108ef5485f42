//! A cluster that is made anew after its front-end was lost, and drains that are called off: killed at every point.

use super::*;
use crate::names::MachineName;
use crate::plan::lost_front_end;

/// `up --rebuild-front-end`: a run, and if it stops because the front-end is lost, another one that gives it up.
async fn rebuild(world: &World, spec: &Spec) -> Option<Ended> {
    let ledger = world.stored().unwrap_or_else(new_ledger);
    let run = async {
        let cancel = CancellationToken::new();
        let mut engine = Reconciler::new(world.parts(Sink::none()), ledger, Limits::default());
        let ended = engine.settle(spec, &cancel).await.unwrap();
        let Ended::Stopped(stop) = ended else { return ended };
        let Some((lost, _)) = lost_front_end(engine.ledger(), &stop) else { return Ended::Stopped(stop) };
        engine.give_up_front_end(lost);
        engine.settle(spec, &cancel).await.unwrap()
    };
    world.drive(run, HOUR).await
}

/// A cluster of one front-end and two workers that has lost its front-end.
async fn headless(spec: &Spec) -> World {
    let world = World::new(1, Faults::none());
    up(&world, spec).await;
    world.destroy(&fixtures::name("lab1-front-end-1"));
    world
}

const ANEW: [&str; 3] = ["lab1-front-end-4", "lab1-workers-5", "lab1-workers-6"];

fn sorted(names: Vec<String>) -> Vec<String> {
    let mut names = names;
    names.sort();
    names
}

fn nodes(world: &World) -> Vec<String> {
    world.nodes().iter().map(MachineName::to_string).collect()
}

#[tokio::test]
async fn a_front_end_that_is_lost_is_made_anew_with_every_worker() {
    let spec = fixtures::spec(2);
    let world = headless(&spec).await;
    let id = world.stored().unwrap().cluster;
    assert_eq!(rebuild(&world, &spec).await, Some(Ended::Settled));
    assert_whole(&world, &spec, "rebuilt");
    assert_eq!(sorted(names(&world)), ANEW);
    assert_eq!(nodes(&world), ANEW);
    assert_eq!(world.stored().unwrap().cluster, id);
    let log = world.log();
    assert!(log.iter().all(|(_, unit)| !unit.contains("forget")), "nobody remembers the old nodes: {log:?}");
}

#[tokio::test]
async fn a_front_end_that_is_well_is_never_rebuilt() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    let (before, log) = (world.stored(), world.log());
    assert_eq!(rebuild(&world, &spec).await, Some(Ended::Settled));
    assert_eq!((world.stored(), world.log()), (before, log));
}

#[tokio::test]
async fn killed_at_any_point_of_a_rebuild_it_goes_on_and_never_rebuilds_twice() {
    let spec = fixtures::spec(1);
    let anew = ["lab1-front-end-3", "lab1-workers-4"];
    let total = {
        let world = headless(&spec).await;
        let before = world.points();
        rebuild(&world, &spec).await;
        world.points() - before
    };
    assert!(total > 50, "{total}");
    let mut undecided = 0;
    for point in 0..total {
        let world = headless(&spec).await;
        world.kill_at(Some(point));
        assert_eq!(rebuild(&world, &spec).await, None, "killed at {point}");
        world.kill_at(None);
        let decided = world
            .stored()
            .unwrap()
            .row(&fixtures::name("lab1-front-end-1"))
            .is_none_or(|row| row.phase() == Phase::Deleting);
        // Once it is decided, no word is needed any more; before that nothing was done.
        let ended = up(&world, &spec).await;
        if !decided {
            undecided += 1;
            assert!(matches!(ended, Some(Ended::Stopped(Stop::FrontEndLost { .. }))), "{point}: {ended:?}");
            assert_eq!(names(&world), ["lab1-workers-2"], "killed at {point}");
            continue;
        }
        assert_eq!(ended, Some(Ended::Settled), "after a kill at {point}");
        assert_whole(&world, &spec, &format!("after a kill at {point}"));
        assert_eq!(sorted(names(&world)), anew, "after a kill at {point}");
        if point % 8 > 0 {
            continue;
        }
        assert_eq!(rebuild(&world, &spec).await, Some(Ended::Settled), "the word again");
        assert_eq!(sorted(names(&world)), anew, "the word again, after a kill at {point}");
    }
    assert!(undecided > 0 && undecided < total, "{undecided} of {total} kills came before the decision");
}

#[tokio::test]
async fn a_drain_is_called_off_at_any_point_without_a_machine_lost_or_cordoned() {
    let (small, large) = (fixtures::spec(2), fixtures::spec(3));
    let total = {
        let world = World::new(1, Faults::none());
        up(&world, &large).await;
        let before = world.points();
        up(&world, &small).await;
        world.points() - before
    };
    let mut came_back = 0;
    for point in 0..total {
        let world = World::new(1, Faults::none());
        up(&world, &large).await;
        world.kill_at(Some(point));
        assert_eq!(up(&world, &small).await, None, "killed at {point}");
        world.kill_at(None);
        let last = fixtures::name("lab1-workers-4");
        let phase = world.stored().unwrap().row(&last).map(crate::ledger::Row::phase);
        assert_eq!(up(&world, &large).await, Some(Ended::Settled), "after a kill at {point}");
        assert_whole(&world, &large, &format!("after a kill at {point}"));
        assert_eq!(world.cordoned(), [], "after a kill at {point}");
        if matches!(phase, Some(Phase::Ready | Phase::Draining)) {
            assert_eq!(world.made(), 4, "nothing new was made after a kill at {point}");
            came_back += usize::from(phase == Some(Phase::Draining));
        }
    }
    assert!(came_back > 3, "{came_back} of {total} kills came while it drained");
}

#[tokio::test]
async fn killed_at_any_point_after_a_machine_was_switched_off_no_stale_node_is_believed() {
    let spec = fixtures::spec(2);
    let total = {
        let world = World::new(1, Faults::none());
        up(&world, &spec).await;
        world.switch_off(&fixtures::name("lab1-workers-2"));
        let before = world.points();
        up(&world, &spec).await;
        world.points() - before
    };
    for point in 0..total {
        let world = World::new(1, Faults::none());
        up(&world, &spec).await;
        world.switch_off(&fixtures::name("lab1-workers-2"));
        world.kill_at(Some(point));
        assert_eq!(up(&world, &spec).await, None, "killed at {point}");
        world.kill_at(None);
        assert_eq!(up(&world, &spec).await, Some(Ended::Settled), "after a kill at {point}");
        assert_eq!(world.stale(), [], "after a kill at {point}");
    }
}

#[tokio::test]
async fn a_drain_that_was_called_off_by_a_run_that_was_killed_is_done_again() {
    let (small, large) = (fixtures::spec(2), fixtures::spec(3));
    let ran = |world: &World, verb: &str| {
        let unit = format!("continuum-{verb}-lab1-workers-4-");
        world.log().iter().rposition(|(_, name)| name.starts_with(&unit))
    };
    let drains = |world: &World| {
        let row = fixtures::name("lab1-workers-4");
        world.stored().unwrap().row(&row).is_some_and(|row| row.phase() == Phase::Draining)
    };
    // A run that is killed after the drain has ended and before its row is anything but Draining.
    let drained = |first| async move {
        let world = World::new(1, Faults::none());
        up(&world, &fixtures::spec(3)).await;
        world.kill_at(Some(first));
        let killed = up(&world, &fixtures::spec(2)).await.is_none();
        world.kill_at(None);
        (killed && drains(&world) && ran(&world, "drain").is_some()).then_some(world)
    };
    let mut first = 0;
    while drained(first).await.is_none() {
        first += 1;
        assert!(first < 200, "no kill comes right after the drain");
    }
    let mut seen = 0;
    for second in 0..30 {
        let world = drained(first).await.unwrap();
        world.kill_at(Some(second));
        let ended = up(&world, &large).await;
        world.kill_at(None);
        if ended.is_some() || !drains(&world) {
            continue;
        }
        let Some(called_off) = ran(&world, "uncordon") else { continue };
        seen += 1;
        assert_eq!(up(&world, &small).await, Some(Ended::Settled), "killed at {second}");
        assert!(ran(&world, "drain") > Some(called_off), "killed at {second}: {:?}", world.log());
    }
    assert!(seen > 0, "no two kills came in between");
}
