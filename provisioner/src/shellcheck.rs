//! Lets shellcheck read rendered scripts, where it is installed.

use std::collections::BTreeMap;
use std::io;
use std::process::Command;

use serde::Deserialize;

use crate::recipe::{Problem, Texts};

/// What rendering makes of good code: names become constants, and not every script uses every helper.
const EXPECTED: &str = "SC2043,SC2050,SC2157,SC2194,SC2317";

#[derive(Deserialize)]
struct Comment {
    file: String,
    line: usize,
    code: u64,
    message: String,
}

#[derive(Deserialize)]
struct Output {
    comments: Vec<Comment>,
}

/// What shellcheck says of POSIX scripts; an error, for people, if it cannot be run.
pub fn read(scripts: &Texts) -> Result<Vec<Problem>, String> {
    run(scripts).map_err(|error| format!("shellcheck did not run: {error}"))
}

fn run(scripts: &Texts) -> io::Result<Vec<Problem>> {
    if scripts.is_empty() {
        return Ok(vec![]);
    }
    let folder = tempfile::tempdir()?;
    let names: BTreeMap<String, &String> =
        scripts.keys().enumerate().map(|(index, name)| (format!("{index}.sh"), name)).collect();
    for (file, name) in &names {
        std::fs::write(folder.path().join(file), &scripts[*name])?;
    }
    let output = Command::new("shellcheck")
        .args(["--shell=sh", "--format=json1", "--severity=style", "--exclude", EXPECTED, "--"])
        .args(names.keys())
        .current_dir(folder.path())
        .output()?;
    let output: Output = serde_json::from_slice(&output.stdout)
        .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))?;
    let problem = |comment: Comment| {
        let name = names.get(&comment.file).map_or("script", |name| name.as_str());
        let line = scripts.get(name).and_then(|text| text.lines().nth(comment.line.saturating_sub(1)));
        let message = format!("SC{}: {}: {}", comment.code, comment.message, line.unwrap_or_default().trim());
        Problem { file: format!("{name}, rendered"), line: Some(comment.line), column: None, message }
    };
    Ok(output.comments.into_iter().map(problem).collect())
}
