//! Connections that drop, clients that go away.

use std::time::Duration;

use provisioner::remote::{Remote, RemoteError};

use crate::lab::{Lab, job};

/// Two hundred numbered lines in about four seconds.
const COUNT: &str = "i=0; while [ $i -lt 200 ]; do i=$((i + 1)); echo line $i; sleep 0.02; done; exit 4";

fn whole_log() -> String {
    let lines: String = (1..=200).map(|n| format!("line {n}\n")).collect();
    format!("== from 0\n{lines}== ended: status 4\n")
}

#[test]
fn a_cut_connection_loses_and_doubles_nothing() {
    let Some(lab) = Lab::from_env() else { return };
    let counting = job("cut", COUNT);
    let result = lab.wait(async {
        let cutter = async {
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(1100)).await;
                lab.provider.cut();
            }
        };
        tokio::join!(lab.remote.run(lab.target(), &counting), cutter).0
    });
    assert_eq!(result.unwrap().status, 4);
    assert_eq!(lab.log(), whole_log());
    assert_eq!(lab.provider.dialed(), 3);
}

#[test]
fn a_killed_server_process_loses_and_doubles_nothing() {
    let Some(lab) = Lab::from_env() else { return };
    let counting = job("server", COUNT);
    // the sshd above the shell that became our driver
    let kill = "for d in /proc/[0-9]*; do case $(tr '\\0' ' ' <$d/cmdline) in */driver' serve '*) \
                kill -9 $(sed -n 's/^PPid:.//p' $d/status); echo killed;; esac; done 2>/dev/null; exit 0";
    let result = lab.wait(async {
        let killer = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            lab.remote.ask(lab.target(), kill).await.unwrap()
        };
        tokio::join!(lab.remote.run(lab.target(), &counting), killer)
    });
    assert_eq!(secrecy::ExposeSecret::expose_secret(&result.1), b"killed\n");
    assert_eq!(result.0.unwrap().status, 4);
    assert_eq!(lab.log(), whole_log());
}

#[test]
fn a_client_that_dies_is_followed_by_one_that_joins() {
    let Some(lab) = Lab::from_env() else { return };
    let counting = job("dies", COUNT);
    let given_up = lab.wait(async {
        tokio::time::timeout(Duration::from_millis(1500), lab.remote.run(lab.target(), &counting)).await
    });
    assert!(given_up.is_err(), "{given_up:?}");
    // until the thread of the first has noticed that nobody waits
    lab.wait(async { tokio::time::sleep(Duration::from_millis(600)).await });
    let result = lab.wait(lab.another_process().run(lab.target(), &counting));
    assert_eq!(result.unwrap().status, 4);
    assert_eq!(lab.log(), whole_log());
}

#[test]
fn a_machine_that_stays_away_is_dropped_after_a_few_tries() {
    let Some(lab) = Lab::from_env() else { return };
    let endless = job("away", "sleep 20");
    let result = lab.wait(async {
        let cutter = async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                lab.provider.cut();
            }
        };
        tokio::select! {
            result = lab.remote.run(lab.target(), &endless) => result,
            () = cutter => unreachable!("it cuts for ever"),
        }
    });
    assert!(matches!(result, Err(RemoteError::Dropped(_) | RemoteError::NotUp(_))), "{result:?}");
    lab.ask(&format!("systemctl stop {} 2>/dev/null; exit 0", endless.unit));
}

#[test]
fn an_idle_connection_that_died_is_replaced_without_a_word() {
    let Some(lab) = Lab::from_env() else { return };
    assert_eq!(lab.ask("echo a"), "a\n");
    lab.provider.cut();
    assert_eq!(lab.ask("echo b"), "b\n");
    assert_eq!(lab.run(&job("after", "exit 0")).unwrap().status, 0);
    assert_eq!(lab.provider.dialed(), 2);
}

