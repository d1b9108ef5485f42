//! The status, out of the last tick.

use provisioner::api::{Decision, Machine, Pool, Status, Wait};
use provisioner::ledger::Phase;
use provisioner::names::{ClusterId, PoolName};

use crate::tick::{Autoscaler, Tick};

/// What people see. `last` is the last tick, if this process has had one.
pub fn of(
    autoscaler: &Autoscaler,
    cluster: &ClusterId,
    leads: bool,
    last: Option<&Tick>,
    decisions: Vec<Decision>,
) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: cluster.clone(),
        at: last.map(|tick| tick.at),
        mode: autoscaler.mode,
        leads,
        stale: last.and_then(|tick| tick.snapshot.stale.clone()),
        stop: last.and_then(|tick| tick.stop.clone()),
        pools: pools(autoscaler, last),
        machines: last.map(machines).unwrap_or_default(),
        waits: last.map(waits).unwrap_or_default(),
        decisions,
    }
}

fn pools(autoscaler: &Autoscaler, last: Option<&Tick>) -> Vec<Pool> {
    let elastic = autoscaler.spec.pools.iter().filter(|(_, pool)| pool.is_elastic());
    let count = |name: &PoolName, of: &dyn Fn(Phase) -> bool| {
        let rows = last.into_iter().flat_map(|tick| tick.ledger.rows().values());
        u32::try_from(rows.filter(|row| row.pool == *name && of(row.phase())).count()).unwrap_or(u32::MAX)
    };
    elastic
        .map(|(name, pool)| Pool {
            name: name.clone(),
            min: *pool.size.start(),
            max: *pool.size.end(),
            ready: count(name, &|phase| phase == Phase::Ready),
            booting: count(name, &Phase::boots),
            leaving: count(name, &|phase| matches!(phase, Phase::Draining | Phase::Deleting)),
        })
        .collect()
}

fn machines(tick: &Tick) -> Vec<Machine> {
    let rows = tick.ledger.rows().iter();
    rows.map(|(name, row)| Machine {
        name: name.clone(),
        pool: row.pool.clone(),
        shape: row.shape.name.to_string(),
        phase: row.phase().to_string(),
        born: row.born.at,
        leaving: row.leaving().map(ToString::to_string),
    })
    .collect()
}

fn waits(tick: &Tick) -> Vec<Wait> {
    let decided = tick.waits.iter().map(|wait| Wait {
        subject: wait.subject.to_string(),
        word: wait.why.word().to_owned(),
        text: wait.why.to_string(),
    });
    let engine = tick.engine_waits.iter().map(|wait| Wait {
        subject: match &wait.subject {
            provisioner::plan::Subject::Machine(name) => name.to_string(),
            provisioner::plan::Subject::Pool(name) => format!("pool {name}"),
            provisioner::plan::Subject::Cluster => "cluster".to_owned(),
        },
        word: "Machine".to_owned(),
        text: wait.reason.to_string(),
    });
    decided.chain(engine).collect()
}
