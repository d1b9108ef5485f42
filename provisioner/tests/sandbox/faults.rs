//! The agent does wrong what it is told to do wrong, and the way out of it is always open.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use provisioner::clock;
use provisioner::provider::sandbox::agent::faults::{Before, Call, Fate, Faults};
use provisioner::provider::sandbox::machine::process::Process;
use provisioner::provider::sandbox::wire::FaultsRequest;
use provisioner::provider::{MachineState, Provider, ProviderError, Scope};

use super::harness::{Lab, PATIENCE, empty_lab, lab, request};

/// The first seed with which these words do such a thing: what a seed brings is known beforehand.
fn seed(words: &[&str], such: impl Fn(&mut Faults) -> bool) -> u64 {
    let words: Vec<_> = words.iter().map(|word| word.parse().unwrap()).collect();
    let does = |seed: &u64| {
        let mut faults = Faults::default();
        faults.set(words.clone(), *seed, None);
        such(&mut faults)
    };
    (1..100_000).find(does).unwrap()
}

/// What comes over the socket, to the end of the connection.
fn raw(lab: &Lab, line: &str) -> String {
    let token = std::fs::read_to_string(lab.paths.token()).unwrap();
    let mut stream = UnixStream::connect(lab.paths.socket()).unwrap();
    let head = format!("Host: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
    stream.write_all(format!("{line} HTTP/1.1\r\n{head}\r\n").as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn is_unavailable<T>(result: &Result<T, ProviderError>) -> bool {
    matches!(result, Err(ProviderError::Unavailable { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_refused_and_dropped_and_the_way_out_is_open() {
    let Some(lab) = lab("f-calls").await else { return };
    let wanted = request("a", 1);
    for words in [["error-500=1000"], ["drop-before=1000"], ["rate-limit=1000"], ["hang=1000"]] {
        lab.set_faults(&words, 1).await;
        assert_eq!(lab.cloud.status().await.unwrap().faults, [words[0].parse().unwrap()]);
        assert_eq!(lab.there().await, [""; 0]);
        assert_eq!(lab.cloud.faults().await.unwrap().seed, 1);
    }
    lab.set_faults(&["error-500=1000"], 1).await;
    let reply = raw(&lab, "GET /v1/machines");
    assert!(reply.starts_with("HTTP/1.1 500 ") && reply.ends_with("fault error-500"), "{reply}");
    let listed = lab.cloud.list(&Scope::All).await;
    let said = matches!(&listed, Err(ProviderError::Unavailable { message, .. }) if message.contains("answered 500"));
    assert!(said, "{listed:?}");
    assert!(is_unavailable(&lab.cloud.create(&wanted).await));

    lab.set_faults(&["rate-limit=1000"], 1).await;
    let reply = raw(&lab, "GET /v1/machines").to_lowercase();
    assert!(reply.starts_with("http/1.1 429 "), "{reply}");
    assert!(reply.contains("\r\nretry-after: 1\r\n") || reply.contains("\r\nretry-after: 2\r\n"), "{reply}");
    // Between its five tries the client waits as long as it is told to.
    let since = clock::monotonic();
    let listed = lab.cloud.list(&Scope::All).await;
    assert!(matches!(listed, Err(ProviderError::Unavailable { retry_after: Some(_), .. })), "{listed:?}");
    assert!(since.elapsed() >= Duration::from_secs(4), "{:?}", since.elapsed());

    lab.set_faults(&["drop-before=1000"], 1).await;
    assert_eq!(raw(&lab, "GET /v1/machines"), "");
    assert!(is_unavailable(&lab.cloud.create(&wanted).await));
    assert_eq!(lab.there().await, [""; 0]);

    lab.set_faults(&["drop-after=1000"], 1).await;
    assert_eq!(raw(&lab, "GET /v1/machines"), "");
    assert!(is_unavailable(&lab.cloud.create(&wanted).await));
    assert_eq!(lab.there().await, ["a-w-1"], "the effect is there, once");

    lab.cloud.clear_faults().await.unwrap();
    assert_eq!(lab.cloud.create(&wanted).await, Ok(()));
    assert_eq!(lab.cloud.list(&Scope::All).await.unwrap().len(), 1);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_ends_without_an_answer_and_is_repeated() {
    let Some(lab) = lab("f-hang").await else { return };
    let hangs = |faults: &mut Faults| {
        let both = [faults.meet(Call::FindScaffold), faults.meet(Call::FindScaffold)];
        (both[0].before, both[1].before) == (Before::Hang, Before::Go)
    };
    lab.set_faults(&["hang=300"], seed(&["hang=300"], hangs)).await;
    let since = clock::monotonic();
    assert!(lab.cloud.find_scaffold(&request("a", 1).tags.cluster).await.unwrap().is_some());
    assert!(since.elapsed() >= Duration::from_secs(5), "{:?}", since.elapsed());
    lab.cloud.clear_faults().await.unwrap();
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn room_quota_and_tokens_are_as_the_words_say() {
    let Some(lab) = lab("f-room").await else { return };
    let (one, two) = (request("a", 1), request("a", 2));
    lab.cloud.create(&one).await.unwrap();
    lab.set_faults(&["no-capacity=1000"], 1).await;
    let refused = lab.cloud.create(&two).await;
    assert!(matches!(refused, Err(ProviderError::NoCapacity { .. })), "{refused:?}");
    // What is there needs no room.
    assert_eq!(lab.cloud.create(&one).await, Ok(()));

    lab.set_faults(&["quota=1"], 1).await;
    assert_eq!(lab.cloud.status().await.unwrap().quota.machines, 1);
    let message = "machines: 2 in all, the sandbox on this computer has 1".to_owned();
    assert_eq!(lab.cloud.create(&two).await, Err(ProviderError::Quota { message }));
    assert_eq!(lab.there().await, ["a-w-1"]);

    lab.set_faults(&["no-tokens"], 1).await;
    assert_eq!(lab.cloud.create(&one).await, Ok(()));
    assert_eq!(lab.there().await, ["a-w-1", "a-w-1"]);
    lab.cloud.clear_faults().await.unwrap();
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_come_late_and_lists_later() {
    let Some(lab) = lab("f-late").await else { return };
    let (one, two) = (request("a", 1), request("a", 2));
    let is_late = |call: Call| {
        move |faults: &mut Faults| {
            let half = Duration::from_millis(500);
            matches!(faults.meet(call).before, Before::Late(after) if after > half)
                && faults.meet(call).before == Before::Go
        }
    };
    // The first try has no answer and its effect later, the second one makes the machine: together one.
    let words = ["late-create=1s"];
    lab.set_faults(&words, seed(&words, is_late(Call::Create))).await;
    assert_eq!(lab.cloud.create(&one).await, Ok(()));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(lab.there().await, ["a-w-1"]);

    let words = ["late-list=3s"];
    let late_list = |faults: &mut Faults| {
        let now = clock::monotonic();
        faults.born(&"x".into(), now);
        // A machine of that id is not shown before two seconds have passed.
        let machine = provisioner::provider::Machine {
            id: "x".into(),
            tags: request("a", 1).tags,
            state: MachineState::Building,
            address: None,
            exposed: std::collections::BTreeMap::new(),
            shape: request("a", 1).shape,
            created: None,
        };
        faults.shown(vec![machine], now + Duration::from_secs(2)).is_empty()
    };
    lab.set_faults(&words, seed(&words, late_list)).await;
    assert_eq!(lab.cloud.create(&two).await, Ok(()));
    assert_eq!(lab.cloud.list(&Scope::All).await.unwrap().len(), 1);
    assert_eq!(lab.there().await, ["a-w-1", "a-w-2"]);
    lab.wait(|all| (all.len() == 2).then_some(())).await;

    let words = ["late-delete=1s"];
    lab.set_faults(&words, seed(&words, is_late(Call::Delete))).await;
    let id = lab.cloud.inventory().await.unwrap()[0].id.clone();
    assert_eq!(lab.cloud.delete(&id).await, Ok(()));
    assert!(lab.cloud.exists(&id).await.unwrap());
    lab.wait(|all| all.iter().all(|machine| machine.id != id).then_some(())).await;

    lab.set_faults(&["short-list=1000"], 1).await;
    let mut lengths = std::collections::BTreeSet::new();
    for _ in 0..20 {
        lengths.insert(lab.cloud.list(&Scope::All).await.unwrap().len());
    }
    assert_eq!(lengths, [0, 1].into(), "about half is missing");
    lab.cloud.clear_faults().await.unwrap();
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_meet_their_fates() {
    let Some(lab) = lab("f-fates").await else { return };
    let short = |fate: Fate| match fate {
        // Late enough for the boot to have begun on a busy computer.
        Fate::Dies(after) | Fate::Stops(after) => (1000..3000).contains(&after.as_millis()),
        Fate::Lives | Fate::NeverBoots => false,
    };
    let soon = |faults: &mut Faults| short(faults.born(&"x".into(), clock::monotonic()));
    lab.set_faults(&["dies=1000"], seed(&["dies=1000"], soon)).await;
    lab.cloud.create(&request("a", 1)).await.unwrap();
    assert_eq!(lab.there().await, ["a-w-1"]);
    lab.wait(|all| all.is_empty().then_some(())).await;

    lab.set_faults(&["stops=1000"], seed(&["stops=1000"], soon)).await;
    lab.cloud.create(&request("a", 2)).await.unwrap();
    let stopped = lab.wait(|all| all.iter().find(|m| m.state == MachineState::Stopped).cloned()).await;
    lab.cloud.start(&stopped.id).await.unwrap();
    lab.running(&stopped.id).await;

    lab.set_faults(&["boot-failure=1000"], 1).await;
    lab.cloud.create(&request("a", 3)).await.unwrap();
    let reason = lab.first_failure().await;
    assert!(reason.ends_with("fault boot-failure"), "{reason}");
    let broken = lab.cloud.inventory().await.unwrap();
    let broken = broken.iter().find(|machine| machine.tags.machine.as_str() == "a-w-3").unwrap();
    lab.cloud.clear_faults().await.unwrap();
    lab.cloud.start(&broken.id).await.unwrap();
    let state = async || {
        let all = lab.cloud.list(&Scope::All).await.unwrap();
        all.into_iter().find(|machine| machine.id == broken.id).map(|machine| machine.state)
    };
    let since = clock::monotonic();
    loop {
        let state = state().await;
        if state == Some(MachineState::Running) {
            break;
        }
        assert!(since.elapsed() < *PATIENCE, "without the fault it boots: {state:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let slow = |faults: &mut Faults| faults.boots_after(&"x".into()) > Some(Duration::from_secs(3));
    lab.set_faults(&["slow-boot=4s"], seed(&["slow-boot=4s"], slow)).await;
    let since = clock::monotonic();
    lab.make(&request("a", 4)).await;
    assert!(since.elapsed() > Duration::from_secs(3), "{:?}", since.elapsed());
    lab.cloud.clear_faults().await.unwrap();
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_end_by_time_with_the_agent_and_when_they_are_cleared() {
    let Some(lab) = empty_lab("f-ends").await else { return };
    lab.set_faults(&["error-500=1000"], 1).await;
    // Without a cluster an agent ends soon; one with faults stays.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(lab.cloud.is_up().await);
    assert!(is_unavailable(&lab.cloud.list(&Scope::All).await));

    let agent = lab.cloud.status().await.unwrap();
    let process = Process::of(i32::try_from(agent.pid).unwrap()).unwrap();
    process.signal(nix::sys::signal::Signal::SIGKILL);
    let again = lab.cloud.status().await.unwrap();
    assert_ne!(again.pid, agent.pid);
    assert_eq!(again.faults, []);
    assert_eq!(lab.cloud.list(&Scope::All).await.unwrap(), []);

    let faults = vec!["quota=7".parse().unwrap()];
    let request = FaultsRequest { faults: faults.clone(), seed: 3, lasts: Some(Duration::from_secs(1)) };
    let set = lab.cloud.set_faults(&request).await.unwrap();
    assert_eq!((&set.faults, set.seed, set.ends.is_some()), (&faults, 3, true));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(lab.cloud.faults().await.unwrap().faults, []);

    let twice = FaultsRequest { faults: [faults.clone(), faults].concat(), seed: 3, lasts: None };
    let message = "quota is there twice: say it once".to_owned();
    assert_eq!(lab.cloud.set_faults(&twice).await, Err(ProviderError::Rejected { message }));
    lab.close().await;
}
