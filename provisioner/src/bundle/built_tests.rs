use super::super::tests::Lab;
use super::*;

#[test]
fn every_wrong_line_of_a_build_is_named_at_once() {
    let lab = Lab::new();
    let build = lab.build();
    let line = |name: &str, path: &str, more: &str| {
        format!(r#"{{"name":"{name}","version":"1","arch":"amd64","path":"{path}","source":"s"{more}}}"#)
    };
    let list = [
        line("out", "../secret", ""),
        line("abs", "/etc/passwd", ""),
        line("gone", "bin/gone", ""),
        line("fake", "bin/tool", r#","image":"a:b""#),
        line("other", "images/pause.tar", r#","image":"a:b""#),
        "{".into(),
    ];
    fs::write(build.join(LIST), list.join("\n")).unwrap();
    let Err(BundleError::Missing { faults }) = take(&build, &lab.store) else { panic!("taken") };
    let shown: Vec<String> = faults
        .iter()
        .map(|fault| fault.to_string().replace(&lab.dir.path().display().to_string(), "LAB"))
        .collect();
    assert_eq!(
        shown,
        [
            "out (../secret): its path leaves the build's folder",
            "abs (/etc/passwd): its path leaves the build's folder",
            "gone (bin/gone): cannot read LAB/build/bin/gone: No such file or directory (os error 2)",
            "fake (bin/tool): is no OCI archive: failed to read entire block",
            "other (images/pause.tar): has no image a:b",
            "LAB/build/artifacts.jsonl:6: EOF while parsing an object at line 1 column 1",
        ]
    );
}

#[test]
fn the_digest_of_a_built_image_is_that_of_its_manifest() {
    let lab = Lab::new();
    let entries = take(&lab.build(), &lab.store).unwrap();
    let image = entries.iter().find_map(|entry| entry.image.clone()).unwrap();
    assert_eq!(image.reference, "registry.test/pause:1");
    // The same image made again has the same digest.
    assert_eq!(take(&lab.build(), &lab.store).unwrap().last().unwrap().image, Some(image));
}
