use std::fs;
use std::io::Write;

use super::super::http_double::{Answer, Server};
use super::super::store::hash_bytes;
use super::super::tests::Lab;
use super::*;

fn artifact(name: &str, url: &str, content: &[u8], member: Option<&str>) -> Artifact {
    let upstream =
        Upstream { url: url.into(), sha256: hash_bytes(content), member: member.map(str::to_owned) };
    let files = [("amd64".to_owned(), upstream)].into();
    Artifact { name: name.into(), version: "1".into(), image: None, digest: None, own: false, files }
}

fn recipe(name: &str, artifacts: Vec<Artifact>) -> RecipeFile {
    let text = format!(r#"{{"recipe": "{name}", "description": "x"}}"#);
    RecipeFile { artifacts, ..serde_json::from_str(&text).unwrap() }
}

fn tar_gz(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, content) in files {
        let mut head = tar::Header::new_gnu();
        head.set_size(content.len() as u64);
        head.set_mode(0o755);
        tar.append_data(&mut head, path, content.as_bytes()).unwrap();
    }
    let mut gz = tar.into_inner().unwrap();
    gz.flush().unwrap();
    gz.finish().unwrap()
}

fn online() -> How<'static> {
    How { from: None, images: &[], download: true, progress: &|_, _| {} }
}

#[test]
fn upstreams_files_are_fetched_once_and_members_taken_out_of_them() {
    let lab = Lab::new();
    let archive = tar_gz(&[("./bin/containerd", "daemon"), ("bin/ctr", "client")]);
    let served = archive.clone();
    let server = Server::start(move |asked, _| match asked.path.as_str() {
        "/containerd.tar.gz" => Answer::ok(&*served),
        "/kubelet" => Answer::ok("kubelet"),
        _ => Answer::status(404),
    });
    let url = |path: &str| format!("http://{}/{path}", server.host);
    let recipes = [
        recipe(
            "containerd",
            vec![
                artifact("containerd", &url("containerd.tar.gz"), &archive, Some("bin/containerd")),
                artifact("ctr", &url("containerd.tar.gz"), &archive, Some("bin/ctr")),
            ],
        ),
        recipe("kubernetes", vec![artifact("kubelet", &url("kubelet"), b"kubelet", None)]),
        recipe("again", vec![artifact("kubelet", &url("kubelet"), b"kubelet", None)]),
    ];
    let bundle = create(&lab.store, &recipes, "amd64", &lab.path("out"), &online()).unwrap();
    assert_eq!(server.log(), ["/containerd.tar.gz", "/kubelet"], "shared downloads are fetched once");
    for (artifact, content) in
        recipes[..2].iter().flat_map(|recipe| &recipe.artifacts).zip(["daemon", "client", "kubelet"])
    {
        let found = bundle.find(artifact, "amd64").unwrap();
        let got = (found.origin, fs::read_to_string(found.blob.path).unwrap());
        assert_eq!(got, (Origin::Upstream, content.to_owned()), "{}", artifact.name);
    }
    create(&lab.store, &recipes, "amd64", &lab.path("other"), &online()).unwrap();
    assert_eq!(server.log().len(), 2, "what the cache has is not fetched again");
}

