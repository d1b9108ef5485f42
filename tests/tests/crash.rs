//! Killed at points of the engine on real machines: before and after each save, each call to the cloud and each script. The
//! same command again makes it right, nothing is done twice, and nothing is left. In memory the same is tried at every
//! point, for more commands (`provisioner/src/world/tests/crash.rs`). Needs root; says so and passes without.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says how far it came")]

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use continuum_tests::points::{effects, effects_first, is_effect, of_kind, spread};
use continuum_tests::small::{changed, cluster_file, fine, gone, whole, with_recipes, words};
use continuum_tests::{Ended, Lab, program, program_with_points};
use provisioner::clock;
use serde_json::Value;

fn up(file: &str) -> Vec<String> {
    with_recipes("up", file)
}

fn down(cluster: &str) -> [&str; 6] {
    ["cluster", "down", cluster, "--yes", "-o", "json"]
}

/// Kills a command at a point: whether it came to it. What is named after a number of times may come once less, as it depends
/// on how much one save or one look at the cloud takes in.
fn kill(lab: &Lab, point: &str, args: &[&str]) -> bool {
    let ended = lab.killed_at(point, args);
    assert!(matches!(ended.code, None | Some(0)), "{point}: {ended}");
    println!("{}: {point}", if ended.code.is_none() { "killed at" } else { "did not come to" });
    ended.code.is_none()
}

/// The same command again goes on, and once more there is nothing to do.
fn goes_on(lab: &Lab, cluster: &str, file: &str, workers: usize, killed: &str) {
    let again: Ended = lab.run(&words(&up(file)));
    assert_eq!(again.code, Some(0), "{cluster}, killed at {killed}: {again}");
    whole(lab, cluster, workers);
    assert!(!changed(&lab.run(&words(&up(file)))), "{cluster}, killed at {killed}");
}

/// A cluster that is killed while it is made and while it goes; how many of the effects it came to.
fn through(lab: &Lab, cluster: &str, up_at: Option<&String>, down_at: Option<&String>) -> usize {
    let file = cluster_file(lab, cluster, 1, &[]);
    let comes = |point: Option<&String>, args: &[&str]| point.is_some_and(|point| kill(lab, point, args));
    let up_came = comes(up_at, &words(&up(&file)));
    goes_on(lab, cluster, &file, 1, up_at.map_or("no point", String::as_str));
    let down_came = comes(down_at, &down(cluster));
    // One that was not killed has left nothing that could be taken down once more.
    if down_came || down_at.is_none() {
        let again = lab.run(&down(cluster));
        assert_eq!(again.code, Some(0), "{cluster}, killed at {down_at:?}: {again}");
    }
    gone(lab, cluster);
    let counts = |came: bool, point: Option<&String>| came && point.is_some_and(|point| is_effect(point));
    usize::from(counts(up_came, up_at)) + usize::from(counts(down_came, down_at))
}

/// The points of an `up` of one front-end and one worker, and of its `down`, when nobody disturbs them.
fn points(lab: &Lab) -> (Vec<String>, Vec<String>) {
    let file = cluster_file(lab, "calm", 1, &[]);
    let (made, ups) = lab.points(&words(&up(&file)));
    fine(&made);
    whole(lab, "calm", 1);
    let ledger = std::fs::read_to_string(lab.state("calm").join("ledger.json")).unwrap();
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    let (removed, downs) = lab.points(&down("calm"));
    fine(&removed);
    gone(lab, "calm");
    println!("points: {} of `up`, {} of them effects", ups.len(), effects(&ups).len());
    println!("points: {} of `down`, {} of them effects", downs.len(), effects(&downs).len());
    // Every generation of the ledger is a save with its two sides; the steps are two and three, and there are two host keys.
    let generations = usize::try_from(ledger["generation"].as_u64().unwrap()).unwrap();
    assert_eq!(of_kind(&ups, "save"), 2 * generations, "{ups:#?}");
    let kinds = ["provider.scaffold", "provider.create", "remote.run"].map(|kind| of_kind(&ups, kind));
    assert_eq!(kinds, [2, 4, 14], "{ups:#?}");
    assert_eq!(["provider.delete", "provider.sweep"].map(|kind| of_kind(&downs, kind)), [4, 2], "{downs:#?}");
    (ups, downs)
}

