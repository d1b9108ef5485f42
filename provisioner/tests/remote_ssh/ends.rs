//! The ways in which a job ends.

use std::time::Duration;

use provisioner::remote::{Done, JobFile, Remote, RemoteError};
use secrecy::SecretSlice;

use crate::lab::{Lab, job};

fn done(status: i32, changed: bool, tail: &[&str]) -> Done {
    Done { status, changed, tail: tail.iter().map(|line| (*line).to_owned()).collect() }
}

#[test]
fn a_script_ends_with_its_own_status_and_its_output_in_the_log() {
    let Some(lab) = Lab::from_env() else { return };
    let ok = lab.run(&job("ok", "echo one; echo two >&2"));
    assert_eq!(ok, Ok(done(0, true, &["one", "two"])));
    let failed = lab.run(&job("failed", "echo no; exit 7"));
    assert_eq!(failed, Ok(done(7, true, &["no"])));
    let same = lab.run(&job("same", "echo unchanged >\"$CONTINUUM_RESULT\""));
    assert_eq!(same, Ok(done(0, false, &[])));
    let expected = "== from 0\none\ntwo\n== ended: status 0\n== from 0\nno\n== ended: status 7\n\
                    == from 0\n== ended: status 0\n";
    assert_eq!(lab.log(), expected);
    // three jobs, one connection
    assert_eq!(lab.provider.dialed(), 1);
}

#[test]
fn a_script_has_a_clean_environment_its_files_and_no_input() {
    let Some(lab) = Lab::from_env() else { return };
    let script = "umask; pwd; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; cat \"$CONTINUUM_FILES/secret\"; \
                  stat -c '%a %F' \"$CONTINUUM_FILES\"; stat -f -c %T \"$CONTINUUM_FILES\"; \
                  stat -c %a \"$CONTINUUM_FILES/secret\"; read -r line || echo end of input";
    let mut job = job("environment", script);
    job.files.push(JobFile { name: "secret".into(), content: SecretSlice::from(b"s3cret\n".to_vec()) });
    let words = "CONTINUUM_BLOBS CONTINUUM_FILES CONTINUUM_RESULT HOME LANG PATH PWD ";
    let expected = ["0022", "/", words, "s3cret", "700 directory", "tmpfs", "600", "end of input"];
    let result = lab.run(&job).unwrap();
    let tail: Vec<&str> = result.tail.iter().map(String::as_str).collect();
    assert_eq!(tail[2].trim(), words.trim());
    assert_eq!((&tail[..2], &tail[3..]), (&expected[..2], &expected[3..]));
    // its script and files are gone with it
    let left = lab.ask("sleep 0.3; ls /run/continuum/jobs; grep -rl 's3cret$' /run/continuum /var/lib/continuum/blobs; exit 0");
    assert_eq!(left, "");
}

#[test]
fn a_success_is_kept_and_a_failure_is_tried_again_once_it_was_told() {
    let Some(lab) = Lab::from_env() else { return };
    let count = "n=/root/count-$(basename \"$CONTINUUM_FILES/..\"); ";
    let mark = format!("/root/count-{}", crate::lab::unique());
    let good =
        job("kept", &format!("{count} echo x >>{mark}; wc -l <{mark}; echo unchanged >$CONTINUUM_RESULT"));
    assert_eq!(lab.run(&good), Ok(done(0, false, &["1"])));
    assert_eq!(lab.run(&good), Ok(done(0, false, &["1"])));
    let another = lab.another_process();
    assert_eq!(lab.wait(another.run(lab.target(), &good)), Ok(done(0, false, &["1"])));

    let bad = job("again", &format!("echo x >>{mark}; wc -l <{mark}; exit 3"));
    assert_eq!(lab.run(&bad), Ok(done(3, true, &["2"])));
    assert_eq!(lab.run(&bad), Ok(done(3, true, &["3"])));
    lab.ask(&format!("rm {mark}"));
}

