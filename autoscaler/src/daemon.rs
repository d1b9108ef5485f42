//! The loop: ticks, what wakes them, and what people ask in between.
//!
//! ```text
//! (holds the lease?) ─► tick ─► status ─► wait: something changed · a job ended · the interval · a person · a signal ─┐
//!        ▲──────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Invariants: one tick at a time; a wake-up carries no data; the interval is shorter than what one pass may add to observed
//! time; whatever goes wrong in a tick, the next one begins anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use provisioner::api::{Decision, Mode, Status};
use provisioner::clock::Clock;
use provisioner::ledger::Phase;
use provisioner::names::{ClusterId, MachineName};
use tokio::sync::{mpsc, oneshot, watch};

use crate::explain::{self, Question};
use crate::kube::Kube;
use crate::tick::{Autoscaler, Tick};

/// A tick comes at the latest after so long.
const INTERVAL: Duration = Duration::from_secs(10);
/// … and while machines are on their way after so long: their boots are seen by listing them.
const BUSY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// From a change to the tick: long enough for the pods of one Job to arrive together. It grows with what a tick takes.
const WINDOW: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// Whoever does not hold the lease looks again after so long.
const STANDBY: Duration = Duration::from_secs(1);
/// Decisions that the status remembers.
const REMEMBERED: usize = 50;
/// The status object is written at most so often.
const PUBLISH: Duration = Duration::from_secs(10);

/// What people ask and tell.
#[derive(Debug)]
pub enum Command {
    /// From now on it may do this.
    Mode(Mode),
    /// Why a pod, `namespace/name`, waits. `None`: there is no such pod.
    ExplainPod(String, oneshot::Sender<Option<serde_json::Value>>),
    /// Why a node stays.
    ExplainNode(MachineName, oneshot::Sender<Option<serde_json::Value>>),
    /// The public host keys of a machine: derived anew each time, so only for who asks.
    HostKeys(MachineName, oneshot::Sender<Option<serde_json::Value>>),
}

/// Why the loop ended or stands still for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The configuration is to be read anew.
    Reload,
    /// It is to end.
    End,
}

/// The loop's own things.
pub struct Daemon {
    /// What decides.
    pub autoscaler: Autoscaler,
    kube: Arc<dyn Kube>,
    clock: Clock,
    cluster: ClusterId,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
    last: Option<Tick>,
    decisions: VecDeque<Decision>,
    /// When the status was written last, and what it was but for its time.
    published: Option<(Duration, Status)>,
    ready: bool,
    took: Duration,
}

impl Daemon {
    /// Over an autoscaler. `commands` come from whoever serves people; `status` goes there.
    pub fn new(
        autoscaler: Autoscaler,
        kube: Arc<dyn Kube>,
        clock: Clock,
        cluster: ClusterId,
        commands: mpsc::Receiver<Command>,
        status: watch::Sender<Status>,
    ) -> Self {
        Self {
            autoscaler,
            kube,
            clock,
            cluster,
            commands,
            status,
            last: None,
            decisions: VecDeque::new(),
            published: None,
            ready: false,
            took: Duration::ZERO,
        }
    }