/// All of something, some at a time: much of each is waiting. The sum of what each counts.
fn in_lanes(lanes: usize, many: usize, work: impl Fn(usize) -> usize + Sync) -> usize {
    let (next, came, began) = (AtomicUsize::new(0), AtomicUsize::new(0), clock::monotonic());
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= many {
                        return;
                    }
                    came.fetch_add(work(n), Ordering::Relaxed);
                }
            });
        }
    });
    let came = came.into_inner();
    println!("killed at {came} effects, in {} s", began.elapsed().as_secs());
    came
}

/// What is killed at hardly any point proves nothing. Of looks there may be more or fewer each time, so they do not count.
fn came_to_most(came: usize, effects: usize) {
    assert!(came * 10 >= effects * 8, "came to {came} of {effects} effects");
}

/// Clusters at a time where there are many: more only wait for the processors.
const LANES: usize = 4;

#[test]
fn killed_at_points_from_the_first_to_the_last_the_same_command_goes_on() {
    let Some(lab) = Lab::open("crash") else { return };
    let (ups, downs) = points(&lab);
    let (ups, downs) = (spread(&effects(&ups), 10), spread(&effects(&downs), 10));
    println!("{ups:?}\n{downs:?}");
    let came = in_lanes(2, 10, |n| through(&lab, &format!("k{n}"), ups.get(n), downs.get(n)));
    came_to_most(came, 20);
    lab.close();
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn killed_at_every_point_the_same_command_goes_on() {
    let Some(lab) = Lab::open("crash-all") else { return };
    let (ups, downs) = points(&lab);
    let (ups, downs) = (effects_first(&ups), effects_first(&downs));
    let many = ups.len().max(downs.len());
    let came = in_lanes(LANES, many, |n| through(&lab, &format!("e{n}"), ups.get(n), downs.get(n)));
    came_to_most(came, effects(&ups).len() + effects(&downs).len());
    lab.close();
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn what_is_half_made_goes_without_a_trace() {
    let Some(lab) = Lab::open("crash-half") else { return };
    let ups = effects(&points(&lab).0);
    let came = in_lanes(LANES, ups.len(), |n| {
        let cluster = format!("h{n}");
        let file = cluster_file(&lab, &cluster, 1, &[]);
        let came = kill(&lab, &ups[n], &words(&up(&file)));
        let removed = lab.run(&down(&cluster));
        assert_eq!(removed.code, Some(0), "{cluster}, killed at {}: {removed}", ups[n]);
        gone(&lab, &cluster);
        usize::from(came)
    });
    came_to_most(came, ups.len());
    lab.close();
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn a_pool_changes_its_size_over_a_kill_at_every_point() {
    let Some(lab) = Lab::open("crash-size") else { return };
    let file = cluster_file(&lab, "calm", 1, &[]);
    fine(&lab.run(&words(&up(&file))));
    let points = |workers| {
        let (ended, points) = lab.points(&words(&up(&cluster_file(&lab, "calm", workers, &[]))));
        fine(&ended);
        whole(&lab, "calm", workers as usize);
        points
    };
    let (grows, shrinks) = (effects_first(&points(2)), effects_first(&points(1)));
    fine(&lab.run(&down("calm")));
    println!("points: {} of 1 to 2, {} of 2 to 1", grows.len(), shrinks.len());
    let many = grows.len().max(shrinks.len());
    let came = in_lanes(LANES, LANES, |lane| {
        let cluster = format!("s{lane}");
        let mut came = 0;
        fine(&lab.run(&words(&up(&cluster_file(&lab, &cluster, 1, &[])))));
        for n in (lane..many).step_by(LANES) {
            for (points, workers) in [(&grows, 2), (&shrinks, 1)] {
                let file = cluster_file(&lab, &cluster, workers, &[]);
                let at = points.get(n).map_or("", String::as_str);
                came += usize::from(!at.is_empty() && kill(&lab, at, &words(&up(&file))));
                goes_on(&lab, &cluster, &file, workers as usize, at);
            }
        }
        fine(&lab.run(&down(&cluster)));
        gone(&lab, &cluster);
        came
    });
    came_to_most(came, effects(&grows).len() + effects(&shrinks).len());
    lab.close();
}

#[test]
fn the_program_itself_has_no_points() {
    let has_them = |path: &std::path::Path| {
        let status = Command::new("grep").args(["-qaF", "CONTINUUM_CRASH_AT"]).arg(path).status().unwrap();
        assert!(matches!(status.code(), Some(0 | 1)), "{}: {status}", path.display());
        status.success()
    };
    assert!(has_them(&program_with_points()), "it would not be found where it is");
    assert!(!has_them(&program()), "{} can be made to kill itself", program().display());
}
