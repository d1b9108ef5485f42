use super::*;
use crate::recipe::model::Upstream;

fn file(name: &str, version: &str, origin: Origin) -> Entry {
    let download = Download { sha256: "d".repeat(64), member: Some("bin/x".into()) };
    Entry {
        name: name.into(),
        version: version.into(),
        arch: "amd64".into(),
        kind: Kind::File,
        sha256: "a".repeat(64),
        size: 3,
        origin,
        source: "https://up/x".into(),
        licence: None,
        image: None,
        download: (origin == Origin::Upstream).then_some(download),
    }
}

fn image(reference: &str, origin: Origin) -> Entry {
    let image = Image {
        reference: reference.into(),
        digest: format!("sha256:{}", "1".repeat(64)),
        index_digest: Some(format!("sha256:{}", "2".repeat(64))),
    };
    Entry { kind: Kind::Image, image: Some(image), download: None, ..file("pause", "3.10.2", origin) }
}

fn wants_file(version: &str, sha256: &str, member: Option<&str>) -> Artifact {
    let upstream =
        Upstream { url: "https://up/x".into(), sha256: sha256.repeat(64), member: member.map(str::to_owned) };
    let files = [("amd64".to_owned(), upstream)].into();
    Artifact { name: "x".into(), version: version.into(), image: None, digest: None, own: false, files }
}

fn wants_image(reference: &str, digest: Option<&str>) -> Artifact {
    Artifact {
        name: "pause".into(),
        version: "3.10.2".into(),
        image: Some(reference.into()),
        own: false,
        digest: digest.map(|digit| format!("sha256:{}", digit.repeat(64))),
        files: [].into(),
    }
}

#[test]
fn a_recipes_hash_binds_what_upstream_made_and_not_what_was_built() {
    use Origin::{Built, Upstream};
    let cases = [
        (file("x", "1", Upstream), wants_file("1", "d", Some("bin/x")), true),
        (file("x", "1", Upstream), wants_file("1", "e", Some("bin/x")), false),
        (file("x", "1", Upstream), wants_file("1", "d", Some("bin/y")), false),
        (file("x", "1", Built), wants_file("1", "e", Some("bin/x")), true),
        (file("x", "2", Built), wants_file("1", "e", Some("bin/x")), false),
        (file("y", "1", Built), wants_file("1", "e", Some("bin/x")), false),
        (image("r/pause:3", Upstream), wants_image("r/pause:3", None), true),
        (image("r/pause:3", Upstream), wants_image("r/pause:3", Some("1")), true),
        (image("r/pause:3", Upstream), wants_image("r/pause:3", Some("2")), true),
        (image("r/pause:3", Upstream), wants_image("r/pause:3", Some("3")), false),
        (image("r/pause:3", Built), wants_image("r/pause:3", Some("3")), true),
        (image("r/pause:4", Built), wants_image("r/pause:3", None), false),
        (file("pause", "3.10.2", Built), wants_image("r/pause:3", None), false),
    ];
    for (entry, artifact, right) in cases {
        assert_eq!(entry.serves(&artifact, "amd64"), right, "{entry:?}\n{artifact:?}");
        assert!(!entry.serves(&artifact, "arm64"), "another architecture is another artifact");
    }
}

#[test]
fn what_is_missing_is_explained_by_the_nearest_entry() {
    let manifest =
        Manifest::of(vec![file("x", "1", Origin::Upstream), image("r/pause:3", Origin::Upstream)]).unwrap();
    let d = "d".repeat(64);
    let e = "e".repeat(64);
    let cases = [
        (wants_file("2", "d", None), "amd64", "the recipe wants version 2, the bundle has 1".into()),
        (wants_file("1", "d", None), "arm64", "the bundle has it for amd64 only, not for arm64".into()),
        (wants_file("1", "e", None), "amd64", format!("the recipe pins sha256 {e}, the bundle has {d}")),
        (wants_image("r/other:1", None), "amd64", "the bundle does not have it".into()),
        (
            wants_image("r/pause:3", Some("9")),
            "amd64",
            format!("the recipe pins sha256:{}, the bundle has sha256:{}", "9".repeat(64), "1".repeat(64)),
        ),
    ];
    for (artifact, arch, why) in cases {
        assert_eq!((manifest.find(&artifact, arch), manifest.why_missing(&artifact, arch)), (None, why));
    }
}

#[test]
fn a_manifest_that_cannot_be_relied_on_is_refused() {
    let entry = || file("x", "1", Origin::Built);
    let cases = [
        (
            vec![Entry { sha256: "../../etc/passwd".into(), ..entry() }],
            "entry x (amd64): its sha256 is not 64 characters of 0-9 and a-f",
        ),
        (
            vec![Entry { size: BLOB_MAX + 1, ..entry() }],
            "entry x (amd64): its size is 17179869185 bytes, at most 17179869184 are taken",
        ),
        (
            vec![Entry { kind: Kind::Image, ..entry() }],
            "entry x (amd64): an entry of kind image has `image`, one of kind file has not",
        ),
        (vec![entry(), Entry { size: 9, ..entry() }], "entry x (amd64): is there twice"),
    ];
    for (entries, why) in cases {
        assert_eq!(Manifest::of(entries), Err(why.to_owned()));
    }
}

#[test]
fn the_text_of_a_manifest_depends_on_nothing_but_its_entries() {
    let one = Manifest::of(vec![file("b", "1", Origin::Built), file("a", "1", Origin::Upstream)]).unwrap();
    let two = Manifest::of(vec![file("a", "1", Origin::Upstream), file("b", "1", Origin::Built)]).unwrap();
    assert_eq!(one.to_json(), two.to_json());
    assert_eq!(serde_json::from_str::<Manifest>(&one.to_json()).unwrap(), one);
}
