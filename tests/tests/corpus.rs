//! What fuzzing found, and one good input of each kind, kept in `tests/corpus/TARGET/`: every parser takes each of them
//! without a panic, a hang or a full memory. The targets themselves are in `fuzz/`.

use std::fs;
use std::time::Duration;

use continuum_tests::parsers::TARGETS;
use continuum_tests::root;
use provisioner::clock;

/// A parser of a few kilobytes needs a thousandth of it, also unoptimised on a busy computer.
const LONGEST: Duration = Duration::from_secs(10);

#[test]
fn every_parser_takes_its_corpus() {
    for (name, target) in TARGETS {
        let folder = root().join("tests/corpus").join(name);
        let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(inputs.len() >= 3, "{}: {} inputs", folder.display(), inputs.len());
        for input in inputs {
            let data = fs::read(&input).unwrap();
            let since = clock::monotonic();
            target(&data);
            // Every prefix too: what is cut short is what outside data mostly is.
            for end in (0..data.len()).step_by((data.len() / 40).max(1)) {
                target(&data[..end]);
            }
            assert!(since.elapsed() < LONGEST, "{} took {:?}", input.display(), since.elapsed());
        }
    }
}

#[test]
fn every_target_is_in_the_fuzz_folder() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let source = fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("parsers::{name}(data)")), "{name}: {source}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
