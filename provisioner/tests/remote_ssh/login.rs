//! Host keys and login keys.

use std::sync::Arc;

use provisioner::keys::{HostKey, KeyPair, rotation_job};
use provisioner::remote::{Access, JobFile, Remote, RemoteError, SshRemote, ssh_command};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::lab::{Lab, Piped, job};

#[test]
fn a_machine_with_another_host_key_is_refused_before_the_login() {
    let Some(lab) = Lab::from_env() else { return };
    let other = KeyPair::generate("other").unwrap();
    let mut target = lab.target().clone();
    let right = HostKey::parse(&target.host_keys[0]).unwrap().fingerprint();
    target.host_keys = vec![other.public().to_owned()];
    let error = lab.wait(lab.remote.ask(&target, "exit 0")).unwrap_err();
    assert_eq!(error, RemoteError::WrongHostKey { expected: other.fingerprint(), got: right });
    target.host_keys.push(lab.target().host_keys[0].clone());
    assert!(lab.wait(lab.remote.ask(&target, "exit 0")).is_ok());
}

#[test]
fn a_key_that_is_not_authorised_is_refused_with_the_user() {
    let Some(lab) = Lab::from_env() else { return };
    let with = |key: SecretString| {
        let remote = SshRemote::new(lab.provider.clone(), key, lab.logs.path().to_owned());
        lab.wait(remote.ask(lab.target(), "exit 0")).unwrap_err()
    };
    let stranger = with(KeyPair::generate("stranger").unwrap().private().clone());
    assert!(matches!(&stranger, RemoteError::AuthRefused { user, .. } if user == "root"), "{stranger}");
    let broken = with(SecretString::from("no key"));
    assert!(matches!(broken, RemoteError::KeyRefused(_)), "{broken}");
}

#[test]
fn a_connection_may_come_through_a_unix_socket() {
    let Some(lab) = Lab::from_env() else { return };
    let piped = Arc::new(Piped(lab.provider.clone()));
    let remote = SshRemote::new(piped, lab.key.clone(), lab.logs.path().to_owned());
    let done = lab.wait(remote.run(lab.target(), &job("piped", "echo through"))).unwrap();
    assert_eq!((done.status, done.tail), (0, vec!["through".to_owned()]));
}

#[test]
fn people_reach_it_with_the_systems_ssh() {
    let Some(lab) = Lab::from_env() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (key_file, known_hosts) = (dir.path().join("key"), dir.path().join("known_hosts"));
    provisioner::state::write_private(&key_file, lab.key.expose_secret().as_bytes()).unwrap();
    let Some(address) = lab.address() else { return };
    // bash's own TCP, so that nothing needs to be installed
    // ssh ends its proxy with SIGHUP: what still reads from the machine must not outlive it
    let dial = format!(
        "exec 3<>/dev/tcp/{}/{}; cat <&3 & trap 'kill $! 2>/dev/null' EXIT; trap exit HUP TERM; cat >&3",
        address.ip(),
        address.port()
    );
    let proxy = ["bash", "-c", &dial].map(str::to_owned);
    let run = |target: &provisioner::remote::Target| {
        let access = Access { target, key_file: &key_file, known_hosts: &known_hosts, proxy: &proxy };
        let words = ["printf", "%s.", "a b", "it's"].map(str::to_owned);
        ssh_command(&access, &words).unwrap().output().unwrap()
    };
    let output = run(lab.target());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a b.it's.", "{output:?}");
    let mut other = lab.target().clone();
    other.host_keys = vec![KeyPair::generate("other").unwrap().public().to_owned()];
    let refused = run(&other);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
}

#[test]
fn a_pinned_key_that_is_none_is_refused_without_a_login() {
    let Some(lab) = Lab::from_env() else { return };
    let mut target = lab.target().clone();
    target.host_keys = vec!["ssh-ed25519 AAAA".into()];
    let error = lab.wait(lab.remote.ask(&target, "exit 0")).unwrap_err();
    assert!(
        matches!(&error, RemoteError::KeyRefused(why) if why.contains("expecting `ssh-ed25519")),
        "{error}"
    );
}

#[test]
fn a_host_key_is_rotated_twice_under_an_open_connection() {
    let Some(lab) = Lab::from_env() else { return };
    let first = lab.target().host_keys[0].clone();
    let old = lab.ask("cat /etc/ssh/ssh_host_ed25519_key");
    let new = KeyPair::generate("second").unwrap();
    let mut target = lab.target().clone();
    target.host_keys = vec![first.clone(), new.public().to_owned()];

    let rotation = rotation_job(&new);
    assert_eq!(lab.wait(lab.remote.run(&target, &rotation)).unwrap().status, 0);
    let mut again = rotation_job(&new);
    again.unit.push_str("-again");
    let repeated = lab.wait(lab.remote.run(&target, &again)).unwrap();
    assert_eq!((repeated.status, repeated.changed), (0, false));

    // only the new one is right now, for connections that are made anew
    let mut after = lab.target().clone();
    after.host_keys = vec![new.public().to_owned()];
    lab.wait(lab.remote.ask(&after, "exit 0")).unwrap();
    let fresh = Arc::new(lab.another_process());
    let wrong = lab.wait(fresh.ask(lab.target(), "exit 0")).unwrap_err();
    assert!(matches!(wrong, RemoteError::WrongHostKey { .. }), "{wrong}");

    // as it was, for the tests after this one
    let mut back = job("back", &rotation.script);
    let file = |name: &str, text: &str| JobFile {
        name: name.into(),
        content: SecretSlice::from(text.as_bytes().to_vec()),
    };
    back.files = vec![file("host_key", &old), file("host_key.pub", &format!("{first}\n"))];
    assert_eq!(lab.wait(lab.remote.run(&after, &back)).unwrap().status, 0);
    lab.wait(fresh.ask(lab.target(), "exit 0")).unwrap();
}
