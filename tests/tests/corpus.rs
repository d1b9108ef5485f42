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

/// Chance with a fixed seed: the same inputs on every computer.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or(0)
    }

    /// Changes a text in one to four places: another byte, a piece less, a piece twice, a word that parsers fear.
    fn spoil(&mut self, mut data: Vec<u8>) -> Vec<u8> {
        const WORDS: [&str; 10] =
            ["99999999999999999999", "-1", "{{", "&a", "*a", "\0", "\u{202e}", "[[[[[[[[", ": ", "null"];
        for _ in 0..=self.below(4) {
            let (at, length) = (self.below(data.len()), self.below(16));
            let end = (at + length).min(data.len());
            match self.below(4) {
                0 if !data.is_empty() => data[at] = u8::try_from(self.below(256)).unwrap_or(0),
                1 => drop(data.drain(at..end)),
                2 => {
                    let piece = data[at..end].to_vec();
                    data.splice(at..at, piece);
                }
                _ => drop(data.splice(at..at, WORDS[self.below(WORDS.len())].bytes())),
            }
        }
        data
    }
}

#[test]
fn every_parser_takes_what_chance_makes_of_its_corpus() {
    for (name, target) in TARGETS {
        let folder = root().join("tests/corpus").join(name);
        let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        for (seed, input) in (1..).zip(inputs) {
            let data = fs::read(&input).unwrap();
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
            for _ in 0..200 {
                let spoiled = dice.spoil(data.clone());
                if std::panic::catch_unwind(|| target(&spoiled)).is_err() {
                    panic!("{name} of {}: {:?}", input.display(), String::from_utf8_lossy(&spoiled));
                }
            }
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
