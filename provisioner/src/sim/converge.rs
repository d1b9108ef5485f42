//! After the faults: everything becomes as asked for, or stops for a reason that is true; then everything goes.

use std::time::Duration;

use super::Law;
use super::history::{Circumstances, Incident, More, Sizes};
use super::play::{BOUND, Player, UpEnd};
use crate::ledger::Phase;
use crate::names::{MachineName, NameError};
use crate::plan::Stop;
use crate::provider::MachineState;
use crate::reconcile::Ended;
use crate::teardown::Down;
use crate::world::Seat;

/// Runs until all is well: each may end in another explained stop, and there are few kinds.
const RUNS: usize = 8;

fn quiet() -> Circumstances {
    Circumstances { kill: None, limit: BOUND, elsewhere: false, incidents: Vec::new() }
}

impl Player {
    /// What a patient operator does now. In a few words how it ended.
    pub(super) async fn converge(
        &mut self,
        sizes: &Sizes,
        jump: Option<Incident>,
    ) -> Result<String, NameError> {
        let (mut accept_lost, mut jump) = (false, jump);
        let mut end = String::from("too many runs");
        for _ in 0..RUNS {
            if self.world.stored().is_some_and(|ledger| ledger.closing.is_some()) && !self.gone(0).await? {
                return Ok(end);
            }
            let runs = [(sizes.clone(), Duration::ZERO)];
            // The clocks' last jump comes in the middle of a run: nothing may wait for the time that it took away.
            let incidents = jump.take().map(|jump| (Duration::from_secs(3), jump)).into_iter().collect();
            let how = Circumstances { incidents, ..quiet() };
            let ended = self.up(0, &runs, &how, accept_lost).await?.pop().flatten();
            if self.oracle().broken.is_some() {
                return Ok(end);
            }
            match ended {
                Some(Ok(Ended::Settled)) => {
                    self.is_whole(sizes);
                    end = "converged".to_owned();
                    break;
                }
                Some(Ok(Ended::Stopped(stop))) if self.is_true(&stop) => {
                    end = format!("stopped: {stop}");
                    match stop {
                        Stop::Vanished { .. } => accept_lost = true,
                        Stop::NoGround { .. } => {}
                        Stop::NameClash { .. } => self.others_go().await?,
                        _ => break,
                    }
                }
                other => {
                    self.unexplained(&other);
                    return Ok(end);
                }
            }
        }
        if end == "too many runs" {
            self.breaks(Law::Converges, format!("not after {RUNS} runs"));
        }
        for seat in [0, 1, 2] {
            if !self.gone(seat).await? {
                break;
            }
        }
        self.neighbour_is_there();
        Ok(end)
    }

    fn unexplained(&self, ended: &UpEnd) {
        let text = match ended {
            Some(Ok(Ended::Stopped(stop))) => format!("stopped without a true reason: {stop}"),
            Some(other) => format!("ended with {other:?}"),
            None => "did not end".to_owned(),
        };
        self.breaks(Law::Converges, text);
    }

    /// Whether what the engine says is so.
    fn is_true(&self, stop: &Stop) -> bool {
        let machines = self.world.machines();
        let stored = self.world.stored();
        let row = |name: &MachineName| stored.as_ref().and_then(|ledger| ledger.row(name));
        let is_lost = |name: &MachineName| {
            let machine =
                row(name).and_then(|row| row.machine()).and_then(|id| machines.iter().find(|m| m.id == *id));
            machine.is_none_or(|machine| matches!(machine.state, MachineState::Failed(_)))
        };
        match stop {
            Stop::FrontEndLost { name, .. } => is_lost(name),
            Stop::NoGround { machines, .. } => machines.iter().all(is_lost),
            Stop::Vanished { machines, .. } => machines.iter().all(is_lost),
            Stop::NameClash { other, .. } => machines.iter().any(|machine| machine.tags.cluster == *other),
            _ => false,
        }
    }

    /// Whoever else has a cluster of this name takes it down.
    async fn others_go(&mut self) -> Result<(), NameError> {
        for seat in [1, 2] {
            if !self.gone(seat).await? {
                break;
            }
        }
        Ok(())
    }

    async fn gone(&mut self, seat: Seat) -> Result<bool, NameError> {
        if self.world.seat(seat).stored().is_none() {
            return Ok(true);
        }
        let mut down = None;
        for _ in 0..RUNS {
            down = self.down(seat, Duration::ZERO, &quiet()).await?;
            match down {
                Some(Down::Gone) => return Ok(self.oracle().broken.is_none()),
                Some(Down::Left(_)) => {}
                _ => break,
            }
        }
        self.breaks(Law::Converges, format!("computer {seat}: `down` ended with {down:?}"));
        Ok(false)
    }

    /// Rows and machines are the same, all Ready, and the pools as large as asked for.
    fn is_whole(&self, sizes: &Sizes) {
        let Some(ledger) = self.world.stored() else {
            return self.breaks(Law::Converges, "settled without a ledger".to_owned());
        };
        for (name, row) in ledger.rows() {
            let machines = self.world.machines();
            let machine = machines.iter().find(|machine| row.machine() == Some(&machine.id));
            let runs = machine.is_some_and(|machine| machine.state == MachineState::Running);
            if row.phase() != Phase::Ready || !runs {
                self.breaks(Law::Converges, format!("settled, but {name} is {} (runs: {runs})", row.phase()));
            }
        }
        let more = match sizes.more {
            Some(More::Fixed(size)) => size,
            Some(More::Daemons) | None => 0,
        };
        for (pool, asked) in [("front-end", 1), ("workers", sizes.workers), ("more", more)] {
            let have = ledger.rows().values().filter(|row| row.pool.as_str() == pool).count();
            if have != asked as usize {
                self.breaks(Law::Converges, format!("settled with {have} of {asked} in pool {pool}"));
            }
        }
        let ours = |m: &&crate::provider::Machine| m.tags.ledger == ledger.id;
        let machines = self.world.machines().iter().filter(ours).count();
        if machines != ledger.rows().len() {
            self.breaks(
                Law::Converges,
                format!("settled with {machines} machines of {} rows", ledger.rows().len()),
            );
        }
    }

    fn neighbour_is_there(&self) {
        let machines = self.world.machines();
        let neighbours = machines.iter().filter(|machine| machine.tags.cluster.as_str().starts_with("other"));
        let (there, all) = (neighbours.count(), machines.len());
        if self.oracle().broken.is_none() && (there != 2 || all != 2) {
            self.breaks(
                Law::NothingLeft,
                format!("in the end there are {all} machines, {there} of the neighbour's"),
            );
        }
    }
}
