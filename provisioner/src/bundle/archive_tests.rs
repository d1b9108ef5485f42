use super::super::tests::Lab;
use super::*;
use crate::bundle::Entry;

/// A `.tar.zst` of the given entries: path, kind, content.
fn archive(path: &Path, entries: &[(&str, tar::EntryType, &[u8])]) {
    let out = zstd::stream::write::Encoder::new(File::create(path).unwrap(), 1).unwrap();
    let mut tar = tar::Builder::new(out.auto_finish());
    for (name, kind, content) in entries {
        let mut head = header(0o644, content.len() as u64);
        head.set_entry_type(*kind);
        // Written as they are: the crate's own checks would refuse what an attacker does not.
        head.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        if *kind == tar::EntryType::Symlink {
            head.set_link_name("/etc").unwrap();
            head.set_size(0);
        }
        head.set_cksum();
        let content = if *kind == tar::EntryType::Symlink { &b""[..] } else { content };
        tar.append(&head, content).unwrap();
    }
    tar.into_inner().unwrap();
}

fn packed(lab: &Lab) -> (Bundle, PathBuf) {
    let bundle = lab.bundle("bundle");
    let file = lab.path("bundle.tar.zst");
    pack(&bundle, &file).unwrap();
    (bundle, file)
}

#[test]
fn a_packed_bundle_is_the_same_bundle_on_another_computer() {
    let lab = Lab::new();
    let (bundle, file) = packed(&lab);
    let other = Store::open(&lab.path("other-cache")).unwrap();
    let opened = Bundle::open(&file, &other).unwrap();
    assert_eq!(opened.manifest, bundle.manifest);
    assert_eq!(opened.verify(), []);
    assert!(opened.path.starts_with(lab.path("other-cache/bundles")));
    assert_eq!(Bundle::open(&file, &other).unwrap(), opened, "the second time nothing is unpacked");
    let again = lab.path("again.tar.zst");
    pack(&opened, &again).unwrap();
    assert_eq!(fs::read(&file).unwrap(), fs::read(&again).unwrap(), "equal bundles give equal files");
}

#[test]
fn a_file_that_was_cut_short_says_so() {
    let lab = Lab::new();
    let (_, file) = packed(&lab);
    let whole = fs::read(&file).unwrap();
    for keep in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..keep]).unwrap();
        let other = Store::open(&lab.path(&format!("cache-{keep}"))).unwrap();
        let error = Bundle::open(&file, &other).unwrap_err();
        let right = matches!(error, BundleError::CutShort { .. } | BundleError::NoBundle { .. });
        assert!(right, "{keep}: {error:?}");
        assert!(!lab.path(&format!("cache-{keep}/bundles")).exists(), "there is never half a bundle");
    }
}

#[test]
fn whatever_the_manifest_does_not_name_is_refused_and_nothing_is_written() {
    use tar::EntryType::{Regular, Symlink};
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    let text = bundle.manifest.to_json();
    let tool: &Entry = bundle.list().iter().find(|entry| entry.name == "tool").unwrap();
    let blob = blob_path(&tool.sha256);
    let cases: [(&str, tar::EntryType, &[u8], String); 6] = [
        ("../../etc/cron.d/x", Regular, b"x", "is not in the manifest, or there twice".into()),
        ("/etc/passwd", Regular, b"x", "is not in the manifest, or there twice".into()),
        ("manifest.json", Regular, b"x", "is not in the manifest, or there twice".into()),
        (&blob, Symlink, b"", "is not a regular file".into()),
        (&blob, Regular, b"too long", "has 8 bytes, the manifest says 4".into()),
        (&blob, Regular, b"loot", format!("has content with sha256 {}", hash_bytes(b"loot"))),
    ];
    for (number, (name, kind, content, why)) in cases.iter().enumerate() {
        let file = lab.path("evil.tar.zst");
        archive(&file, &[("manifest.json", Regular, text.as_bytes()), (name, *kind, content)]);
        let cache = lab.path(&format!("cache-{number}"));
        let error = Bundle::open(&file, &Store::open(&cache).unwrap()).unwrap_err().to_string();
        let right = format!(
            "{}: entry {name:?} {why}: not unpacked, get the archive from where it was made",
            file.display()
        );
        assert_eq!(error, right);
        for folder in ["blobs/sha256", "blobs/tmp"] {
            assert_eq!(fs::read_dir(cache.join(folder)).unwrap().count(), 0, "{name}");
        }
    }
}

#[test]
fn an_archive_that_lacks_content_names_all_that_is_missing() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    let file = lab.path("thin.tar.zst");
    archive(&file, &[("manifest.json", tar::EntryType::Regular, bundle.manifest.to_json().as_bytes())]);
    let other = Store::open(&lab.path("other-cache")).unwrap();
    match Bundle::open(&file, &other).unwrap_err() {
        BundleError::Damaged { faults, .. } => assert_eq!(faults.len(), 2, "{faults:?}"),
        error => panic!("{error:?}"),
    }
    archive(&file, &[("blobs/x", tar::EntryType::Regular, b"x")]);
    assert!(matches!(Bundle::open(&file, &other), Err(BundleError::NoBundle { .. })));
}

#[test]
fn what_is_no_bundle_is_not_written_over() {
    let lab = Lab::new();
    fs::create_dir(lab.path("mine")).unwrap();
    fs::write(lab.path("mine/thesis.txt"), "years").unwrap();
    let bundle = lab.bundle("bundle");
    let error = assemble(&bundle.manifest, &lab.store, &lab.path("mine")).unwrap_err();
    assert!(error.to_string().starts_with("cannot write the bundle to "), "{error}");
    assert_eq!(fs::read_to_string(lab.path("mine/thesis.txt")).unwrap(), "years");
}
