//! `operators:` of a cluster file.

use crate::cluster_file::operators;
use crate::yaml;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHmtiD8Pq+FvbHHB/G3o7d3W4/BhoP0XGY6N6ZECuas bob";

fn read(text: &str) -> (Vec<String>, Vec<String>) {
    let root = yaml::parse(text, "c.yaml").unwrap();
    let mut problems = Vec::new();
    let keys = operators::read(root.get("operators").unwrap(), &mut problems);
    (keys, problems.into_iter().map(|problem| problem.message).collect())
}

#[test]
fn each_key_is_kept_once() {
    let (keys, problems) = read(&format!("operators: [\"{KEY}\", \" {KEY} \"]"));
    assert_eq!((keys, problems.len()), (vec![KEY.to_owned()], 0));
    assert_eq!(read("operators: []"), (Vec::new(), Vec::new()));
}

#[test]
fn what_is_no_public_key_is_refused_and_never_shown() {
    let private = "-----BEGIN OPENSSH PRIVATE KEY----- b3Blbn";
    let (keys, problems) = read(&format!("operators: [\"{private}\", 7, \"{KEY}\"]"));
    assert_eq!(keys, [KEY]);
    assert_eq!(problems, ["operators: this is no public key"; 2]);
}
