//! Killed at every single point: the same command again makes it right, and nothing is done twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::crash::{Fatal, Points};
use crate::names::StepId;
use crate::recipe::{Fact, Hook, Host, RenderError, Scripts};
use crate::reconcile::Parts;
use crate::remote::Job;
use crate::world::WorldScripts;

/// What a person asks for.
#[derive(Debug, Clone, Copy)]
enum Command {
    /// `up` with so many workers.
    Up(u32),
    /// `down`.
    Down,
}

/// A mistake that each process makes; the number is the process's own.
type Mistake = fn(&mut Parts, u64);

fn none(_: &mut Parts, _: u64) {}

/// What is done, where, and how it must be in the end.
struct Matrix {
    /// Commands before, each run to its end.
    before: &'static [Command],
    /// What is killed at every point, one after the other.
    killed: Command,
    /// What is run then.
    again: Command,
    /// The machines in the end.
    machines: &'static [&'static str],
    /// How many machines were ever made: at most, where the last command is not the one that was killed.
    made: std::ops::RangeInclusive<u64>,
    mistake: Mistake,
}

/// A command as a process of its own: whether it ended well (`None`: it was killed), and the points that it passed.
async fn process(
    world: &World,
    command: Command,
    fatal: Option<Fatal>,
    mistake: Mistake,
) -> (Option<bool>, Vec<String>) {
    let killed = Arc::clone(&world.killed);
    let points = Points::new(fatal, |_| {}, move || killed.notify_waiters());
    let mut parts = world.parts(Sink::none());
    mistake(&mut parts, world.points());
    let parts = points.around(parts);
    let ledger = world.stored().unwrap_or_else(new_ledger);
    let cancel = CancellationToken::new();
    let work = async {
        match command {
            Command::Up(workers) => {
                let mut engine = Reconciler::new(parts, ledger, Limits::default());
                engine.settle(&fixtures::spec(workers), &cancel).await.unwrap() == Ended::Settled
            }
            Command::Down => {
                teardown::down(parts, ledger, Duration::ZERO, &cancel).await.unwrap() == Down::Gone
            }
        }
    };
    let ended = world.drive(work, HOUR).await;
    (ended, points.passed())
}

impl Matrix {
    async fn world(&self) -> World {
        let world = World::new(1, Faults::none());
        for command in self.before {
            assert_eq!(process(&world, *command, None, none).await.0, Some(true), "{command:?}");
        }
        world
    }

    /// How many points there are, and what was wrong after which.
    async fn play(&self) -> (usize, Vec<String>) {
        let (ended, points) = process(&self.world().await, self.killed, None, self.mistake).await;
        assert_eq!(ended, Some(true), "{:?} without a kill", self.killed);
        let mut wrong = Vec::new();
        for (n, point) in points.iter().enumerate() {
            let world = self.world().await;
            let (ended, passed) =
                process(&world, self.killed, Some(Fatal::Number(n + 1)), self.mistake).await;
            // The world is the same each time, so the way up to the point is the same too.
            assert_eq!((ended, &passed[..]), (None, &points[..=n]));
            let (ended, _) = process(&world, self.again, None, self.mistake).await;
            wrong.extend(self.wrong(&world, ended).await.into_iter().map(|what| format!("{point}: {what}")));
        }
        (points.len(), wrong)
    }

    /// What is not as it must be in the end.
    async fn wrong(&self, world: &World, ended: Option<bool>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        must(ended == Some(true), format!("the second run ended with {ended:?}"));
        let mut machines = names(world);
        machines.sort();
        must(machines == self.machines, format!("machines {machines:?}"));
        must(self.made.contains(&world.made()), format!("{} machines were made", world.made()));
        let nodes: Vec<_> = world.nodes().iter().map(ToString::to_string).collect();
        // A cluster that is taken down forgets no nodes: its control plane goes with it.
        let down = matches!(self.again, Command::Down);
        must(down || nodes == self.machines, format!("nodes {nodes:?}"));
        must(world.cordoned().is_empty() || down, format!("cordoned {:?}", world.cordoned()));
        let grounds = world.state().scaffolds.len();
        must(grounds == usize::from(!down), format!("{grounds} networks"));
        let ledger = world.stored().unwrap();
        let rows: Vec<_> = ledger.rows().iter().map(|(name, row)| (name.to_string(), row.phase())).collect();
        let ready: Vec<_> = self.machines.iter().map(|name| ((*name).to_owned(), Phase::Ready)).collect();
        must(rows == ready, format!("rows {rows:?}"));
        for (what, times) in runs(world) {
            must(times == 1, format!("{what} ran {times} times"));
        }
        let steps = runs(world).len();
        must(down || steps >= 2 * self.machines.len(), format!("only {steps} steps ran"));
        if !down && ended == Some(true) {
            let before = (world.log(), world.stored(), world.made());
            let (ended, _) = process(world, self.again, None, none).await;
            must(ended == Some(true), format!("the third run ended with {ended:?}"));
            must(before == (world.log(), world.stored(), world.made()), "the third run did something".into());
        }
        wrong
    }
}

