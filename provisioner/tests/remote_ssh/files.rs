//! Blobs and answers.

use std::os::unix::fs::PermissionsExt;

use provisioner::remote::{Blob, Remote, RemoteError};
use sha2::{Digest, Sha256};

use crate::lab::{Lab, job, unique};

pub(crate) fn blob(dir: &std::path::Path, size: usize) -> Blob {
    let mut content = unique().into_bytes();
    content.resize(size, b'.');
    let sha256: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    let path = dir.join(&sha256[..8]);
    std::fs::write(&path, &content).unwrap();
    Blob { sha256, size: size as u64, path }
}

#[test]
fn a_blob_travels_once() {
    let Some(lab) = Lab::from_env() else { return };
    let dir = tempfile::tempdir().unwrap();
    let blobs = vec![blob(dir.path(), 20 << 20), blob(dir.path(), 0), blob(dir.path(), 100)];
    let check = "cd $CONTINUUM_BLOBS; for f in HASHES; do [ $(sha256sum <$f | cut -d' ' -f1) = $f ] && [ -x $f ]; \
                 echo $?; done";
    let hashes: Vec<&str> = blobs.iter().map(|b| b.sha256.as_str()).collect();
    for name in ["sent", "there"] {
        let mut job = job(name, &check.replace("HASHES", &hashes.join(" ")));
        job.blobs = blobs.clone();
        let done = lab.run(&job).unwrap();
        assert_eq!((done.status, done.tail), (0, vec!["0".to_owned(); 3]));
    }
    let log = lab.log();
    assert_eq!(log.matches("== upload ").count(), 3, "{log}");
    lab.ask(&format!("cd /var/lib/continuum/blobs; rm {}", hashes.join(" ")));
}

#[test]
fn a_blob_that_the_host_shares_is_linked() {
    let Some(lab) = Lab::from_env() else { return };
    let dir = tempfile::tempdir().unwrap();
    let shared = blob(dir.path(), 64);
    let hash = shared.sha256.clone();
    let content = std::fs::read_to_string(&shared.path).unwrap();
    lab.ask(&format!("cd /var/lib/continuum; mkdir -p shared; printf %s '{content}' >shared/{hash}"));
    let mut job = job("shared", &format!("readlink $CONTINUUM_BLOBS/{hash}; cat $CONTINUUM_BLOBS/{hash}"));
    job.blobs = vec![shared];
    assert_eq!(lab.run(&job).unwrap().tail, [format!("/var/lib/continuum/shared/{hash}"), content]);
    assert!(!lab.log().contains("== upload "));
    lab.ask(&format!("cd /var/lib/continuum; rm shared/{hash} blobs/{hash}"));
}

#[test]
fn a_file_that_is_not_what_its_hash_says_stays_out() {
    let Some(lab) = Lab::from_env() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = blob(dir.path(), 1000);
    std::fs::write(&wrong.path, vec![b'!'; 1000]).unwrap();
    let mut job = job("wrong", "exit 0");
    job.blobs = vec![wrong.clone()];
    let error = lab.run(&job).unwrap_err().to_string();
    let says = format!("not {}", wrong.sha256);
    assert!(error.contains("file has sha256 ") && error.ends_with(&says), "{error}");
    assert_eq!(
        lab.ask("ls -A /var/lib/continuum/blobs | grep -c '^[.]'; exit 0"),
        "0\n",
        "half a file is left"
    );

    wrong.size = 999;
    job.blobs = vec![wrong.clone()];
    let error = lab.run(&job).unwrap_err();
    assert!(matches!(&error, RemoteError::Here(why) if why.contains("has 1000 bytes")), "{error}");
    std::fs::remove_file(&wrong.path).unwrap();
    assert!(matches!(lab.run(&job), Err(RemoteError::Here(_))));
}

#[test]
fn a_question_gives_stdout_alone_and_a_failure_its_words() {
    let Some(lab) = Lab::from_env() else { return };
    assert_eq!(lab.ask("echo noise >&2; printf 'a\\nb'"), "a\nb");
    assert_eq!(lab.ask("cat; echo end"), "end\n", "a question has no input");
    assert_eq!(
        lab.ask("head -c 3000000 /dev/zero | tr '\\0' x; head -c 9000000 /dev/zero >&2").len(),
        3_000_000
    );
    let ask = |script: &str| lab.wait(lab.remote.ask(lab.target(), script)).unwrap_err();
    let words = "no such node".to_owned();
    assert_eq!(
        ask("echo no such; echo node >&2; exit 3"),
        RemoteError::ScriptFailed { status: 3, words: "node".into() }
    );
    assert_eq!(ask("echo 'no such node' >&2; exit 1"), RemoteError::ScriptFailed { status: 1, words });
    assert!(matches!(ask("yes"), RemoteError::Unfit(_)));
    // nothing of it is logged
    assert!(!lab.log_file().exists());
}

#[test]
fn logs_are_private() {
    let Some(lab) = Lab::from_env() else { return };
    lab.run(&job("private", "echo x")).unwrap();
    let mode = std::fs::metadata(lab.log_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
