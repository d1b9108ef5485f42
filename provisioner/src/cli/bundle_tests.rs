use std::fs;
use std::path::Path;

use super::*;

fn build_image_args(dir: &Path) -> BuildImageArgs {
    fs::write(dir.join("tool"), "tool").unwrap();
    BuildImageArgs {
        out: dir.join("image.tar"),
        name: "registry.test/tool:1".into(),
        arch: "amd64".into(),
        base: vec![],
        entrypoint: vec!["/bin/tool".into()],
        cmd: vec![],
        link: vec!["/bin/alias=tool".into()],
        files: vec![format!("{}=/bin/tool", dir.join("tool").display())],
    }
}

/// A folder with an offline build of one program and one image.
fn build(dir: &Path) {
    build_image(&build_image_args(dir), &mut Vec::new()).unwrap();
    let list = r#"{"name":"tool","version":"1","arch":"amd64","path":"tool","source":"example.com/tool@v1"}
{"name":"tool-image","version":"1","arch":"amd64","path":"image.tar","image":"registry.test/tool:1","source":"x"}
"#;
    fs::write(dir.join("artifacts.jsonl"), list).unwrap();
}

fn text(run: impl FnOnce(&mut Vec<u8>) -> anyhow::Result<()>, dir: &Path) -> String {
    let mut out = Vec::new();
    run(&mut out).unwrap();
    String::from_utf8(out).unwrap().replace(&dir.display().to_string(), "DIR")
}

#[test]
fn create_list_and_verify_say_what_there_is_and_what_to_do_next() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    build(dir);
    let store = Store::open(&dir.join("cache")).unwrap();
    let args = CreateArgs {
        out: dir.join("bundle"),
        recipes: None,
        from: Some(dir.to_owned()),
        offline: true,
        images: vec!["registry.test/tool:1".into()],
        arch: "amd64".into(),
    };
    insta::assert_snapshot!(text(|out| create_bundle(&args, Output::Text, &store, &[], out), dir), @r"
    DIR/bundle: 2 artifacts, 0.0 MB
    next: continuum bundle verify DIR/bundle
    ");
    let bundle = Bundle::open(&args.out, &store).unwrap();
    insta::assert_snapshot!(text(|out| show(&bundle, Output::Text, out), dir), @r"
    NAME        VERSION  ARCH   KIND   ORIGIN  SIZE    SHA256
    tool        1        amd64  file   built   0.0 MB  7c9bbe5ec9b3
    tool-image  1        amd64  image  built   0.0 MB  1a394f7368cd
    ");
    insta::assert_snapshot!(text(|out| show(&bundle, Output::Json, out), dir), @r#"
    {
      "version": 1,
      "created_by": "continuum 0.1.0",
      "entries": [
        {
          "name": "tool",
          "version": "1",
          "arch": "amd64",
          "kind": "file",
          "sha256": "7c9bbe5ec9b3fb774e8fa0f54247e93c34ddf8e5d16fe3073420de0ae81a262d",
          "size": 4,
          "origin": "built",
          "source": "example.com/tool@v1"
        },
        {
          "name": "tool-image",
          "version": "1",
          "arch": "amd64",
          "kind": "image",
          "sha256": "1a394f7368cd10c8a2ca115119acfe6eda6b2ba3d2affb6c0ecd86fe5b957847",
          "size": 8704,
          "origin": "built",
          "source": "x",
          "image": {
            "reference": "registry.test/tool:1",
            "digest": "sha256:9b673d122a2a12abc7a59c31c5345e417bd7b0650fafa57f5637a21d052c5ba7"
          }
        }
      ]
    }
    "#);
    insta::assert_snapshot!(text(|out| verify(&bundle, Output::Text, out), dir), @"DIR/bundle: 2 artifacts, every hash is right");
    insta::assert_snapshot!(text(|out| verify(&bundle, Output::Json, out), dir), @r#"{"entries":2,"faults":[]}"#);
}

#[test]
fn an_image_of_nothing_and_half_an_argument_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let args = || build_image_args(dir.path());
    let cases = [
        (BuildImageArgs { files: vec![], link: vec![], ..args() }, "an image needs a --base or a FILE=PATH"),
        (BuildImageArgs { files: vec!["tool".into()], ..args() }, "\"tool\" is not FILE=PATH"),
        (BuildImageArgs { link: vec!["/a".into()], ..args() }, "\"/a\" is not PATH=TARGET"),
        (
            BuildImageArgs { files: vec!["/nowhere=/x".into()], ..args() },
            "cannot make the image registry.test/tool:1: /nowhere: No such file or directory (os error 2)",
        ),
    ];
    for (args, why) in cases {
        let error = build_image(&args, &mut Vec::new()).unwrap_err();
        assert_eq!(format!("{error:#}"), why);
        assert!(!args.out.exists());
    }
}

#[test]
fn only_create_reads_recipes_of_ones_own() {
    let given = |words: &[&str]| {
        let words = ["continuum", "bundle"].iter().chain(words).copied();
        let matches = crate::cli::command().try_get_matches_from(words).unwrap();
        let bundle = matches.subcommand_matches("bundle").unwrap();
        let command = <BundleCommand as clap::FromArgMatches>::from_arg_matches(bundle).unwrap();
        command.recipes().map(Path::to_owned)
    };
    assert_eq!(given(&["create", "b", "--recipes", "mine"]), Some("mine".into()));
    assert_eq!(given(&["create", "b"]), None);
    assert_eq!(given(&["list", "b"]), None);
}
