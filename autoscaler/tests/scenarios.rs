//! The stories of `tests/scenarios/*.yaml`: each is played, and its timeline is compared with the text beside it.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test -p autoscaler --test scenarios`, then read the differences.

use std::fs;
use std::path::Path;

use autoscaler::sim::{Outcome, Story, run};

fn told(story: &Story, outcome: &Outcome) -> String {
    format!("{}\n\n{}\n\n{}\n", story.story, outcome.timeline.join("\n"), outcome.account)
}

#[test]
fn each_story_goes_as_it_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios").canonicalize().unwrap();
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    assert!(files.len() >= 30, "{} stories", files.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for path in files {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let story: Story = provisioner::yaml::from_str(&fs::read_to_string(&path).unwrap(), name)
                .unwrap_or_else(|problem| panic!("{name}: {problem}"));
            let outcome = run(&story).unwrap_or_else(|why| panic!("{name}: {why}"));
            insta::assert_snapshot!(name, told(&story, &outcome));
        }
    });
}