/// By hand: what a job costs beyond its script. Prints; asserts nothing about time.
#[test]
#[ignore = "prints timings"]
fn the_price_of_a_job() {
    let Some(lab) = Lab::from_env() else { return };
    let connect = provisioner::clock::monotonic();
    lab.ask("exit 0");
    eprintln!("connect and ask: {:?}", connect.elapsed());
    let ask = provisioner::clock::monotonic();
    lab.ask("exit 0");
    eprintln!("ask again: {:?}", ask.elapsed());
    for _ in 0..5 {
        let begun = provisioner::clock::monotonic();
        lab.run(&job("price", "exit 0")).unwrap();
        eprintln!("job: {:?}", begun.elapsed());
    }
    let kept = job("kept", "exit 0");
    lab.run(&kept).unwrap();
    let begun = provisioner::clock::monotonic();
    lab.run(&kept).unwrap();
    eprintln!("kept: {:?}", begun.elapsed());
}

#[test]
#[ignore = "takes a minute: three keep-alives have to go unanswered"]
fn a_machine_that_falls_silent_is_noticed_and_joined_again() {
    let Some(lab) = Lab::from_env() else { return };
    let counting = job("silent", COUNT);
    // the whole session of the job stops: the connection stays open and says nothing
    let stop = "for d in /proc/[0-9]*; do case $(tr '\\0' ' ' <$d/cmdline) in */driver' serve '*) \
                kill -STOP ${d#/proc/} $(sed -n 's/^PPid:.//p' $d/status); echo stopped;; esac; done 2>/dev/null; exit 0";
    let begun = provisioner::clock::monotonic();
    let (result, stopped) = lab.wait(async {
        let stopper = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            lab.remote.ask(lab.target(), stop).await.unwrap()
        };
        tokio::join!(lab.remote.run(lab.target(), &counting), stopper)
    });
    assert_eq!(secrecy::ExposeSecret::expose_secret(&stopped), b"stopped\n");
    assert_eq!(result.unwrap().status, 4);
    assert_eq!(lab.log(), whole_log());
    assert!((30..55).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    lab.ask("for d in /proc/[0-9]*; do [ \"$(sed -n 's/^State:.//p' $d/status | cut -c1)\" != T ] || kill -KILL ${d#/proc/}; done; exit 0");
}

#[test]
fn many_conversations_share_two_machines() {
    let Some(lab) = Lab::from_env() else { return };
    let answers = lab.wait(async {
        let ask = |n: usize| {
            let lab = &lab;
            async move { lab.remote.ask(&lab.targets[n % 2], &format!("echo {n}; sleep 0.1")).await }
        };
        futures::future::join_all((0..24).map(ask)).await
    });
    for (n, answer) in answers.into_iter().enumerate() {
        let answer = answer.unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&answer), format!("{n}\n").as_bytes());
    }
}

/// By hand: `CONTINUUM_TEST_REBOOT` is a shell command that kills the first machine and boots it again.
#[test]
#[ignore = "needs a machine that may be killed"]
fn a_job_whose_machine_went_down_is_run_again() {
    let (Some(lab), Some(reboot)) = (Lab::from_env(), provisioner::env::var("CONTINUUM_TEST_REBOOT")) else {
        return;
    };
    let counting = job("reboot", COUNT);
    let result = lab.wait(async {
        let rebooter = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let status = tokio::process::Command::new("sh").args(["-c", &reboot]).status().await;
            assert!(status.unwrap().success());
        };
        let run = async {
            loop {
                match lab.remote.run(lab.target(), &counting).await {
                    Err(RemoteError::Dropped(_) | RemoteError::NotUp(_)) => {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                    other => return other,
                }
            }
        };
        tokio::join!(run, rebooter).0
    });
    assert_eq!(result.unwrap().status, 4);
    let log = lab.log();
    assert!(log.starts_with("== from 0\nline 1\n") && log.ends_with(&whole_log()), "{log}");
}
