//! The story in the order of time: events change the cluster, the scheduler binds, and the autoscaler ticks.
//!
//! A tick is as the daemon has it: soon after something changed, but not at every change of a burst, and at the latest after an
//! interval. The interval is shorter than what one pass may add to observed time, or idle times would pass more slowly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use provisioner::ages::Sight;
use provisioner::ledger::{Ledger, changes};
use provisioner::names::{MachineName, PoolName};
use provisioner::provider::dice::Random;
use provisioner::spec::Spec;

use super::clues::{self, Clues};
use super::cluster::{Cluster, Live};
use super::log::{Account, Life, Log};
use super::objects;
use super::story::{Autoscaler, Fault, Jobs, Story};
use crate::decide::{KubeAction, Seen, decide};
use crate::forecast::{Demand, Forecast};
use crate::learned::{Learned, kin};

/// A tick follows a change after so many milliseconds without another one …
const WINDOW: i64 = 100;
/// … and at the latest so many after the first.
const WINDOW_MOST: i64 = 500;
/// A tick comes at the latest so many milliseconds after the last.
const INTERVAL: i64 = 10_000;
/// No story is longer than a day.
const LONGEST: i64 = 24 * 3600 * 1000;
/// How much longer than the idle time nothing must have happened before a story is over.
const QUIET: i64 = 90_000;

/// Something that happens at a time.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Arrive(Arc<Jobs>),
    End(u64),
    Registers(MachineName),
    Ready(MachineName),
    Gone(MachineName),
    Silent(MachineName),
    Missed(MachineName),
    Fault(Box<Fault>),
}

/// What became of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What happened, in the order of time.
    pub timeline: Vec<String>,
    /// What it cost.
    pub account: Account,
}

/// A change that no tick has seen yet: since when, and until when it waits for more.
#[derive(Debug, Clone, Copy)]
struct Window {
    first: i64,
    due: i64,
}

pub(super) struct Run<'a> {
    pub(super) story: &'a Story,
    pub(super) spec: Spec,
    pub(super) ledger: Ledger,
    pub(super) learned: Learned,
    pub(super) cluster: Cluster,
    pub(super) lives: BTreeMap<MachineName, Life>,
    pub(super) going: BTreeSet<MachineName>,
    pub(super) dice: Random,
    pub(super) log: Log,
    pub(super) clues: Clues,
    pub(super) at: i64,
    /// Something changed since the last tick.
    pub(super) changed: bool,
    pub(super) queue: BTreeMap<(i64, u64), Event>,
    pub(super) sequence: u64,
    pub(super) stale_until: i64,
    window: Option<Window>,
    next_tick: i64,
    last_change: i64,
}

/// Plays a story.
///
/// # Errors
/// What in the story cannot be: a name, or a policy that cannot be obeyed.
pub fn run(story: &Story) -> Result<Outcome, String> {
    let mut run = Run::new(story)?;
    run.play();
    Ok(run.finish())
}

impl<'a> Run<'a> {
    pub(super) fn new(story: &'a Story) -> Result<Self, String> {
        let (spec, ledger, learned) = super::story::begin(story)?;
        let mut run = Self {
            story,
            spec,
            ledger,
            learned,
            cluster: Cluster::default(),
            lives: BTreeMap::new(),
            going: BTreeSet::new(),
            dice: Random::new(story.seed),
            log: Log::default(),
            clues: Clues::default(),
            at: 0,
            changed: false,
            queue: BTreeMap::new(),
            sequence: 0,
            stale_until: 0,
            window: None,
            next_tick: match story.autoscaler {
                Autoscaler::Continuum => 0,
                Autoscaler::Clues => clues::FIRST,
            },
            last_change: 0,
        };
        run.begin();
        Ok(run)
    }

