use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

fn seed(byte: u8) -> Seed {
    SecretBox::new(Box::new([byte; SEED]))
}

fn machine(name: &str) -> MachineName {
    MachineName::new(name).unwrap()
}

const BORN: Timestamp = Timestamp::UNIX_EPOCH;

#[test]
fn a_host_key_is_a_function_of_seed_machine_birth_and_generation() {
    let later = BORN.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap();
    let of = |s, m: &str, b, g| host_key(&seed(s), &machine(m), b, g).fingerprint();
    let first = of(1, "lab1-workers-1", BORN, Generation::First);
    assert_eq!(first, of(1, "lab1-workers-1", BORN, Generation::First));
    let others = [
        of(2, "lab1-workers-1", BORN, Generation::First),
        of(1, "lab1-workers-2", BORN, Generation::First),
        of(1, "lab1-workers-1", later, Generation::First),
        of(1, "lab1-workers-1", BORN, Generation::Second),
    ];
    for (n, other) in others.iter().enumerate() {
        assert!(*other != first && !others[..n].contains(other), "{n}: {other}");
    }
    // A change here means that machines made by an earlier version can no longer be reached.
    insta::assert_snapshot!(host_key(&seed(1), &machine("lab1-workers-1"), BORN, Generation::First).public());
}

#[test]
fn user_data_comes_out_the_same_each_time() {
    let keys = Keys { operator: openssh::key_pair(&[7; SEED], "operator"), seed: seed(1) };
    let daemon = "ssh-ed25519 AAAAdaemon daemon\n";
    let make = || keys.user_data(&machine("lab1-front-end-1"), BORN, &[daemon.to_owned()]);
    let (a, b) = (make(), make());
    assert_eq!(a.host_key.expose_secret(), b.host_key.expose_secret());
    let first = keys.host_key(&machine("lab1-front-end-1"), BORN, Generation::First);
    assert_eq!(a.host_key_public, first.public());
    assert_eq!(a.authorized_keys, [keys.operator().public(), "ssh-ed25519 AAAAdaemon daemon"]);
    assert_eq!(a.script, "");
}

#[test]
fn what_is_printed_of_keys_holds_no_secret() {
    let keys = Keys { operator: openssh::key_pair(&[7; SEED], "operator"), seed: seed(1) };
    insta::assert_snapshot!(format!("{keys:?}"));
    let job = rotation_job(keys.operator());
    assert!(!format!("{job:?}").contains("PRIVATE KEY"), "{job:?}");
    assert!(!job.script.contains("PRIVATE KEY") && job.unit.starts_with("continuum-host-key-"));
}

#[test]
fn keys_are_drawn_once_and_read_again() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    let drawn = Keys::load_or_create(&dir, "lab1").unwrap();
    let again = Keys::load_or_create(&dir, "lab1").unwrap();
    assert_eq!(drawn.operator().private().expose_secret(), again.operator().private().expose_secret());
    assert_eq!(drawn.seed.expose_secret(), again.seed.expose_secret());
    assert!(drawn.operator().public().ends_with(" continuum-lab1"), "{}", drawn.operator().public());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let modes = ["", "operator", "seed"].map(|name| mode(&dir.join(name)));
    assert_eq!(modes, [0o700, 0o600, 0o600]);
    let other = Keys::load_or_create(&home.path().join("other"), "lab1").unwrap();
    assert_ne!(drawn.seed.expose_secret(), other.seed.expose_secret());
}

#[test]
fn a_key_that_cannot_be_used_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let check = |expected: &str, spoil: &dyn Fn(&Path)| {
        let dir = home.path().join(expected.len().to_string());
        Keys::load_or_create(&dir, "lab1").unwrap();
        spoil(&dir);
        let error = Keys::load(&dir).unwrap_err().to_string().replace(dir.to_str().unwrap(), "KEYS");
        assert_eq!(error, expected);
        // A spoilt folder is never silently filled with new keys: the machines would not know them.
        assert!(Keys::load_or_create(&dir, "lab1").is_err() || expected.starts_with("no keys"));
    };
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    check("no keys in KEYS: the cluster was made elsewhere, or its folder was deleted", &|d| {
        fs::remove_dir_all(d).unwrap();
    });
    check("KEYS/operator is open to others (mode 644): chmod 600 KEYS/operator", &|d| {
        chmod(&d.join("operator"), 0o644);
    });
    check("KEYS is open to others (mode 755): chmod 700 KEYS", &|d| chmod(d, 0o755));
    check("KEYS/seed is damaged: it has 3 bytes, expecting 32", &|d| {
        fs::write(d.join("seed"), "abc").unwrap();
    });
    check("KEYS/seed is damaged: it is missing, the other key file is there", &|d| {
        fs::remove_file(d.join("seed")).unwrap();
    });
    let folder = "KEYS/operator is a folder, expecting a key file: move it away and put the key back";
    check(folder, &|d| {
        fs::remove_file(d.join("operator")).unwrap();
        fs::create_dir(d.join("operator")).unwrap();
    });
}

#[test]
fn a_public_key_is_checked() {
    let pair = openssh::key_pair(&[7; SEED], "operator");
    let key = HostKey::parse(&format!("{}\n", pair.public())).unwrap();
    assert_eq!((key.algorithm(), key.fingerprint()), ("ssh-ed25519", pair.fingerprint()));
    let error = HostKey::parse("ssh-ed25519 AAAA").unwrap_err().to_string();
    assert!(error.starts_with("no public key: "), "{error}");
}
