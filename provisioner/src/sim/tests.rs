//! The simulation as `make test` runs it, and the proof that it can see.

use super::*;

/// How many histories `make test` plays.
const SEEDS: u64 = 2000;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn the_laws_hold_in_every_history() {
    if let Some(report) = first_broken(0, SEEDS, None, threads()).unwrap() {
        panic!("{}", run(report.seed, None, true).unwrap());
    }
}

#[test]
fn the_same_seed_is_the_same_history_to_the_last_effect() {
    let seeds = 40..60;
    let hashes = |_| seeds.clone().map(|seed| run(seed, None, false).unwrap().hash).collect::<Vec<_>>();
    // On another thread, after other histories, and with its lines kept: the same.
    let beside = std::thread::scope(|scope| scope.spawn(|| hashes(1)).join().unwrap());
    let kept: Vec<_> = seeds.clone().map(|seed| run(seed, None, true).unwrap().hash).collect();
    assert_eq!((hashes(0), &beside), (beside.clone(), &kept));
    let mut different = beside.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), beside.len(), "different seeds are different histories");
}

#[test]
fn a_history_that_breaks_a_law_says_how_to_replay_it() {
    let report = first_broken(0, SEEDS, Some(Mutation::DeleteRowless), threads()).unwrap().unwrap();
    let verbose = run(report.seed, Some(Mutation::DeleteRowless), true).unwrap();
    assert_eq!((verbose.hash, &verbose.broken), (report.hash, &report.broken));
    assert!(verbose.timeline.len() > 10, "{verbose}");
    let replay = format!("--bin sim -- --replay {}", report.seed);
    assert_eq!(verbose.to_string().lines().filter(|line| line.ends_with(&replay)).count(), 1, "{verbose}");
}

/// Each mistake, and the laws that may be the first to see it.
fn sees(mutation: Mutation) -> &'static [Law] {
    match mutation {
        Mutation::WallClock => &[Law::ObservedTime],
        Mutation::ListIsEvidence => &[Law::ReadyStays, Law::HasRow],
        Mutation::KeepLowestId | Mutation::DeleteRowless => &[Law::ReadyStays, Law::FrontEndStays],
        Mutation::NoSaveBefore | Mutation::ForgetEarly => &[Law::HasRow],
        Mutation::NoSettle => &[Law::NothingLeft, Law::HasRow],
        Mutation::ReuseOrdinals => &[Law::NameUsedTwice, Law::OneOfAName],
        Mutation::AnyCloud => &[Law::OtherCloud, Law::NothingLeft, Law::HasRow],
        Mutation::OneTooMany => &[Law::Maximum],
        Mutation::TouchOthers => &[Law::Strangers],
        Mutation::ReplaceFrontEnd => &[Law::FrontEndStays],
    }
}

#[test]
fn every_mistake_is_seen_by_its_law() {
    for mutation in Mutation::ALL {
        let report = first_broken(0, SEEDS, Some(mutation), threads()).unwrap();
        let report = report.unwrap_or_else(|| panic!("{mutation:?} is seen in none of {SEEDS} histories"));
        let law = report.broken.as_ref().unwrap().law;
        assert!(sees(mutation).contains(&law), "{mutation:?} is seen by another law: {report}");
    }
}
