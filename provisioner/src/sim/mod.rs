//! Simulation by seed: the engine over the cloud in memory, through whole histories of operators, accidents and faults.
//!
//! ```text
//! seed ─► history (acts, faults, kills, clock jumps) ─► engine over World ─► after every effect: the laws hold
//!                                                    └─► the faults stop ─► it converges, or stops for a true reason
//! ```
//! Invariants: the same seed gives the same history to the last effect ([`Report::hash`]); no real time and no I/O;
//! the oracle knows nothing of how the engine decides. [`Mutation`]s prove that the laws can be seen to be broken.

mod converge;
mod history;
mod mutation;
mod oracle;
mod play;
mod timeline;

use std::fmt;

pub use mutation::Mutation;

/// What must hold at every moment of every history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// No two machines of one name, but where a repeated create of a cloud without tokens makes them.
    OneOfAName,
    /// A ledger never uses a name twice.
    NameUsedTwice,
    /// A pool never grows beyond what was asked for.
    Maximum,
    /// Nothing of another owner, cluster or ledger is touched.
    Strangers,
    /// Every machine has a row in a ledger, or its cluster is being taken down.
    HasRow,
    /// A Ready machine is deleted only on true evidence.
    ReadyStays,
    /// A front-end that was Ready is deleted only by `down`.
    FrontEndStays,
    /// Only observed time makes a machine too late.
    ObservedTime,
    /// Nothing is asked of a cloud that is not the ledger's.
    OtherCloud,
    /// "Nothing is left" is said only when nothing is left.
    NothingLeft,
    /// Once the faults stop, everything becomes as asked for, or stops for a reason that is true.
    Converges,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneOfAName => "one machine of a name",
            Self::NameUsedTwice => "names are used once",
            Self::Maximum => "no more than asked for",
            Self::Strangers => "others' machines are not touched",
            Self::HasRow => "every machine has a row",
            Self::ReadyStays => "no deletion without evidence",
            Self::FrontEndStays => "front-ends go only by down",
            Self::ObservedTime => "only observed time ages",
            Self::OtherCloud => "nothing is asked of another cloud",
            Self::NothingLeft => "nothing is left when it is said",
            Self::Converges => "it converges",
        })
    }
}

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// How.
    pub text: String,
}

/// What came of one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The first law that was broken.
    pub broken: Option<Violation>,
    /// A hash over every effect, in order and with its time.
    pub hash: u64,
    /// Effects, and moments between them.
    pub steps: u64,
    /// Faults that happened.
    pub faults: u64,
    /// How it ended, in a few words.
    pub end: String,
    /// The last lines of what happened; empty unless asked for.
    pub timeline: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.timeline {
            writeln!(f, "{line}")?;
        }
        match &self.broken {
            Some(Violation { law, text }) => writeln!(f, "seed {}: {law}: {text}", self.seed)?,
            None => writeln!(f, "seed {}: {}", self.seed, self.end)?,
        }
        write!(f, "replay: cargo run --release -p continuum-tests --bin sim -- --replay {}", self.seed)
    }
}

/// Plays the history of a seed. `verbose` keeps its last lines.
pub fn run(seed: u64, mutation: Option<Mutation>, verbose: bool) -> std::io::Result<Report> {
    // A runtime of its own for each history: nothing of another one may change its order.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(play::play(seed, mutation, verbose)))
}

/// The first seed from `from` on, of so many, whose history breaks a law; on all of these threads.
pub fn first_broken(
    from: u64,
    seeds: u64,
    mutation: Option<Mutation>,
    threads: usize,
) -> std::io::Result<Option<Report>> {
    use std::sync::atomic::{AtomicU64, Ordering};
    let next = AtomicU64::new(from);
    // The lowest seed that breaks one so far: nobody plays a higher one any more.
    let end = AtomicU64::new(from.saturating_add(seeds));
    std::thread::scope(|scope| {
        let work = || -> std::io::Result<Option<Report>> {
            let mut found = None;
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end.load(Ordering::Relaxed) {
                    return Ok(found);
                }
                let report = run(seed, mutation, false)?;
                if report.broken.is_some() && end.fetch_min(seed, Ordering::Relaxed) > seed {
                    found = Some(report);
                }
            }
        };
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut first: Option<Report> = None;
        for worker in workers {
            let report =
                worker.join().map_err(|_| std::io::Error::other("a thread of the simulation died"))??;
            first = first.into_iter().chain(report).min_by_key(|report| report.seed);
        }
        Ok(first)
    })
}

#[cfg(test)]
mod tests;
