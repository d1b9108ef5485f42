use secrecy::SecretSlice;

use crate::remote::JobFile;

use super::*;

fn job() -> Job {
    Job {
        unit: "continuum-base-sysctl-1a2b".into(),
        script: "echo hi\n".into(),
        files: vec![JobFile { name: "join.yaml".into(), content: SecretSlice::from(b"s3\ncret".to_vec()) }],
        blobs: vec![Blob { sha256: "ab".repeat(32), size: 7, path: "/here".into() }],
        timeout: Duration::from_millis(1500),
    }
}

#[test]
fn a_request_has_its_parts_in_the_drivers_grammar() {
    let request = Request::of(&job()).unwrap();
    let bytes = request.bytes(Some(&("a-b".into(), 42)), 1_800_000_000);
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let expected = "unit continuum-base-sysctl-1a2b\ntimeout 2\ntime 1800000000\ncap 16777216\nhave a-b 42\nblob BLOB 7\n\
                    script 8\necho hi\nfile join.yaml 7\ns3\ncretend\n";
    let got = text.strip_prefix(DRIVER).unwrap().replace(&"ab".repeat(32), "BLOB");
    assert_eq!(got, expected);
}

#[test]
fn names_that_could_leave_their_place_are_refused() {
    let check = |spoil: &dyn Fn(&mut Job), expected: &str| {
        let mut job = job();
        spoil(&mut job);
        let error = Request::of(&job).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{error:?} is not {expected:?}");
    };
    for unit in ["", "a b", "A", "a/b", "a;b", &"a".repeat(129)] {
        check(&|job| job.unit = unit.into(), "unit name ");
    }
    for name in ["", "..", ".x", "a/b", "a b", "a\nb", "$x"] {
        check(&|job| job.files[0].name = name.into(), "file name ");
    }
    for hash in ["", "ab", &"AB".repeat(32), &"/.".repeat(32)] {
        check(&|job| job.blobs[0].sha256 = hash.into(), "blob ");
    }
}

fn decode(stream: &[u8], cut: usize) -> Result<Vec<Event>, String> {
    let mut decoder = Decoder::new();
    let mut events: Vec<Event> = Vec::new();
    for piece in stream.chunks(cut) {
        decoder.push(piece);
        while let Some(event) = decoder.next()? {
            match (events.last_mut(), event) {
                (Some(Event::Output { offset, bytes }), Event::Output { offset: next, bytes: more })
                    if *offset + bytes.len() as u64 == next =>
                {
                    bytes.extend(more)
                }
                (_, event) => events.push(event),
            }
        }
    }
    Ok(events)
}

#[test]
fn the_driver_is_plain_sh() {
    let shellcheck = std::process::Command::new("shellcheck")
        .args(["--norc", concat!(env!("CARGO_MANIFEST_DIR"), "/src/remote/driver.sh")])
        .args(["--shell=sh", concat!(env!("CARGO_MANIFEST_DIR"), "/src/keys/rotate.sh")])
        .output();
    match shellcheck {
        Ok(said) => assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout)),
        Err(e) => eprintln!("skipped: shellcheck: {e}"),
    }
}

#[test]
fn events_come_out_the_same_however_the_stream_is_cut() {
    let stream = b"Welcome!\ncontinuum 1\nneed aa\nattempt x-1\nout 5 12\ndone 0 exit beat\nout 17 1\n!\
                   tail 4\nab\ncdone 137 oom changed\n";
    let expected = [
        Event::Hello,
        Event::Need("aa".into()),
        Event::Attempt("x-1".into()),
        Event::Output { offset: 5, bytes: b"done 0 exit ".to_vec() },
        Event::Beat,
        Event::Output { offset: 17, bytes: b"!".to_vec() },
        Event::Tail(b"ab\nc".to_vec()),
        Event::Done { status: 137, reason: Reason::Oom, changed: true },
    ];
    for cut in 1..stream.len() {
        assert_eq!(decode(stream, cut).unwrap(), expected, "cut into {cut}");
    }
}

#[test]
fn another_program_on_the_other_side_is_an_error() {
    for line in ["hello", "out x 1", "out 1", "done 0 strange changed", "tail 999999999", "beat now"] {
        assert!(decode(format!("continuum 1\n{line}\n").as_bytes(), 64).is_err(), "{line}");
    }
    assert!(decode(&vec![b'x'; NOISE_CAP + 2], 1000).is_err());
}

#[test]
fn a_tail_is_twenty_lines_that_a_terminal_can_show() {
    let text: String = (1..=30).map(|n| format!("line {n}\n")).collect();
    let lines = tail_lines(text.as_bytes());
    assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (20, "line 11", "line 30"));
    assert_eq!(tail_lines(b"10%\r20%\r30%\r\n\x1b[31mred\xff"), ["30%", "[31mred\u{fffd}"]);
    assert_eq!(tail_lines(b""), Vec::<String>::new());
}

#[test]
fn output_behind_the_end_of_all_numbers_is_refused() {
    let answer = b"continuum 1\nout 18446744073709551615 5\nhello";
    let error = decode(answer, answer.len()).unwrap_err();
    assert!(error.starts_with("cannot understand \"out 1844"), "{error}");
}