/// How often each step ran on each machine, under whatever unit. What is asked of the cluster (drains, nodes to forget) may
/// be asked again.
fn runs(world: &World) -> BTreeMap<String, usize> {
    let mut runs = BTreeMap::new();
    for (machine, unit) in world.log() {
        if !unit.starts_with("continuum-drain-") && !unit.starts_with("continuum-forget-") {
            // Recipes and steps of this world have no dashes in their names.
            let step: Vec<&str> = unit.splitn(4, '-').take(3).collect();
            *runs.entry(format!("{} on {machine}", step.join("-"))).or_default() += 1;
        }
    }
    runs
}

const UP: Matrix = Matrix {
    before: &[],
    killed: Command::Up(2),
    again: Command::Up(2),
    machines: &["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3"],
    made: 3..=3,
    mistake: none,
};

const SMALLER: Matrix = Matrix {
    before: &[Command::Up(3)],
    killed: Command::Up(1),
    again: Command::Up(1),
    machines: &["lab1-front-end-1", "lab1-workers-2"],
    made: 4..=4,
    mistake: none,
};

const DOWN: Matrix = Matrix {
    before: &[Command::Up(2)],
    killed: Command::Down,
    again: Command::Down,
    machines: &[],
    made: 3..=3,
    mistake: none,
};

/// Nothing is wrong after any point, and there are points enough for it to mean something.
async fn right(matrix: Matrix, least: usize) {
    let (points, wrong) = matrix.play().await;
    println!("{:?} killed at each of {points} points, then {:?}", matrix.killed, matrix.again);
    assert!(points >= least, "{points} points");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn up_killed_at_any_point_and_run_again_is_as_if_it_never_was() {
    right(UP, 100).await;
}

#[tokio::test]
async fn down_killed_at_any_point_goes_on_when_called_again() {
    right(DOWN, 30).await;
}

#[tokio::test]
async fn a_pool_that_grows_does_so_over_any_kill() {
    let machines = &["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3", "lab1-workers-4"];
    let (killed, again) = (Command::Up(3), Command::Up(3));
    let matrix = Matrix { before: &[Command::Up(2)], killed, again, machines, made: 4..=4, mistake: none };
    right(matrix, 30).await;
}

#[tokio::test]
async fn a_pool_that_shrinks_does_so_over_any_kill() {
    right(SMALLER, 30).await;
}

#[tokio::test]
async fn what_is_half_made_goes_without_a_trace() {
    right(Matrix { again: Command::Down, machines: &[], made: 0..=3, ..UP }, 100).await;
}

/// Every process names its units anew: a machine cannot know that a step was done.
struct Forgetful(u64);

impl Scripts for Forgetful {
    fn job(
        &self,
        host: &Host,
        step: &StepId,
        facts: BTreeMap<StepId, secrecy::SecretSlice<u8>>,
    ) -> Result<Job, RenderError> {
        let job = WorldScripts.job(host, step, facts)?;
        Ok(Job { unit: format!("{}-{}", job.unit, self.0), ..job })
    }
    fn fact(&self, host: &Host, fact: &StepId) -> Result<Fact, RenderError> {
        WorldScripts.fact(host, fact)
    }
    fn hook(&self, host: &Host, hook: Hook) -> Result<Vec<String>, RenderError> {
        WorldScripts.hook(host, hook)
    }
}

#[tokio::test]
async fn a_mistake_that_only_a_kill_brings_to_light_is_seen() {
    let mistake: Mistake = |parts, process| parts.scripts = Arc::new(Forgetful(process));
    let (points, wrong) = Matrix { mistake, ..UP }.play().await;
    let seen = wrong.iter().filter(|what| what.ends_with(" ran 2 times")).count();
    assert!(0 < seen && seen < points, "after {seen} of {points} points: {wrong:#?}");
}
