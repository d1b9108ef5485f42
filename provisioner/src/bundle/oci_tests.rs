use std::collections::BTreeMap;
use std::fs;

use super::*;

/// Path, kind, mode, link target and content of everything in a tar file.
fn listing(bytes: &[u8]) -> Vec<(String, char, u32, String, Vec<u8>)> {
    let mut tar = tar::Archive::new(bytes);
    let list = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let head = entry.header().clone();
        assert_eq!((head.mtime().unwrap(), head.uid().unwrap(), head.gid().unwrap()), (0, 0, 0));
        let kind = match head.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Symlink => 'l',
            _ => 'f',
        };
        let link = entry.link_name().unwrap().map_or_else(String::new, |name| name.display().to_string());
        let path = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, kind, head.mode().unwrap(), link, content)
    });
    list.collect()
}

fn small_image(folder: &Path) -> ImageSpec {
    fs::write(folder.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.join("program"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(folder.join("data"), vec![b'x'; 700]).unwrap();
    let files = BTreeMap::from([
        ("/usr/bin/program".to_owned(), Content::File(folder.join("program"))),
        ("/usr/bin/alias".to_owned(), Content::Link("program".into())),
        ("/etc/data".to_owned(), Content::File(folder.join("data"))),
    ]);
    ImageSpec {
        reference: "registry.test/a/b:v1".into(),
        arch: "amd64".into(),
        layers: vec![Layer::Files(files)],
        entrypoint: vec!["/usr/bin/program".into()],
        cmd: vec![],
    }
}

#[test]
fn an_archive_is_a_tree_of_documents_that_lead_to_each_other_by_digest() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Vec::new();
    let digest = build(&small_image(folder.path()), &mut archive).unwrap();

    let members: BTreeMap<String, Vec<u8>> =
        listing(&archive).into_iter().map(|(path, _, _, _, content)| (path, content)).collect();
    for (path, content) in &members {
        if let Some(sha256) = path.strip_prefix("blobs/sha256/") {
            assert_eq!(sha256, hash_bytes(content));
        }
    }
    let blob = |descriptor: &Value| {
        let sha256 = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let content = &members[&format!("blobs/sha256/{sha256}")];
        assert_eq!(descriptor["size"], content.len());
        content
    };
    let index: Value = serde_json::from_slice(&members["index.json"]).unwrap();
    let top = &index["manifests"][0];
    assert_eq!((top["digest"].as_str(), index["manifests"].as_array().unwrap().len()), (Some(&*digest), 1));
    assert_eq!(
        top["annotations"],
        json!({"io.containerd.image.name": "registry.test/a/b:v1", "org.opencontainers.image.ref.name": "v1"})
    );
    let manifest: Value = serde_json::from_slice(blob(top)).unwrap();
    let config: Value = serde_json::from_slice(blob(&manifest["config"])).unwrap();
    assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/program"]));
    assert_eq!(
        config["rootfs"]["diff_ids"],
        json!([manifest["layers"][0]["digest"]]),
        "layers are not compressed"
    );
    let layer = listing(blob(&manifest["layers"][0]));
    let empty = Vec::new;
    assert_eq!(
        layer,
        [
            ("etc".into(), 'd', 0o755, String::new(), empty()),
            ("etc/data".into(), 'f', 0o644, String::new(), vec![b'x'; 700]),
            ("usr".into(), 'd', 0o755, String::new(), empty()),
            ("usr/bin".into(), 'd', 0o755, String::new(), empty()),
            ("usr/bin/alias".into(), 'l', 0o777, "program".into(), empty()),
            ("usr/bin/program".into(), 'f', 0o755, String::new(), b"#!/bin/sh\n".to_vec()),
        ]
    );
    assert_eq!(members.len(), 5, "layout, index, layer, configuration, manifest");
}

#[test]
fn equal_files_give_equal_bytes_wherever_and_whenever_they_were_made() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    build(&small_image(one.path()), &mut first).unwrap();
    let image = small_image(two.path());
    let old = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options().write(true).open(two.path().join("data")).unwrap().set_modified(old).unwrap();
    build(&image, &mut second).unwrap();
    assert_eq!(first, second);
}

#[test]
fn a_file_that_changed_since_it_was_hashed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer");
    fs::write(&path, "now").unwrap();
    let member = Member { sha256: hash_bytes(b"old"), size: 3, source: Source::File(path) };
    let error = write_archive("a:b", descriptor("x", &member), vec![member], io::sink()).unwrap_err();
    assert!(error.to_string().ends_with(" changed while it was written"), "{error}");
}
