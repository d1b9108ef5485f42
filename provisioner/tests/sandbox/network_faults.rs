//! Networks that are slow, lose packets, or are cut in two.

use std::time::{Duration, Instant};

use provisioner::clock;
use provisioner::provider::sandbox::machine::process::Process;
use provisioner::provider::sandbox::wire::Pair;
use provisioner::provider::{Machine, Provider, ProviderError};
use provisioner::spec::Network;

use super::harness::{Lab, cluster, lab, request};

fn pair(a: &str, b: &str) -> Pair {
    Pair { a: a.to_owned(), b: b.to_owned() }
}

/// Whether one machine hears the other's sshd. An answer may be late on a busy computer, so it is waited for longer than
/// silence is.
fn hears(lab: &Lab, from: &Machine, to: &Machine) -> bool {
    heard_within(lab, from, to, 30)
}

/// Whether one machine hears nothing of the other.
fn is_deaf(lab: &Lab, from: &Machine, to: &Machine) -> bool {
    !heard_within(lab, from, to, 3)
}

fn heard_within(lab: &Lab, from: &Machine, to: &Machine, seconds: u32) -> bool {
    let host = to.address.unwrap();
    let script =
        format!("timeout {seconds} bash -c 'exec 3<>/dev/tcp/{host}/22; head -c 3 <&3' || echo nothing");
    lab.inside(from, &script).starts_with("SSH")
}