    /// Runs until a signal says something that is not the loop's to do. Called again it goes on.
    pub async fn run(&mut self, signals: &mut mpsc::Receiver<Turn>) -> Turn {
        loop {
            self.look().await;
            self.tell().await;
            let pause = self.pause();
            let window = (self.took * 2).clamp(WINDOW.0, WINDOW.1);
            let leads = self.kube.leads();
            tokio::select! {
                biased;
                turn = signals.recv() => return turn.unwrap_or(Turn::End),
                Some(command) = self.commands.recv() => self.obey(command),
                () = self.kube.changed(), if leads => self.clock.sleep(window).await,
                () = self.autoscaler.engine().stirs(), if leads => {}
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    /// Lets what runs on machines end, and saves it.
    pub async fn end(&mut self) {
        if let Err(error) = self.autoscaler.engine().end().await {
            tracing::warn!(%error, "the last results were not saved: they are seen again");
        }
    }

    async fn look(&mut self) {
        if !self.kube.leads() && self.autoscaler.mode != Mode::Shadow {
            self.last = None;
            return;
        }
        let began = self.clock.steady();
        match self.autoscaler.tick().await {
            Ok(tick) => self.note(tick),
            Err(error) => tracing::warn!(%error, "nothing was done in this tick"),
        }
        self.took = self.clock.steady().saturating_sub(began);
    }

    /// One line for each decision, each order, and each new reason why nothing is done.
    fn note(&mut self, tick: Tick) {
        let shadow = self.autoscaler.mode == Mode::Shadow;
        for change in &tick.changes {
            tracing::info!(generation = tick.ledger.generation, shadow, "{change}");
        }
        for (action, told) in &tick.orders {
            match told {
                Ok(_) => tracing::info!("{action}"),
                Err(error) => tracing::warn!(%error, "{action}"),
            }
        }
        let before = self.last.as_ref();
        if let Some(stop) =
            tick.stop.as_ref().filter(|stop| before.and_then(|b| b.stop.as_ref()) != Some(stop))
        {
            tracing::error!("nothing is done: {stop}");
        }
        if let Some(why) = tick
            .snapshot
            .stale
            .as_ref()
            .filter(|_| before.is_none_or(|before| before.snapshot.stale.is_none()))
        {
            tracing::warn!("nothing is decided: {why}");
        }
        let decided = tick.changes.iter().map(|text| Decision { at: tick.at, text: text.clone() });
        self.decisions.extend(decided);
        let surplus = self.decisions.len().saturating_sub(REMEMBERED);
        self.decisions.drain(..surplus);
        self.last = Some(tick);
    }

    /// Tells people, the supervisor, and the cluster.
    async fn tell(&mut self) {
        let status = self.status();
        let sees = self.last.as_ref().is_some_and(|tick| tick.snapshot.stale.is_none());
        if !self.ready && (sees || !status.leads) {
            self.ready = true;
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        self.publish(&status).await;
        self.status.send_replace(status);
    }

    /// Writes the status into the cluster, where it says more than what was written last than that another look was taken.
    async fn publish(&mut self, status: &Status) {
        let now = self.clock.steady();
        let early = self.published.as_ref().is_some_and(|(at, _)| now.saturating_sub(*at) < PUBLISH);
        if !status.leads || early {
            return;
        }
        let timeless = Status { at: None, ..status.clone() };
        if self.published.as_ref().is_some_and(|(_, before)| *before == timeless) {
            return;
        }
        self.published = Some((now, timeless));
        match serde_json::to_string_pretty(status) {
            Ok(text) => {
                if let Err(error) = self.kube.publish(&text).await {
                    tracing::debug!(%error, "the status was not written");
                }
            }
            Err(error) => tracing::warn!(%error, "the status is no JSON"),
        }
    }

    fn status(&self) -> Status {
        let leads = self.kube.leads();
        let decisions = self.decisions.iter().cloned().collect();
        crate::status::of(&self.autoscaler, &self.cluster, leads, self.last.as_ref(), decisions)
    }

    fn pause(&mut self) -> Duration {
        if !self.kube.leads() {
            return STANDBY;
        }
        let on_its_way = self
            .last
            .as_ref()
            .is_some_and(|tick| tick.ledger.rows().values().any(|r| r.phase() != Phase::Ready));
        if on_its_way { (self.autoscaler.engine().settle_time() / 8).clamp(BUSY.0, BUSY.1) } else { INTERVAL }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Mode(mode) => {
                tracing::info!(%mode, "told by a person");
                self.autoscaler.mode = mode;
            }
            Command::ExplainPod(path, answer) => {
                let said = self.explain(|question| {
                    explain::pod(question, &path).and_then(|said| serde_json::to_value(said).ok())
                });
                let _ = answer.send(said);
            }
            Command::ExplainNode(name, answer) => {
                let said = self.explain(|question| {
                    explain::node(question, &name).and_then(|said| serde_json::to_value(said).ok())
                });
                let _ = answer.send(said);
            }
            Command::HostKeys(name, answer) => {
                let _ = answer.send(self.autoscaler.host_keys(&name).map(serde_json::Value::from));
            }
        }
    }

    fn explain<T>(&self, say: impl FnOnce(&Question<'_>) -> Option<T>) -> Option<T> {
        let tick = self.last.as_ref()?;
        let stale = tick.snapshot.stale.as_deref();
        let seen = crate::decide::Seen { view: &tick.snapshot.view, stale, others: &tick.others };
        let question = Question {
            spec: &self.autoscaler.spec,
            policy: &self.autoscaler.policy,
            ledger: &tick.ledger,
            seen: &seen,
            learned: self.autoscaler.learned(),
            now: tick.at,
        };
        say(&question)
    }
}
