//! Plays a history: every act is a process of its own over what is stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::history::{Act, Circumstances, ELASTIC, History, Incident, More, NAME, Sizes};
use super::oracle::{Oracle, Watcher};
use super::timeline::Timeline;
use super::{Law, Mutation, Report};
use crate::events::Sink;
use crate::ledger::{Ledger, NewRow};
use crate::names::{ClusterId, ClusterName, LedgerId, MachineName, NameError, PoolName};
use crate::plan::{Limits, Stop};
use crate::provider::{MachineRequest, Owner};
use crate::quantity::{Cpu, Memory};
use crate::reconcile::{Ended, HostKeys, Parts, Reconciler};
use crate::spec::{Role, Shape};
use crate::store::StoreError;
use crate::teardown::{self, Down};
use crate::world::{Faults, Seat, World, WorldScripts};

/// How an `up` ended; `None`: killed, or given up by its operator.
pub(super) type UpEnd = Option<Result<Ended, StoreError>>;

/// The computer that takes down by tags.
const BY_TAGS: Seat = 2;
/// How long everything may take once the faults have stopped: two boots that time out, and an hour.
pub(super) const BOUND: Duration = Duration::from_secs(2 * 3600);

pub(super) struct Player {
    pub(super) world: World,
    oracle: Arc<Mutex<Oracle>>,
    mutation: Option<Mutation>,
    verbose: bool,
    drawn: u32,
    snapshots: Vec<Ledger>,
}

/// Plays the whole history of a seed, and what comes after it.
pub(super) async fn play(seed: u64, mutation: Option<Mutation>, verbose: bool) -> Report {
    let history = History::draw(seed);
    let world = World::new(seed, Faults::none());
    let oracle = Arc::new(Mutex::new(Oracle::new(Timeline::new(verbose), &history.faults)));
    let mut player = Player { world, oracle, mutation, verbose, drawn: 0, snapshots: Vec::new() };
    let end = match player.history(&history).await {
        Ok(end) => end,
        Err(error) => {
            player.breaks(Law::Converges, format!("a name of the simulation's own is wrong: {error}"));
            String::new()
        }
    };
    let oracle = player.oracle();
    Report {
        seed,
        broken: oracle.broken.clone(),
        hash: oracle.timeline.hash(),
        steps: oracle.timeline.steps(),
        faults: player.world.faults(),
        end,
        timeline: oracle.timeline.lines(),
    }
}

impl Player {
    pub(super) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaks(&self, law: Law, text: String) {
        self.oracle().breaks(law, text);
    }

    pub(super) fn note(&self, text: impl FnOnce() -> String) {
        self.oracle().timeline.note(text);
    }

    async fn history(&mut self, history: &History) -> Result<String, NameError> {
        self.neighbour()?;
        self.world.watch(Box::new(Watcher(Arc::clone(&self.oracle))));
        self.world.set_faults(history.faults.clone());
        self.note(|| format!("{:?}", history.faults));
        for act in &history.acts {
            self.note(|| format!("-- {act:?}"));
            self.act(act).await?;
            if self.oracle().broken.is_some() {
                return Ok(String::new());
            }
            self.snapshots.extend(self.world.stored());
        }
        self.calm();
        // Longer than any list is late: what was made under the faults shows.
        self.rest(Duration::from_secs(60)).await;
        self.note(|| format!("-- the faults stop; {:?} is asked for", history.last));
        self.converge(&history.last, history.jump).await
    }

    /// A cluster of another name, which is nobody's business here.
    fn neighbour(&mut self) -> Result<(), NameError> {
        let ledger = Ledger::new(
            LedgerId::from("neighbour"),
            Owner::Cli,
            ClusterId::new("other-00000000")?,
            World::cloud_id(),
        );
        self.place(ledger, "workers", 2)
    }

    /// Machines of somebody else.
    fn place(&mut self, mut ledger: Ledger, pool: &str, many: u32) -> Result<(), NameError> {
        for _ in 0..many {
            let new = NewRow {
                pool: PoolName::new(pool)?,
                role: Role::Worker,
                shape: Shape::of(Cpu::cores(2), Memory::gib(4)),
                image: crate::names::ImageName::from("debian-12"),
                zone: None,
                expose: Vec::new(),
                expires: None,
            };
            let Ok(name) = ledger.add(new, self.world.true_time()) else { continue };
            let request =
                ledger.request(&name, String::new(), WorldScripts.user_data(&name, self.world.true_time()));
            self.made_by_others(request);
        }
        Ok(())
    }

    /// The oracle must know them before it sees them.
    fn made_by_others(&mut self, request: Option<MachineRequest>) {
        let Some(request) = request else { return };
        let next = self.world.next_machine();
        self.oracle().strangers.insert(next);
        // The cloud may refuse them like any other.
        let _ = self.world.place(&request);
    }