#[test]
fn everything_that_cannot_be_had_is_named_at_once() {
    let lab = Lab::new();
    let archive = tar_gz(&[("bin/a", "a"), ("bin/b", "b")]);
    let served = archive.clone();
    let server = Server::start(move |asked, _| match asked.path.as_str() {
        "/x.tar.gz" => Answer::ok(&*served),
        _ => Answer::status(404),
    });
    let url = |path: &str| format!("http://{}/{path}", server.host);
    let arm = Artifact {
        files: [("arm64".into(), Upstream { url: "u".into(), sha256: "0".into(), member: None })].into(),
        ..artifact("arm", "", b"", None)
    };
    let none = Artifact { files: [].into(), ..artifact("nowhere", "", b"", None) };
    let artifacts = vec![
        artifact("gone", &url("gone"), b"", None),
        artifact("changed", &url("x.tar.gz"), b"as it was", None),
        artifact("member", &url("x.tar.gz"), &archive, Some("bin/c")),
        artifact("no-archive", &url("x.tar.gz"), &archive, Some("../x")),
        arm,
        none,
    ];
    let error =
        create(&lab.store, &[recipe("r", artifacts)], "amd64", &lab.path("out"), &online()).unwrap_err();
    let shown = error.to_string().replace(&server.host, "HOST");
    let right = format!(
        "6 artifacts cannot be put into the bundle:\
         \n  arm 1: its recipe names an address for arm64 only, not for amd64\
         \n  changed 1: http://HOST/x.tar.gz: has sha256 {}, not {}: upstream changed the file, or somebody else did\
         \n  gone 1: http://HOST/gone: the server answered 404\
         \n  member 1: http://HOST/x.tar.gz: has no file bin/c; it has bin/a, bin/b\
         \n  no-archive 1: http://HOST/x.tar.gz: has no file ../x; it has bin/a, bin/b\
         \n  nowhere 1: its recipe names no address to fetch it from",
        hash_bytes(&archive),
        hash_bytes(b"as it was")
    );
    assert_eq!(shown, right);
    assert!(!lab.path("out").exists());
}

#[test]
fn an_offline_build_serves_what_it_has_and_nothing_is_downloaded() {
    let lab = Lab::new();
    let build = lab.build();
    let tool = artifact("tool", "http://127.0.0.1:1/tool", b"upstream's", None);
    let how = How { from: Some(&build), images: &[], download: false, progress: &|_, _| {} };
    let bundle =
        create(&lab.store, &[recipe("r", vec![tool.clone()])], "amd64", &lab.path("out"), &how).unwrap();
    assert_eq!(bundle.find(&tool, "amd64").unwrap().origin, Origin::Built);
    assert_eq!(bundle.list().len(), 2, "what the build has beyond the recipes goes into the bundle too");

    let newer = Artifact { version: "2".into(), ..tool };
    let error = create(&lab.store, &[recipe("r", vec![newer])], "amd64", &lab.path("two"), &how).unwrap_err();
    let right = format!(
        "1 artifact cannot be put into the bundle:\
         \n  tool 2: {} does not have it, and downloads are switched off",
        build.display()
    );
    assert_eq!(error.to_string(), right);
}

#[test]
fn recipes_that_mean_different_things_by_one_name_are_refused() {
    let lab = Lab::new();
    let recipes = [
        recipe("one", vec![artifact("x", "http://a/x", b"1", None)]),
        recipe("two", vec![artifact("x", "http://a/x", b"2", None)]),
    ];
    let error = create(&lab.store, &recipes, "amd64", &lab.path("out"), &online()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 artifact cannot be put into the bundle:\n  x 1: recipes one and two mean different things by it"
    );
}

#[test]
fn an_image_that_no_recipe_names_can_be_asked_for() {
    let lab = Lab::new();
    let build = lab.build();
    let make = |image: &str| {
        let images = [image.to_owned()];
        let how = How { from: Some(&build), images: &images, download: false, progress: &|_, _| {} };
        create(&lab.store, &[], "amd64", &lab.path("out"), &how).map_err(|error| error.to_string())
    };
    assert!(make("registry.test/pause:1").is_ok());
    let lacks = make("registry.test/pause:2").unwrap_err();
    assert!(lacks.contains("\n  pause (registry.test/pause:2): "), "{lacks}");
    let wrong = make("a b").unwrap_err();
    assert!(wrong.contains("\n  a b: is no image reference: "), "{wrong}");
}

#[test]
fn a_name_that_ends_in_tar_zst_gives_one_file() {
    let lab = Lab::new();
    let bundle = lab.bundle("b.tar.zst");
    let file = lab.path("b.tar.zst");
    assert!(file.is_file());
    assert_eq!(Bundle::open(&file, &lab.store).unwrap(), bundle);
}
