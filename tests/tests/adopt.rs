//! Two people, two computers, one cluster, on real machines. Needs root; says so and passes without.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use continuum_tests::Lab;
use continuum_tests::small::{changed, cluster_file, fine, ledgers, with_recipes, words};
use provisioner::keys::KeyPair;
use secrecy::ExposeSecret;
use serde_json::Value;

fn up(file: &str) -> Vec<String> {
    with_recipes("up", file)
}

/// A person's own key in a file, and its public half.
fn person(home: &Path, name: &str) -> (String, String) {
    use std::os::unix::fs::PermissionsExt;
    let key = KeyPair::generate(name).unwrap();
    let path = home.join(name);
    std::fs::write(&path, key.private().expose_secret()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    (path.display().to_string(), key.public().to_owned())
}

/// What ran on a machine, as the machine itself tells.
fn runs(lab: &Lab, home: &Path, cluster: &str, machine: &str) -> String {
    let ended = lab.run_elsewhere(home, &["cluster", "ssh", cluster, machine, "--", "cat /root/runs"]);
    fine(&ended);
    ended.out
}

#[test]
fn a_second_person_takes_the_cluster_over_and_the_first_takes_it_back() {
    let Some(lab) = Lab::open("adopt") else { return };
    let (ann, bob) = (lab.home().to_owned(), tempfile::tempdir().unwrap());
    let bob = bob.path();
    let (key, public) = person(bob, "bob");
    let file = cluster_file(&lab, "two", 2, &[&public]);
    fine(&lab.run_elsewhere(&ann, &words(&up(&file))));
    let before = ledgers(&lab, "two");

    // The second one's `up` adds nothing beside what is there.
    let ended = lab.run_elsewhere(bob, &words(&up(&file)));
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.err.contains("another cluster of this name is there"), "{ended}");
    // Without a key that the machines know, nothing is taken.
    let fresh = tempfile::tempdir().unwrap();
    let adopt = with_recipes("adopt", &file);
    let adopt = words(&adopt);
    let ended = lab.run_elsewhere(fresh.path(), &adopt);
    assert_eq!(ended.code, Some(4), "{ended}");
    assert!(ended.err.contains("--key FILE") && ended.err.contains("authentication refused"), "{ended}");
    assert_eq!(ledgers(&lab, "two"), before, "no machine changed hands");

    let with_key = [&adopt[..], &["--key", &key]].concat();
    fine(&lab.run_elsewhere(bob, &with_key));
    let after = ledgers(&lab, "two");
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    // Everything works from there, no step ran twice, and there is nothing to change.
    assert_eq!(runs(&lab, bob, "two", "two-front-end-1"), "common\nfront\n");
    assert_eq!(runs(&lab, bob, "two", "two-workers-3"), "common\njoin\nlast\n");
    assert!(!changed(&lab.run_elsewhere(bob, &words(&up(&file)))));
    let status = lab.run_elsewhere(bob, &["cluster", "status", "two", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&status.out).unwrap()["machines"].as_array().unwrap().len(), 3);

    // The first one's ledger is foreign now: it stops, adds nothing, and says so.
    let larger = cluster_file(&lab, "two", 3, &[&public]);
    let ended = lab.run_elsewhere(&ann, &words(&up(&larger)));
    assert_eq!(ended.code, Some(1), "{ended}");
    let said = format!("belong to ledger {}, not to this one", after[0]);
    assert!(ended.err.contains(&said) && ended.err.contains("continuum cluster adopt"), "{ended}");
    assert_eq!(lab.tagged("two").len(), 3);

    // A name that was there is not made again, and the new machine lets the first one in as well.
    assert!(changed(&lab.run_elsewhere(bob, &words(&up(&larger)))));
    assert_eq!(lab.tagged("two").last().unwrap(), "two-workers-4");

    // The first one takes it back with the key of that folder, as far as the machines know it.
    let ended = lab.run_elsewhere(&ann, &adopt);
    assert_eq!(ended.code, Some(4), "the newest machine was made by the other computer alone: {ended}");
    let ended = lab.run_elsewhere(&ann, &with_key);
    fine(&ended);
    assert!(!changed(&lab.run_elsewhere(&ann, &words(&up(&larger)))));
    assert_eq!(runs(&lab, &ann, "two", "two-workers-4"), "common\njoin\nlast\n");
    let ended = lab.run_elsewhere(bob, &words(&up(&larger)));
    assert!(ended.code == Some(1) && ended.err.contains("continuum cluster adopt"), "{ended}");

    // Whoever takes it down takes all of it down.
    let ended = lab.run_elsewhere(bob, &["cluster", "down", "two", "--yes"]);
    fine(&ended);
    assert!(ended.err.contains("0 resources left (checked by tag)"), "{ended}");
    assert_eq!(lab.tagged("two"), [""; 0]);
    lab.close();
}
