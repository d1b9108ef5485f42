//! A bundle made of a small offline build, opened, found in, and damaged.

use std::os::unix::fs::symlink;

use super::create::{How, create};
use super::*;

/// A build with one program and one image, and the bundle of it.
pub(super) struct Lab {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Store,
}

impl Lab {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("cache")).unwrap();
        Self { dir, store }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn build(&self) -> PathBuf {
        let build = self.path("build");
        fs::create_dir_all(build.join("bin")).unwrap();
        fs::create_dir_all(build.join("images")).unwrap();
        fs::write(build.join("bin/tool"), "tool").unwrap();
        let image = oci::ImageSpec {
            reference: "registry.test/pause:1".into(),
            arch: "amd64".into(),
            layers: vec![oci::Layer::Files(
                [("/t".to_owned(), oci::Content::File(build.join("bin/tool")))].into(),
            )],
            entrypoint: vec!["/t".into()],
            cmd: vec![],
        };
        oci::build(&image, File::create(build.join("images/pause.tar")).unwrap()).unwrap();
        let list = r#"{"name":"tool","version":"1","arch":"amd64","path":"bin/tool","source":"example.com/tool@v1","licence":"MIT"}
{"name":"pause","version":"1","arch":"amd64","path":"images/pause.tar","image":"registry.test/pause:1","source":"pause.c"}
"#;
        fs::write(build.join(built::LIST), list).unwrap();
        build
    }

    pub(super) fn bundle(&self, out: &str) -> Bundle {
        let build = self.build();
        let how = How { from: Some(&build), images: &[], download: false, progress: &|_, _| {} };
        create(&self.store, &[], "amd64", &self.path(out), &how).unwrap()
    }
}

fn wants(name: &str, version: &str, image: Option<&str>) -> Artifact {
    let (name, version) = (name.into(), version.into());
    Artifact { name, version, image: image.map(str::to_owned), digest: None, own: false, files: [].into() }
}

#[test]
fn what_a_build_made_is_found_by_name_and_marked_as_built() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    assert_eq!(Bundle::open(&lab.path("bundle"), &lab.store).unwrap(), bundle);
    let tool = bundle.find(&wants("tool", "1", None), "amd64").unwrap();
    assert_eq!((tool.origin, fs::read(&tool.blob.path).unwrap()), (Origin::Built, b"tool".to_vec()));
    assert_eq!(
        store::hash(File::open(&tool.blob.path).unwrap()).unwrap(),
        (tool.blob.sha256, tool.blob.size)
    );
    assert!(bundle.find(&wants("any-name", "any", Some("registry.test/pause:1")), "amd64").is_some());
    assert_eq!(bundle.find(&wants("tool", "2", None), "amd64"), None);
    assert_eq!(bundle.verify(), []);
    assert_eq!(bundle.list().len(), 2);
}

#[test]
fn all_that_recipes_want_and_a_bundle_lacks_is_named_at_once() {
    let bundle = Lab::new().bundle("bundle");
    let wanted = [
        wants("tool", "1", None),
        wants("tool", "2", None),
        wants("gone", "1", None),
        wants("pause", "1", Some("registry.test/pause:2")),
    ];
    let (found, missing) = bundle.resolve(&wanted, "amd64");
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["tool"]);
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        missing,
        [
            "tool 2: the recipe wants version 2, the bundle has 1",
            "gone 1: the bundle does not have it",
            "pause (registry.test/pause:2): the bundle does not have it",
        ]
    );
}

#[test]
fn a_bundle_shares_its_content_with_the_store() {
    use std::os::unix::fs::MetadataExt;
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    for entry in bundle.list() {
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&bundle.blob(entry).path), inode(&lab.store.path(&entry.sha256)));
    }
}

#[test]
fn making_the_same_bundle_again_changes_nothing() {
    use std::os::unix::fs::MetadataExt;
    let lab = Lab::new();
    let inode = || fs::metadata(lab.path("bundle")).unwrap().ino();
    let first = (lab.bundle("bundle"), inode());
    assert_eq!((lab.bundle("bundle"), inode()), first);
    // One that was damaged is made anew, also in the store.
    let blob = first.0.blob(&first.0.list()[0]).path;
    fs::remove_file(&blob).unwrap();
    assert_eq!(lab.bundle("bundle").verify(), []);
}

#[test]
fn every_damaged_file_is_named_at_once() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    let [pause, tool] = bundle.list() else { panic!("two entries") };
    let rewrite = |entry: &Entry, content: &[u8]| {
        let path = bundle.blob(entry).path;
        fs::remove_file(&path).unwrap();
        fs::write(path, content).unwrap();
    };
    rewrite(tool, b"loot");
    let found: Vec<String> = bundle.verify().iter().map(ToString::to_string).collect();
    let loot = store::hash_bytes(b"loot");
    assert_eq!(found, [format!("blobs/sha256/{} (tool): its content has sha256 {loot}", tool.sha256)]);

    rewrite(tool, b"tools");
    fs::remove_file(bundle.blob(pause).path).unwrap();
    symlink("/etc/passwd", bundle.blob(pause).path).unwrap();
    let error = Bundle::open(&lab.path("bundle"), &lab.store).unwrap_err().to_string();
    let right = format!(
        "{}: 2 files are damaged (make or copy the bundle again):\
         \n  blobs/sha256/{} (pause): is not a regular file\
         \n  blobs/sha256/{} (tool): has 5 bytes of 4",
        lab.path("bundle").display(),
        pause.sha256,
        tool.sha256
    );
    assert_eq!(error, right);
}

#[test]
fn a_manifest_that_is_not_ours_says_what_to_do() {
    let lab = Lab::new();
    let at = lab.path("b");
    fs::create_dir(&at).unwrap();
    let name = at.join("manifest.json").display().to_string();
    let open = || Bundle::open(&at, &lab.store).unwrap_err().to_string();
    assert_eq!(
        open(),
        format!(
            "{} is no bundle: it has no manifest.json (make one with `continuum bundle create`)",
            at.display()
        )
    );
    let cases = [
        (
            r#"{"version": 7, "more": 1}"#,
            "manifest version 7, this continuum reads version 1: make the bundle again",
        ),
        (r#"{"version": 1, "created_by": "x"}"#, "missing field `entries` at line 1 column 33"),
        ("{", "EOF while parsing an object at line 1 column 1"),
    ];
    for (text, why) in cases {
        fs::write(at.join("manifest.json"), text).unwrap();
        assert_eq!(open(), format!("{name}: {why}"));
    }
}

#[test]
fn the_scripts_of_the_offline_build_pass_shellcheck() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/lab/kubernetes");
    let scripts = ["build.sh", "bundle", "rootfs-hook.sh"].map(|name| folder.join(name));
    match std::process::Command::new("shellcheck").args(&scripts).output() {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout)),
        Err(error) => println!("skipped: shellcheck cannot be run: {error}"),
    }
}