    fn begin(&mut self) {
        for (name, pool) in &self.story.pools {
            let Ok(pool_name) = PoolName::new(name.as_str()) else { continue };
            for _ in 0..pool.up {
                let Some(name) = self.add_row(&pool_name) else { continue };
                self.follow();
                self.queue.clear();
                self.registers(&name);
                self.ready(&name);
            }
        }
        for jobs in &self.story.jobs {
            self.later(jobs.at.0, Event::Arrive(Arc::new(jobs.clone())));
        }
        for fault in &self.story.faults {
            self.later(fault.at.0, Event::Fault(Box::new(fault.clone())));
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        let began = Timestamp::from_second(1_800_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
        began.checked_add(SignedDuration::from_millis(self.at)).unwrap_or(began)
    }

    pub(super) fn later(&mut self, after: i64, event: Event) {
        self.queue.insert((self.at.saturating_add(after), self.sequence), event);
        self.sequence += 1;
    }

    /// How often pods came, went or were lost from outside: what a decision may change for.
    #[cfg(test)]
    pub(super) fn news(&self) -> usize {
        let own = ["row ", "wait: ", "cordon ", "uncordon ", "evict "];
        let outside = |line: &&String| !own.iter().any(|word| line.contains(&format!("s  {word}")));
        self.log.lines.iter().filter(outside).count()
    }

    fn play(&mut self) {
        while self.step() {}
    }

    /// The next instant; false when the story is over.
    pub(super) fn step(&mut self) -> bool {
        let tick = self.window.map_or(self.next_tick, |window| window.due.min(self.next_tick));
        let at = self.queue.keys().next().map_or(tick, |(at, _)| tick.min(*at));
        if self.is_over(at) {
            return false;
        }
        self.at = at;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= at) {
            let event = entry.remove();
            self.happen(event);
        }
        self.schedule();
        self.note_change();
        if tick <= at {
            self.tick();
            self.note_change();
        }
        true
    }

    fn is_over(&self, at: i64) -> bool {
        let idle =
            self.spec.pools.keys().map(|pool| self.story.policy.idle_of(pool)).max().unwrap_or_default();
        let quiet = i64::try_from(idle.as_millis()).unwrap_or(LONGEST).saturating_add(QUIET);
        match self.story.until {
            Some(until) => at > until.0.min(LONGEST),
            None => at > LONGEST || (self.queue.is_empty() && at - self.last_change > quiet),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(jobs) => self.arrive(&jobs),
            Event::End(number) => self.end(number),
            Event::Registers(name) => self.registers(&name),
            Event::Ready(name) => self.ready(&name),
            Event::Gone(name) => self.gone(&name),
            Event::Silent(name) => self.silent(&name),
            Event::Missed(name) => self.missed(&name),
            Event::Fault(fault) => self.fault(&fault),
        }
    }

    fn arrive(&mut self, jobs: &Arc<Jobs>) {
        let now = self.now();
        self.log.first.get_or_insert(self.at);
        self.log.say(self.at, format_args!("{} pods of {} come", jobs.count, jobs.name));
        (0..jobs.count).for_each(|_| self.cluster.make(jobs, now));
        self.changed = true;
    }

    fn end(&mut self, number: u64) {
        let on = self.cluster.pods.get(&number).map(|one| one.pod.spec.node_name.clone());
        let dead = |name: String| MachineName::new(name.as_str()).is_ok_and(|name| self.is_dead(&name));
        // What ran on a machine that died never ends.
        if on.is_none_or(dead) {
            return;
        }
        let now = self.now();
        let Some(jobs) = self.cluster.end(number, self.at, now) else { return };
        self.changed = true;
        self.log.jobs += 1;
        self.log.last = self.at;
        if let Some(next) = &jobs.then {
            self.later(next.at.0, Event::Arrive(Arc::new((**next).clone())));
        }
        if self.cluster.jobs_are_over() && jobs.then.is_none() {
            let all = self.log.jobs;
            self.log.say(self.at, format_args!("all jobs so far have ended, {all} in all"));
        }
    }

    fn fault(&mut self, fault: &Fault) {
        if let Some(name) = fault.dies.as_ref().and_then(|name| MachineName::new(name.as_str()).ok()) {
            self.dies(&name);
        }
        if let Some(jobs) = &fault.deleted {
            self.log.say(self.at, format_args!("somebody deletes all pods of {jobs}"));
            self.cluster.delete_all(jobs);
            self.changed = true;
        }
        if let Some((pool, most)) = &fault.limit {
            self.log.say(self.at, format_args!("the limit of {pool} is {most} now"));
            if let Some(pool) =
                PoolName::new(pool.as_str()).ok().and_then(|name| self.spec.pools.get_mut(&name))
            {
                pool.size = (*pool.size.start()).min(*most)..=*most;
            }
            self.changed = true;
        }
        if let Some(stale) = fault.stale {
            self.log.say(self.at, format_args!("the API server does not answer for {} s", stale.0 / 1000));
            self.stale_until = self.at.saturating_add(stale.0);
        }
    }

    fn schedule(&mut self) {
        let now = self.now();
        let (bound, changed) = self.cluster.schedule(now);
        self.changed |= changed;
        for number in bound {
            let Some(one) = self.cluster.pods.get(&number) else { continue };
            let run = one.jobs.run;
            let life = MachineName::new(one.pod.spec.node_name.as_str()).ok();
            if let Some(life) = life.and_then(|name| self.lives.get_mut(&name)) {
                life.ran = true;
            }
            if let Some(run) = run {
                self.later(run.0, Event::End(number));
            }
        }
    }

    fn note_change(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        self.last_change = self.at;
        if self.story.autoscaler == Autoscaler::Continuum {
            let first = self.window.map_or(self.at, |window| window.first);
            self.window = Some(Window { first, due: (self.at + WINDOW).min(first + WINDOW_MOST) });
        }
    }

    fn tick(&mut self) {
        self.cluster.forget_old(self.at);
        self.window = None;
        match self.story.autoscaler {
            Autoscaler::Continuum => {
                self.next_tick = self.at + INTERVAL;
                self.decide();
            }
            Autoscaler::Clues => {
                self.next_tick = self.at + clues::POLL;
                self.clues();
            }
        }
    }

    fn decide(&mut self) {
        let now = self.now();
        let before = self.ledger.clone();
        self.keep_sizes();
        let view = self.cluster.view(&self.story.budgets);
        let stale = (self.at < self.stale_until).then_some("the API server does not answer");
        let others = BTreeMap::new();
        let seen = Seen { view: &view, stale, others: &others };
        let forecast = self.story.forecast.then(|| self.forecast());
        let (spec, policy) = (&self.spec, &self.story.policy);
        let decision = decide(spec, policy, &self.ledger, &seen, &self.learned, forecast.as_ref(), now);
        self.ledger = decision.ledger.clone();
        self.learned.pass(now, &self.ledger, &view, &decision);
        let listed = self.lives.iter().filter(|(_, life)| life.gone.is_none());
        let listed = listed.map(|(name, _)| name.clone()).collect();
        self.learned.ages.pass(now, &self.ledger, &Sight { listed, ..Sight::default() });
        for change in changes(&before, &self.ledger) {
            self.log.say(self.at, change);
            self.last_change = self.at;
        }
        self.log.waits(self.at, &decision.waits);
        for action in &decision.kube {
            self.obey(action);
        }
        self.follow();
    }

    /// What follows the jobs that run, as the graph of a workflow and the times that were learned say.
    fn forecast(&self) -> Forecast {
        let now = self.now();
        let demand = |one: &Live| {
            let next = one.jobs.then.as_deref()?;
            let run = self.learned.runs.get(&kin(&one.pod)?)?.quantile(50)?;
            let after = i64::try_from(run.as_millis()).ok()?.checked_add(next.at.0)?;
            let at = one.pod.status.start_time?.checked_add(SignedDuration::from_millis(after)).ok()?;
            let mut pod = objects::pod(next, 0, now);
            pod.metadata.uid.clear();
            Some(Demand { pod: Arc::new(pod), count: next.count, at })
        };
        let running = self.cluster.pods.values().filter(|one| one.is_running());
        Forecast { demands: running.filter_map(demand).collect() }
    }

    fn obey(&mut self, action: &KubeAction) {
        let now = self.now();
        match action {
            KubeAction::Cordon { node } => self.cluster.cordon(node.as_str(), true),
            KubeAction::Uncordon { node } => self.cluster.cordon(node.as_str(), false),
            KubeAction::Evict { uid, .. } => {
                if !self.cluster.evict(uid, &self.story.budgets, now) {
                    return;
                }
            }
        }
        self.log.say(self.at, action);
        self.changed = true;
    }

    fn finish(self) -> Outcome {
        let end = self.story.until.map_or(self.last_change, |until| until.0);
        let waiting =
            self.cluster.pods.values().filter(|one| one.over.is_none() && !one.is_running()).count();
        Outcome { account: self.log.account(&self.lives, end, waiting), timeline: self.log.lines }
    }
}