#[test]
fn what_ends_a_job_from_outside_is_told_apart() {
    let Some(lab) = Lab::from_env() else { return };
    let mut slow = job("slow", "echo begun; sleep 100");
    slow.timeout = Duration::from_secs(1);
    let late = RemoteError::TimedOut { limit: Duration::from_secs(1), tail: vec!["begun".into()] };
    assert_eq!(lab.run(&slow), Err(late));
    let log = lab.log();
    assert!(log.ends_with("begun\n== ended: status 143, ended: it took longer than its limit\n"), "{log}");

    let own = "unit=$(sed -n 's,.*/\\(test-[a-z0-9-]*\\).service$,\\1,p' /proc/self/cgroup | head -n 1)";
    let killed = lab.run(&job("killed", &format!("{own}; systemctl kill -s KILL $unit; sleep 100")));
    assert_eq!(killed, Ok(done(137, true, &["[continuum: ended: its unit was stopped]"])));

    let signal = lab.run(&job("signal", "kill -9 $$"));
    let tail = ["[continuum: ended by a signal]"];
    let signal = signal.map(|d| done(d.status, d.changed, &[d.tail.last().unwrap()]));
    assert_eq!(signal, Ok(done(137, true, &tail)));

    let greedy =
        format!("{own}; systemctl set-property --runtime $unit MemoryMax=40M; head -c 200M /dev/zero | tail");
    let oom = lab.run(&job("greedy", &greedy)).unwrap();
    let last = oom.tail.last().unwrap().as_str();
    assert_eq!((oom.status, last), (137, "[continuum: ended by the kernel: out of memory]"));
}

#[test]
fn a_job_that_prints_a_gigabyte_fills_neither_disk_nor_log() {
    let Some(lab) = Lab::from_env() else { return };
    // whether `yes` complains of the pipe that closes is chance, and a gigabyte ends within a line
    let noisy = job("noisy", "yes 0123456789abcdef 2>/dev/null | head -c 1G; echo; echo the end; exit 5");
    let result = lab.run(&noisy).unwrap();
    assert_eq!((result.status, result.tail.last().unwrap().as_str()), (5, "the end"));
    let size = std::fs::metadata(lab.log_file()).unwrap().len();
    assert!((16 << 20..17 << 20).contains(&size), "{size} bytes");
    let log = lab.log();
    assert!(log.contains("[continuum: more than 16777216 bytes of output; the last lines follow]\n"));
    assert!(log.ends_with("the end\n== ended: status 5\n"));
    let kept = lab.ask(&format!("du -sk /var/lib/continuum/jobs/{} | cut -f1", noisy.unit));
    assert!(kept.trim().parse::<u32>().unwrap() < 100, "{kept}");
}

#[test]
fn a_full_disk_loses_no_status_and_is_named() {
    let Some(lab) = Lab::from_env() else { return };
    // a disk of 256 KiB in the place of the real one
    let small = "mount -t tmpfs -o size=256k small /var/lib/continuum";
    lab.ask(small);
    let result = lab.run(&job("full", "yes | head -c 2M; exit 6"));
    let dir = tempfile::tempdir().unwrap();
    let mut with_blob = job("blob", "exit 0");
    with_blob.blobs = vec![crate::files::blob(dir.path(), 1 << 20)];
    let no_room = lab.run(&with_blob);
    lab.ask("umount /var/lib/continuum");
    assert_eq!(result.unwrap().status, 6);
    let error = no_room.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot run jobs: ") && error.contains("no room for a file of 1048576 bytes"),
        "{error}"
    );
}

#[test]
fn a_process_that_a_script_leaves_behind_does_not_hold_its_end_up() {
    let Some(lab) = Lab::from_env() else { return };
    let result = lab.run(&job("leaves", "echo a; sleep 300 & echo b"));
    assert_eq!(result, Ok(done(0, true, &["a", "b"])));
}

#[test]
fn jobs_on_two_machines_run_side_by_side() {
    let Some(lab) = Lab::from_env() else { return };
    let script = "hostname; date +%s%N; sleep 3; date +%s%N";
    let (a, b) = (job("left", script), job("right", script));
    let (a, b) = lab.wait(async {
        tokio::join!(lab.remote.run(&lab.targets[0], &a), lab.remote.run(&lab.targets[1], &b))
    });
    let (a, b) = (a.unwrap().tail, b.unwrap().tail);
    assert_ne!(a[0], b[0]);
    let time = |tail: &[String], n: usize| tail[n].parse::<u64>().unwrap();
    assert!(time(&a, 1) < time(&b, 2) && time(&b, 1) < time(&a, 2), "one after the other: {a:?} {b:?}");
}
