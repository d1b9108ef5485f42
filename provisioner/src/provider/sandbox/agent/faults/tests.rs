use super::*;

const CALLS: u32 = 2000;

fn faults(seed: u64, words: &[&str]) -> Faults {
    let mut faults = Faults::default();
    faults.set(words.iter().map(|word| word.parse().unwrap()).collect(), seed, None);
    faults
}

fn met(faults: &mut Faults, call: Call) -> Vec<Verdict> {
    (0..CALLS).map(|_| faults.meet(call)).collect()
}

/// How many of a thousand are such.
fn share(verdicts: &[Verdict], such: impl Fn(&Verdict) -> bool) -> usize {
    verdicts.iter().filter(|verdict| such(verdict)).count() * 1000 / verdicts.len()
}

fn is_about(share: usize, expected: usize) -> bool {
    share.abs_diff(expected) <= 40
}

fn now() -> Instant {
    crate::clock::monotonic()
}

fn machine(id: &str) -> Machine {
    let tags = serde_json::json!({"cluster": "a-00000000", "pool": "w", "owner": "cli", "ledger": "l",
        "machine": "a-w-1", "expires": null, "host_key": "SHA256:x"});
    Machine {
        id: id.into(),
        tags: serde_json::from_value(tags).unwrap(),
        state: crate::provider::MachineState::Running,
        address: None,
        exposed: BTreeMap::new(),
        shape: crate::spec::Shape::of("1".parse().unwrap(), "1Gi".parse().unwrap()),
        created: None,
    }
}

#[test]
fn without_words_everything_goes() {
    let mut none = Faults::default();
    let go = Verdict { before: Before::Go, answer_lost: false };
    assert!(met(&mut none, Call::Create).iter().all(|verdict| *verdict == go));
    assert_eq!((none.calls, none.met), (0, 0));
    assert_eq!(none.born(&"a".into(), now()), Fate::Lives);
    assert_eq!(none.boots_after(&"a".into()), Some(Duration::ZERO));
    assert_eq!(none.shown(vec![machine("a")], now()), [machine("a")]);
    assert_eq!((none.room(), none.quota(), none.knows_tokens()), (Ok(()), None, true));
    assert!(none.is_none());
}

#[test]
fn each_word_of_calls_does_its_own_as_often_as_it_says() {
    type Such = fn(&Verdict) -> bool;
    let cases: [(&str, Such); 5] = [
        ("hang=200", |v| v.before == Before::Hang),
        ("drop-before=200", |v| v.before == Before::Drop),
        ("error-500=200", |v| v.before == Before::Error500),
        ("rate-limit=200", |v| matches!(v.before, Before::RateLimit(_))),
        ("drop-after=200", |v| v.before == Before::Go && v.answer_lost),
    ];
    for (word, such) in cases {
        let mut faults = faults(7, &[word]);
        let verdicts = met(&mut faults, Call::Find);
        assert!(is_about(share(&verdicts, such), 200), "{word}: {}", share(&verdicts, such));
        let others = share(&verdicts, |v| !such(v) && (v.before != Before::Go || v.answer_lost));
        assert_eq!(others, 0, "{word} does something else too");
        let hits = verdicts.iter().filter(|v| such(v)).count() as u64;
        assert_eq!((faults.calls, faults.met), (u64::from(CALLS), hits), "{word}");
    }
}