/// What the hub has of rules and queues.
fn in_hub(lab: &Lab, command: &[&str]) -> String {
    let hub = format!("--net={}", lab.paths.hub().display());
    let output = std::process::Command::new("nsenter").arg(hub).args(command).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// How many machines' links have a queue of ours.
fn slowed(lab: &Lab) -> usize {
    in_hub(lab, &["tc", "qdisc", "show"]).lines().filter(|line| line.starts_with("qdisc tbf ")).count()
}

/// How long one machine takes to get 400 kB to another.
fn sends(lab: &Lab, from: &Machine, to: &Machine) -> Duration {
    let host = to.address.unwrap();
    let server = "perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(LocalPort => 7000, Listen => 1, ReuseAddr => 1) or die; \
                  $SIG{ALRM} = sub { exit 1 }; alarm 60; $c = $l->accept; 1 while sysread($c, $b, 65536); syswrite($c, \"ok\")'";
    let client = format!(
        "perl -MIO::Socket::INET -e 'alarm 60; for (1..100) {{ $c = IO::Socket::INET->new(PeerAddr => \"{host}\", PeerPort => 7000) and last; \
         select(undef, undef, undef, 0.05) }} print $c \"x\" x 400000; $c->flush; shutdown($c, 1); sysread($c, $b, 2); print $b'"
    );
    std::thread::scope(|scope| {
        scope.spawn(|| lab.inside(to, server));
        let since: Instant = clock::monotonic();
        assert_eq!(lab.inside(from, &client), "ok");
        since.elapsed()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_machines_are_cut_and_healed_and_a_cut_goes_with_its_machine() {
    let Some(lab) = lab("f-cut").await else { return };
    let (one, two, three) = (request("a", 1), request("a", 2), request("a", 3));
    let (one, two, three) = tokio::join!(lab.make(&one), lab.make(&two), lab.make(&three));
    assert!(hears(&lab, &one, &two));
    lab.cloud.cut(&pair("a-w-1", two.id.as_str())).await.unwrap();
    assert!(is_deaf(&lab, &one, &two) && is_deaf(&lab, &two, &one) && hears(&lab, &one, &three));
    assert!(lab.banner(&two).await.starts_with("SSH"), "the operator reaches both");
    assert_eq!(lab.cloud.faults().await.unwrap().cuts.len(), 1);
    lab.cloud.heal(Some(&pair("a-w-2", "a-w-1"))).await.unwrap();
    assert!(hears(&lab, &one, &two) && hears(&lab, &two, &one) && hears(&lab, &one, &three));

    lab.cloud.cut(&pair("a-w-1", "a-w-2")).await.unwrap();
    lab.cloud.delete(&two.id).await.unwrap();
    // The next machine has the address of the last one, and is cut from nobody.
    let four = lab.make(&request("a", 4)).await;
    assert_eq!(four.address, two.address);
    assert!(hears(&lab, &one, &four));
    assert_eq!(lab.cloud.faults().await.unwrap().cuts, []);

    let refused = async |a: &str, b: &str| match lab.cloud.cut(&pair(a, b)).await {
        Err(ProviderError::Rejected { message }) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("a-w-1", one.id.as_str()).await, "a-w-1 cannot be cut from itself");
    assert!(refused("a-w-1", "a-w-9").await.starts_with("there is no machine a-w-9"));
    let network = Network { internet: false, expose: Vec::new() };
    lab.cloud.scaffold(&cluster("b"), &network).await.unwrap();
    lab.cloud.create(&request("b", 1)).await.unwrap();
    assert!(refused("a-w-1", "b-w-1").await.contains("are of two clusters"));
    let healed = lab.cloud.heal(Some(&pair("a-w-1", "a-w-3"))).await;
    assert!(healed.unwrap_err().to_string().ends_with("are not cut from each other"));
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_slow_for_all_machines_also_for_new_ones() {
    let Some(lab) = lab("f-slow").await else { return };
    let (one, two) = (request("a", 1), request("a", 2));
    let (one, two) = tokio::join!(lab.make(&one), lab.make(&two));
    let fast = sends(&lab, &one, &two);
    lab.set_faults(&["slow-network=512kbit"], 1).await;
    assert_eq!(slowed(&lab), 2);
    let slow = sends(&lab, &one, &two);
    // 400 kB are 6.25 s at this rate, less one for what a burst lets through.
    assert!(slow > Duration::from_secs(5) && fast < slow, "{slow:?}, without {fast:?}");
    let three = lab.make(&request("a", 3)).await;
    lab.until(|| slowed(&lab) == 3).await;
    lab.cloud.stop(&three.id).await.unwrap();
    lab.cloud.start(&three.id).await.unwrap();
    lab.running(&three.id).await;
    lab.until(|| slowed(&lab) == 3).await;
    lab.cloud.clear_faults().await.unwrap();
    assert_eq!(slowed(&lab), 0);
    let again = sends(&lab, &one, &two);
    assert!(again < slow, "{again:?}, slow {slow:?}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_lost_and_a_killed_agent_takes_its_faults_with_it() {
    let Some(lab) = lab("f-lost").await else { return };
    let (one, two) = (request("a", 1), request("a", 2));
    let (one, two) = tokio::join!(lab.make(&one), lab.make(&two));
    lab.set_faults(&["drop-packets=1000"], 1).await;
    assert!(is_deaf(&lab, &one, &two), "all packets are lost");
    assert!(lab.cloud.dial(&two, 22).await.is_err(), "the agent's own too");
    lab.set_faults(&["drop-packets=100", "slow-network=100mbit"], 1).await;
    lab.cloud.cut(&pair("a-w-1", "a-w-2")).await.unwrap();
    let mut arrived = 0;
    for _ in 0..10 {
        arrived += u32::from(lab.cloud.dial(&two, 22).await.is_ok());
    }
    assert!(arrived > 0, "a tenth is lost: what is sent again arrives");
    assert_eq!(slowed(&lab), 2);

    let agent = lab.cloud.status().await.unwrap();
    let process = Process::of(i32::try_from(agent.pid).unwrap()).unwrap();
    process.signal(nix::sys::signal::Signal::SIGKILL);
    assert_ne!(lab.cloud.status().await.unwrap().pid, agent.pid);
    lab.until(|| slowed(&lab) == 0).await;
    let faults = lab.cloud.faults().await.unwrap();
    assert_eq!((faults.faults, faults.cuts), (vec![], vec![]));
    assert!(hears(&lab, &one, &two));
    lab.close().await;
}