    pub(super) fn parts(&self, seat: Seat) -> Parts {
        let events = if self.verbose {
            let oracle = Arc::clone(&self.oracle);
            Sink::new(move |event| {
                if let Some(line) = crate::report::line(&event.what) {
                    let mut oracle = oracle.lock().unwrap_or_else(PoisonError::into_inner);
                    oracle.timeline.note(|| format!("computer {seat}: {line}"));
                }
            })
        } else {
            Sink::none()
        };
        let mut parts = self.world.seat(seat).parts(events);
        if let Some(mutation) = self.mutation {
            mutation.plant(&mut parts);
        }
        parts
    }

    /// The ledger of a computer, or a new one with an id of its own.
    fn ledger(&mut self, seat: Seat) -> Result<Ledger, NameError> {
        if let Some(ledger) = self.world.seat(seat).stored() {
            return Ok(ledger);
        }
        self.drawn += 1;
        let cluster = ClusterId::of(&ClusterName::new(NAME)?, &format!("{:08}", self.drawn))?;
        let id = LedgerId(format!("cli-{seat}-{}", self.drawn));
        Ok(Ledger::new(id, Owner::Cli, cluster, World::cloud_id()))
    }

    async fn act(&mut self, act: &Act) -> Result<(), NameError> {
        match act {
            Act::Up(seat, sizes, how) => {
                drop(self.up(*seat, &[(sizes.clone(), Duration::ZERO)], how, false).await?)
            }
            Act::Twice([first, second], later, how) => {
                let both = [(first.clone(), Duration::ZERO), (second.clone(), *later)];
                self.up(0, &both, how, false).await?;
            }
            Act::Down(seat, grace, how) => drop(self.down(*seat, *grace, how).await?),
            Act::DownByTags(how) => self.down_by_tags(how).await?,
            Act::Rest(time) => self.rest(*time).await,
            Act::Clock(seconds) => self.world.set_clock(*seconds),
            Act::Restore(back) => self.restore(*back).await,
            Act::Daemon(many) => self.daemon(*many)?,
            Act::Accident(incident) => happen(&self.world, *incident),
        }
        Ok(())
    }

    pub(super) async fn rest(&self, time: Duration) {
        let world = self.world.clone();
        let asleep = async move { world.sleep(time).await };
        self.world.drive(asleep, time * 2).await;
    }

    fn calm(&self) {
        self.world.calm();
        self.world.kill_at(None);
    }

    /// One `up`, or more at the same time. The ends of all, in order.
    pub(super) async fn up(
        &mut self,
        seat: Seat,
        runs: &[(Sizes, Duration)],
        how: &Circumstances,
        accept_lost: bool,
    ) -> Result<Vec<UpEnd>, NameError> {
        let ledger = self.ledger(seat)?;
        if let Some(stop) = Stop::closing(&ledger) {
            return Ok(runs.iter().map(|_| Some(Ok(Ended::Stopped(stop.clone())))).collect());
        }
        let mut specs = Vec::new();
        for (sizes, _) in runs {
            specs.push(sizes.spec()?);
        }
        self.begin(seat, runs);
        let cancel = CancellationToken::new();
        let each = specs.iter().zip(runs).map(|(spec, (_, later))| {
            let (parts, ledger, cancel, world) = (self.parts(seat), ledger.clone(), &cancel, &self.world);
            async move {
                world.sleep(*later).await;
                let limits = Limits { accept_vanished: accept_lost, ..Limits::default() };
                Reconciler::new(parts, ledger, limits).settle(spec, cancel).await
            }
        });
        let both = futures::future::join_all(each);
        let ended = self.run(both, how).await;
        let ends: Vec<UpEnd> = match ended {
            Some(ends) => ends.into_iter().map(Some).collect(),
            None => runs.iter().map(|_| None).collect(),
        };
        self.note(|| format!("computer {seat}: up ended: {ends:?}"));
        Ok(ends)
    }

    fn begin(&self, seat: Seat, runs: &[(Sizes, Duration)]) {
        let sizes = |sizes: &Sizes| {
            let mut asked = BTreeMap::new();
            let mut ask = |pool: &str, size: u32| {
                if let Ok(pool) = PoolName::new(pool) {
                    asked.insert(pool, size);
                }
            };
            ask("front-end", 1);
            ask("workers", sizes.workers);
            if let Some(More::Fixed(size)) = sizes.more {
                ask("more", size);
            }
            asked
        };
        let now = self.world.true_time();
        let mut oracle = self.oracle();
        oracle.asked.insert(seat, runs.iter().map(|(run, _)| sizes(run)).collect());
        oracle.began = Some(now);
    }