#[test]
fn a_refusal_says_to_wait_for_whole_seconds() {
    let verdicts = met(&mut faults(1, &["rate-limit=1000"]), Call::List);
    let waits: BTreeSet<_> = verdicts
        .iter()
        .map(|verdict| match verdict.before {
            Before::RateLimit(wait) => wait.as_secs(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(waits, BTreeSet::from([1, 2]));
}

#[test]
fn only_creates_and_deletes_are_late_and_never_later_than_said() {
    let words = ["late-create=3s", "late-delete=8s"];
    for (call, most) in [(Call::Create, 3), (Call::Delete, 8)] {
        let verdicts = met(&mut faults(3, &words), call);
        let late = |verdict: &Verdict| match verdict.before {
            Before::Late(after) => {
                assert!(after < Duration::from_secs(most), "{after:?}");
                true
            }
            _ => false,
        };
        assert!(is_about(share(&verdicts, late), 300), "{call:?}");
    }
    for call in [Call::List, Call::Find, Call::Sweep, Call::Start] {
        let verdicts = met(&mut faults(3, &words), call);
        assert_eq!(share(&verdicts, |verdict| verdict.before == Before::Go), 1000, "{call:?}");
    }
}

#[test]
fn the_same_seed_meets_the_same_however_many_other_calls_come_between() {
    let words = ["hang=100", "drop-before=100", "error-500=100", "rate-limit=100", "drop-after=100"];
    let creates = |seed: u64, lists: usize| {
        let mut faults = faults(seed, &words);
        let mut all = Vec::new();
        for _ in 0..100 {
            for _ in 0..lists {
                faults.meet(Call::List);
            }
            all.push(faults.meet(Call::Create));
        }
        all
    };
    assert_eq!(creates(7, 0), creates(7, 3));
    assert_ne!(creates(7, 0), creates(8, 0));
    let mut faults = faults(7, &words);
    assert_ne!(met(&mut faults, Call::Create), met(&mut faults, Call::Delete));
}

#[test]
fn fates_of_machines_are_drawn_when_they_are_made() {
    let id = MachineId::from("a");
    let mut never = faults(1, &["boot-failure=1000", "slow-boot=6s"]);
    assert_eq!(never.born(&id, now()), Fate::NeverBoots);
    assert_eq!(never.boots_after(&id), None);
    assert!(never.boots_after(&"b".into()).is_some_and(|after| after < Duration::from_secs(6)));
    never.forget(&id);
    assert!(never.boots_after(&id).is_some());
    for seed in 0..50 {
        let Fate::Dies(after) = faults(seed, &["dies=1000"]).born(&id, now()) else { panic!("it lives") };
        assert!(after < DOOM);
        let Fate::Stops(after) = faults(seed, &["stops=1000"]).born(&id, now()) else { panic!("it lives") };
        assert!(after < DOOM);
    }
    let mut many = faults(5, &["boot-failure=250"]);
    let broken = (0..CALLS).filter(|n| many.born(&MachineId(n.to_string()), now()) == Fate::NeverBoots);
    assert!(is_about(broken.count() * 1000 / CALLS as usize, 250));
}

#[test]
fn lists_are_late_and_short_as_they_are_told() {
    let (all, born) = (vec![machine("a"), machine("b")], now());
    let mut late = faults(1, &["late-list=6s"]);
    late.born(&"b".into(), born);
    assert_eq!(late.shown(all.clone(), born), [machine("a")]);
    assert_eq!(late.shown(all.clone(), born + Duration::from_secs(6)), all);
    late.born(&"b".into(), born);
    late.set(Vec::new(), 0, None);
    assert_eq!(late.shown(all.clone(), born), all, "what was drawn goes with its word");

    let mut short = faults(1, &["short-list=1000"]);
    let seen: usize = (0..CALLS).map(|_| short.shown(all.clone(), born).len()).sum();
    assert!(is_about(seen * 1000 / (2 * CALLS as usize), 500), "{seen}");
}

#[test]
fn room_and_quota_and_tokens_go_by_their_words() {
    let full = faults(1, &["no-capacity=1000"]).room();
    assert!(matches!(full, Err(ProviderError::NoCapacity { .. })), "{full:?}");
    assert_eq!(faults(1, &["quota=3"]).quota(), Some(3));
    assert!(!faults(1, &["no-tokens"]).knows_tokens());
}

#[test]
fn a_cut_is_of_two_whoever_is_named_first_and_goes_with_either() {
    let cut = |a: &str, b: &str| Cut::new(a.into(), b.into());
    assert_eq!(cut("a", "b"), cut("b", "a"));
    let mut faults = faults(1, &["hang=1"]);
    faults.cuts.extend([cut("a", "b"), cut("b", "c"), cut("a", "c")]);
    faults.set(Vec::new(), 0, None);
    assert!(!faults.is_none(), "cuts stay when words change");
    assert!(faults.forget(&"b".into()));
    assert!(!faults.forget(&"b".into()));
    assert_eq!(faults.cuts, BTreeSet::from([cut("a", "c")]));
    faults.clear();
    assert!(faults.is_none());
}

#[test]
fn what_was_begun_under_other_words_knows_that_they_are_over() {
    let mut faults = Faults::default();
    let first = faults.set(vec![Fault::Dies(1000)], 1, None);
    assert!(faults.is_edition(first));
    let second = faults.set(vec![Fault::Dies(1000)], 1, None);
    assert!(!faults.is_edition(first) && faults.is_edition(second));
    faults.clear();
    assert!(!faults.is_edition(second));
}