    /// Work under circumstances.
    async fn run<T>(&self, work: impl Future<Output = T>, how: &Circumstances) -> Option<T> {
        self.world.kill_at(how.kill);
        self.world.elsewhere(how.elsewhere);
        let meanwhile = async {
            for (after, incident) in &how.incidents {
                self.world.sleep(*after).await;
                self.note(|| format!("meanwhile: {incident:?}"));
                happen(&self.world, *incident);
            }
            std::future::pending::<()>().await;
        };
        let work = async {
            tokio::select! {
                biased;
                done = work => Some(done),
                () = meanwhile => None,
            }
        };
        let done = self.world.drive(work, how.limit).await.flatten();
        self.world.kill_at(None);
        self.world.elsewhere(false);
        done
    }

    /// One `down`.
    pub(super) async fn down(
        &mut self,
        seat: Seat,
        grace: Duration,
        how: &Circumstances,
    ) -> Result<Option<Down>, NameError> {
        let Some(ledger) = self.world.seat(seat).stored() else { return Ok(None) };
        Ok(self.take_down(seat, ledger, grace, how).await)
    }

    async fn take_down(
        &mut self,
        seat: Seat,
        ledger: Ledger,
        grace: Duration,
        how: &Circumstances,
    ) -> Option<Down> {
        let cluster = ledger.cluster.clone();
        self.oracle().downs.insert(seat);
        self.begin(seat, &[]);
        let cancel = CancellationToken::new();
        let ended = self.run(teardown::down(self.parts(seat), ledger, grace, &cancel), how).await;
        self.note(|| format!("computer {seat}: down ended: {ended:?}"));
        let ended = ended?.ok()?;
        if ended == Down::Gone {
            let left = self.world.left(&cluster);
            if !left.is_empty() {
                self.breaks(Law::NothingLeft, format!("\"0 left\" was said, but there is {left:?}"));
            }
            self.world.seat(seat).restore(None);
            self.oracle().downs.remove(&seat);
        }
        Some(ended)
    }

    async fn down_by_tags(&mut self, how: &Circumstances) -> Result<(), NameError> {
        if self.world.seat(BY_TAGS).stored().is_some() {
            self.down(BY_TAGS, Duration::ZERO, how).await?;
            return Ok(());
        }
        let Some(cluster) = self.world.stored().map(|ledger| ledger.cluster) else { return Ok(()) };
        self.drawn += 1;
        let id = LedgerId(format!("stand-in-{}", self.drawn));
        let ledger = teardown::stand_in(id, cluster, World::cloud_id());
        self.take_down(BY_TAGS, ledger, Duration::ZERO, how).await;
        Ok(())
    }

    /// An older copy of the first computer's ledger comes back. What it does not know is not lost.
    async fn restore(&mut self, back: usize) {
        // Whatever was on its way has arrived, and lists show it: an older copy needs time to come back.
        self.rest(Duration::from_secs(60)).await;
        let Some(now) = self.world.stored() else { return };
        let older = self.snapshots.iter().rev().filter(|ledger| ledger.cluster == now.cluster).nth(back);
        let Some(older) = older.cloned() else { return };
        let rowless =
            self.world.machines().into_iter().filter(|machine| {
                machine.tags.ledger == older.id && older.row(&machine.tags.machine).is_none()
            });
        let mut oracle = self.oracle();
        oracle.rowless.extend(rowless.map(|machine| machine.id));
        oracle.rewound.insert(older.id.clone());
        if older.closing.is_none() {
            oracle.downs.remove(&0);
        }
        drop(oracle);
        self.world.restore(Some(&older));
    }

    fn daemon(&mut self, many: u32) -> Result<(), NameError> {
        let Some(ledger) = self.world.stored().filter(|ledger| ledger.closing.is_none()) else {
            return Ok(());
        };
        self.drawn += 1;
        let id = LedgerId(format!("daemon-{}", self.drawn));
        let mut daemon = Ledger::new(id, Owner::Autoscaler, ledger.cluster, World::cloud_id());
        daemon.next_ordinal = 1000 * u64::from(self.drawn);
        self.place(daemon, ELASTIC, many)
    }
}

/// Something happens.
fn happen(world: &World, incident: Incident) {
    // The neighbour's machines have their own accidents.
    let of_ours = |which: usize| -> Option<MachineName> {
        let machines = world.machines();
        let ours: Vec<_> = machines.iter().filter(|m| m.tags.cluster.as_str().starts_with(NAME)).collect();
        (!ours.is_empty()).then(|| ours[which % ours.len()].tags.machine.clone())
    };
    match incident {
        Incident::Clock(seconds) => world.set_clock(seconds),
        Incident::Hide(time) => world.hide(time),
        Incident::Destroy(which) => of_ours(which).iter().for_each(|name| world.destroy(name)),
        Incident::SwitchOff(which) => of_ours(which).iter().for_each(|name| world.switch_off(name)),
    }
}
