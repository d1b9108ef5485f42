//! Recipes as a whole: what is refused with which words, and what the shipped ones become.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::names::RecipeName;
use crate::spec::Spec;

fn name(text: &str) -> RecipeName {
    RecipeName::new(text).unwrap()
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn recipe(folder: &str, yaml: &str, others: &[(&str, &str)]) -> Result<Recipe, Vec<Problem>> {
    let mut texts: BTreeMap<String, String> =
        others.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
    texts.insert("recipe.yaml".into(), yaml.into());
    Recipe::parse(folder, texts)
}

#[test]
fn every_problem_of_a_recipe_is_said_at_once_with_its_line() {
    let yaml = r#"
recipe: demo
description: d
inputs:
  size: {type: integer, default: many, description: d}
artifacts:
  - {name: tool, version: "1"}
  - name: other
    version: "1"
    files: {amd64: {url: "http://example.org/x", sha256: beef}}
steps:
  - name: one
    check: chekc.sh
    run: echo
    artifacts: [toool]
    files: [gone.j2]
    timeout: soon
  - {name: one, check: "true", run: "true", on: [worker], facts: [key, "Bad/x"]}
  - {name: Two, check: "true", run: "true", stage: image, facts: [token]}
facts:
  - {name: token, run: "echo x", after: three}
"#;
    let problems = recipe("recipes/example", yaml, &[]).unwrap_err();
    insta::assert_snapshot!(shown(&problems), @r#"
    recipes/example/recipe.yaml:2: recipe "demo" stands in a folder named "example": the names must agree
    recipes/example/recipe.yaml:5: input "size": the default must be a whole number
    recipes/example/recipe.yaml:7: artifact "tool" must have either `image`, `files` or `own: true`
    recipes/example/recipe.yaml:8: artifact "other", amd64: the url must begin with https://
    recipes/example/recipe.yaml:10: artifact "other", amd64: sha256 must be 64 of 0-9 and a-f
    recipes/example/recipe.yaml:13: step "one": no file "chekc.sh" in recipes/example
    recipes/example/recipe.yaml:15: step "one": artifact "toool" is not declared under `artifacts`
    recipes/example/recipe.yaml:16: step "one": no file "gone.j2" in recipes/example
    recipes/example/recipe.yaml:17: step "one": "soon" is no duration (expected number at 0): write "90s", "10m" or "2h 30m"
    recipes/example/recipe.yaml:18: step "one" is there twice
    recipes/example/recipe.yaml:18: step "one": fact "Bad/x" has 'B': a recipe name has only a-z, 0-9 and -
    recipes/example/recipe.yaml:18: step "one": fact "key" is not declared under `facts`
    recipes/example/recipe.yaml:19: step "Two": a step of stage image can use no facts
    recipes/example/recipe.yaml:19: step name "Two" has 'T': a step name has only a-z, 0-9 and -
    recipes/example/recipe.yaml:21: fact "token": `after` names no step of this recipe: "three"
    "#);
}

#[test]
fn a_broken_file_is_one_problem_with_its_line() {
    let problems = recipe("recipes/demo", "recipe: demo\ndescription: d\nstpes: []\n", &[]).unwrap_err();
    insta::assert_snapshot!(shown(&problems), @r#"recipes/demo/recipe.yaml:3: unknown key "stpes", expected recipe, description, needs, inputs, artifacts, steps, facts, hooks, reservations or least (did you mean "steps"?)"#);
    insta::assert_snapshot!(shown(&Recipe::parse("recipes/x", BTreeMap::new()).unwrap_err()), @r#"recipes/x: has no recipe.yaml"#);
}

#[test]
fn facts_of_other_recipes_must_be_there_and_needed() {
    let one = recipe("recipes/one", "recipe: one\ndescription: d\n", &[]).unwrap();
    let yaml = "recipe: two\ndescription: d\nneeds: [one]\nsteps:\n  \
                - {name: a, check: x, run: x, facts: [one/key, three/key]}\n";
    let two = recipe("recipes/two", yaml, &[]).unwrap();
    insta::assert_snapshot!(shown(&Cookbook::new([one, two]).unwrap_err()), @r#"
    recipes/two/recipe.yaml:5: fact "one/key": recipe "one" has no such fact
    recipes/two/recipe.yaml:5: fact "three/key": this recipe does not need "three" (add it to `needs`)
    "#);
}

/// A cookbook of one recipe, and a spec that uses it.
fn demo(yaml: &str, others: &[(&str, &str)]) -> (Cookbook, Spec) {
    let book = Cookbook::new([recipe("recipes/demo", yaml, others).unwrap()]).unwrap();
    let spec = samples::spec(&[name("demo")], &book).unwrap();
    (book, spec)
}

#[test]
fn what_is_asked_of_recipes_is_checked_all_at_once() {
    let yaml = r#"
recipe: demo
description: d
inputs:
  range: {type: cidr, description: Addresses}
  size: {type: integer, default: 1, description: d}
steps:
  - {name: a, check: x, run: x, artifacts: [tool, box]}
artifacts:
  - {name: tool, version: "1.2", files: {amd64: {url: "https://example.org/x", sha256: "0000000000000000000000000000000000000000000000000000000000000000"}}}
  - {name: box, version: "3", image: "example.org/box:3"}
  - name: unused
    version: "3"
    image: "example.org/unused:3"
"#;
    let (book, mut spec) = demo(yaml, &[]);
    spec.inputs = BTreeMap::from([
        (name("demo"), BTreeMap::from([("size".to_owned(), json!("x")), ("sice".to_owned(), json!(2))])),
        (name("gone"), BTreeMap::new()),
    ]);
    let blobs = Blobs { arch: "amd64".into(), files: BTreeMap::new() };
    insta::assert_snapshot!(shown(&book.resolve(&mut spec, blobs).unwrap_err()), @r#"
    recipe demo: input "range" is missing: Addresses
    recipe demo: input "sice" is not known: there are range, size
    recipe demo: input "size" must be a whole number
    recipes: inputs for "gone", which no pool uses
    recipes/demo/recipe.yaml:10:5: artifact tool 1.2 for amd64 is in no bundle (make one with `continuum bundle create`)
    recipes/demo/recipe.yaml:11:5: artifact box (example.org/box:3) for amd64 is in no bundle (make one with `continuum bundle create`)
    "#);
}

const DEMO: &str = r#"
recipe: demo
description: d
inputs:
  greeting: {type: string, default: "it's", description: d}
artifacts:
  - {name: box, version: "3", image: "example.org/box:3"}
steps:
  - name: baked
    stage: image
    check: test -e {{ artifact.box }}
    run: run.sh
    artifacts: [box]
    files: [settings.yaml.j2, plain.txt]
    timeout: 30s
  - name: node
    on: [worker]
    facts: [key]
    check: "false"
    run: echo {{ host.name }} {{ input.greeting }} "$(fact demo.key)"
facts:
  - {name: key, after: baked, keep: 5m, run: "echo {{ cluster.name }}"}
hooks:
  drain: echo "$1" from {{ host.name }}
"#;

fn demo_files() -> [(&'static str, &'static str); 3] {
    [
        ("run.sh", "#!/bin/sh\nput settings.yaml /etc/demo.yaml\n"),
        ("settings.yaml.j2", "greeting: {{ input.greeting }}\nimage: {{ image.box }}\n"),
        ("plain.txt", "{{ as it is }}\n"),
    ]
}

#[test]
fn a_pool_gets_the_steps_of_its_role_with_facts_and_what_makes_them() {
    let (book, mut spec) = demo(DEMO, &demo_files());
    let resolved = book.resolve(&mut spec, samples::blobs(book.recipes())).unwrap();
    let steps = |pool: &str| {
        let steps = &spec.pools[&crate::names::PoolName::new(pool).unwrap()].steps;
        let ids =
            |ids: &[crate::names::StepId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        steps
            .iter()
            .map(|step| format!("{} facts [{}] after [{}]", step.id, ids(&step.facts), ids(&step.after)))
            .collect::<Vec<_>>()
    };
    assert_eq!(steps("front-end"), ["demo/baked facts [] after []"]);
    assert_eq!(
        steps("workers"),
        ["demo/baked facts [] after []", "demo/node facts [demo/key] after [demo/baked]"]
    );
    let workers = crate::names::PoolName::new("workers").unwrap();
    let baked: Vec<_> = resolved.image_steps(&workers).iter().map(|step| step.id.to_string()).collect();
    assert_eq!(baked, ["demo/baked"]);
}

#[test]
fn a_bakery_has_the_image_steps_of_all_pools_in_order_and_their_hooks() {
    let yaml = |name: &str, needs: &str, on: &str| {
        format!(
            "recipe: {name}\ndescription: d\nneeds: [{needs}]\nsteps:\n  \
             - {{name: put, stage: image, check: a, run: 'echo {name}'{on}}}\n  \
             - {{name: here, check: a, run: 'echo {{{{ host.name }}}}'}}\nhooks: {{bake: tidy {name}}}\n"
        )
    };
    let all = [
        recipe("recipes/low", &yaml("low", "", ""), &[]).unwrap(),
        recipe("recipes/front", &yaml("front", "low", ", on: [front-end]"), &[]).unwrap(),
        recipe("recipes/work", &yaml("work", "low", ", on: [worker]"), &[]).unwrap(),
    ];
    let book = Cookbook::new(all).unwrap();
    let mut spec = samples::spec(&[name("front"), name("work")], &book).unwrap();
    let resolved = book.resolve(&mut spec, samples::blobs(book.recipes())).unwrap();
    let pool = |text: &str| crate::names::PoolName::new(text).unwrap();
    let bakery = |pools: &[PoolName]| {
        let made = resolved.bakery(&pool("image"), pools);
        let steps: Vec<_> = made.steps.iter().map(|step| step.id.to_string()).collect();
        (steps.join(" "), made.hooks.join(", "))
    };
    let of = |steps: &str| (steps.to_owned(), "tidy low, tidy front, tidy work".to_owned());
    assert_eq!(bakery(&[pool("front-end")]), of("low/put front/put"));
    assert_eq!(bakery(&[pool("workers"), pool("front-end")]), of("low/put front/put work/put"));
}

#[test]
fn a_hash_changes_with_what_a_step_is_made_of_and_only_then() {
    let hash = |book: &Cookbook, spec: &Spec, blobs: Blobs| {
        let mut spec = spec.clone();
        book.resolve(&mut spec, blobs).unwrap();
        spec.pools.values().next().unwrap().steps[0].hash.clone()
    };
    let (book, spec) = demo(DEMO, &demo_files());
    let blobs = samples::blobs(book.recipes());
    let first = hash(&book, &spec, blobs.clone());
    assert_eq!(first.len(), 64);
    assert_eq!(hash(&book, &spec, blobs.clone()), first);

    let mut elsewhere = blobs.clone();
    elsewhere.files.get_mut("box").unwrap().path = "/elsewhere".into();
    assert_eq!(hash(&book, &spec, elsewhere), first, "where a blob is here does not matter");

    let mut other_blob = blobs.clone();
    other_blob.files.get_mut("box").unwrap().sha256 = "f".repeat(64);
    let mut other_input = spec.clone();
    other_input.inputs.insert(name("demo"), BTreeMap::from([("greeting".to_owned(), json!("hi"))]));
    let mut files = demo_files();
    files[1].1 = "greeting: {{ input.greeting }}\n";
    let (other_file, _) = demo(DEMO, &files);
    let changed = [
        hash(&book, &spec, other_blob),
        hash(&book, &other_input, blobs.clone()),
        hash(&other_file, &spec, blobs),
    ];
    for (index, other) in changed.iter().enumerate() {
        assert_ne!(*other, first, "{index}");
    }
}

#[test]
fn a_job_has_script_files_blobs_and_facts() {
    use secrecy::{ExposeSecret, SecretSlice};
    let (book, mut spec) = demo(DEMO, &demo_files());
    let resolved = book.resolve(&mut spec, samples::blobs(book.recipes())).unwrap();
    let (pool_name, pool) = spec.pools.iter().next_back().unwrap();
    let host = samples::host(&spec, pool_name, pool).unwrap();

    let job = resolved.job(&host, &"demo/baked".parse().unwrap(), BTreeMap::new()).unwrap();
    let files: Vec<_> = job
        .files
        .iter()
        .map(|file| (file.name.as_str(), String::from_utf8(file.content.expose_secret().to_vec()).unwrap()))
        .collect();
    assert_eq!(
        files,
        [
            ("settings.yaml", "greeting: \"it's\"\nimage: \"example.org/box:3\"\n".to_owned()),
            ("plain.txt", "{{ as it is }}\n".to_owned()),
        ]
    );
    assert_eq!((job.blobs.len(), job.timeout.as_secs()), (1, 30));
    assert!(job.unit.starts_with("continuum-demo-baked-"), "{}", job.unit);

    let step = "demo/node".parse().unwrap();
    let missing = resolved.job(&host, &step, BTreeMap::new()).unwrap_err();
    assert_eq!(missing.to_string(), "recipe demo/node: fact demo/key is not at hand");
    let facts = |text: &str| {
        BTreeMap::from([("demo/key".parse().unwrap(), SecretSlice::from(text.as_bytes().to_vec()))])
    };
    let job = resolved.job(&host, &step, facts("hunter2")).unwrap();
    let last = job.script.split("step_run() (").nth(1).unwrap().trim();
    assert_eq!(last, "set -eu\necho 'sample-workers-1' 'it'\\''s' \"$(fact demo.key)\"\n)\n\nstep");
    assert_eq!(job.files[0].name, "demo.key");
    assert!(!job.script.contains("hunter2"));
    let again = resolved.job(&host, &step, facts("another")).unwrap();
    assert_eq!(again.unit, job.unit, "a fact is new each time, its unit is not");

    let fact = resolved.fact(&host, &"demo/key".parse().unwrap()).unwrap();
    assert!(fact.script.ends_with("\necho 'sample'\n"));
    assert_eq!(fact.keep.map(|keep| keep.as_secs()), Some(300));
    let drain = resolved.hook(&host, Hook::Drain).unwrap();
    assert!(drain[0].ends_with("\necho \"$1\" from 'sample-workers-1'\n"));
    assert_eq!(resolved.hook(&host, Hook::Forget), Ok(vec![]));
}

#[test]
fn an_image_step_sees_nothing_of_a_machine_and_only_its_own_artifacts() {
    let yaml = "recipe: demo\ndescription: d\nartifacts:\n  - {name: box, version: '3', image: 'example.org/box:3'}\n\
                steps:\n  - {name: a, stage: image, check: x, run: 'echo {{ host.name }}'}\n  \
                - {name: b, check: x, run: \"\\necho {{ artifact.box }}\"}\n";
    let (book, _) = demo(yaml, &[]);
    let report = check(&book, &[name("demo")], |_| Ok(vec![]));
    insta::assert_snapshot!(shown(&report.problems), @r#"
    recipes/demo: recipe demo/a: recipes/demo/recipe.yaml (step a, run):1: undefined value: `host` is undefined
    recipes/demo: recipe demo/b: recipes/demo/recipe.yaml (step b, run):2: undefined value: `artifact.box` is undefined (a step has to name the artifacts that it uses)
    "#);
}

#[test]
fn shipped_recipes_render_and_pass_shellcheck() {
    let book = load::cookbook(None).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    let names: Vec<_> = book.recipes().map(|recipe| recipe.name().clone()).collect();
    let report = check(&book, &names, crate::shellcheck::read);
    assert_eq!(shown(&report.problems), "");
    assert!(report.scripts > 20, "{}", report.scripts);
    if let Some(why) = report.not_read {
        println!("skipped in part: {why}");
    }
}

#[test]
fn shellcheck_finds_what_is_wrong_with_a_recipe() {
    let (book, _) = demo(
        "recipe: demo\ndescription: d\nsteps:\n  - {name: a, check: 'x', run: 'rm -rf $HOME/$x'}\n",
        &[],
    );
    let report = check(&book, &[name("demo")], crate::shellcheck::read);
    match report.not_read {
        Some(why) => println!("skipped: {why}"),
        None => assert!(shown(&report.problems).contains("SC2086"), "{}", shown(&report.problems)),
    }
}

#[test]
fn the_files_that_shipped_recipes_render_stay_as_they_are() {
    use secrecy::{ExposeSecret, SecretSlice};
    let book = load::cookbook(None).unwrap();
    let mut spec = samples::spec(&[name("flannel")], &book).unwrap();
    let resolved = book.resolve(&mut spec, samples::blobs(book.recipes())).unwrap();
    let mut text = String::new();
    for (pool_name, pool) in &spec.pools {
        let host = samples::host(&spec, pool_name, pool).unwrap();
        for step in &pool.steps {
            let facts = step.facts.iter().map(|id| (id.clone(), SecretSlice::from(b"a fact\n".to_vec())));
            for file in resolved.job(&host, &step.id, facts.collect()).unwrap().files {
                let content = String::from_utf8(file.content.expose_secret().to_vec()).unwrap();
                if [".yaml", ".toml"].iter().any(|end| file.name.ends_with(end)) {
                    // A line that lost its indentation may still look right in the snapshot.
                    for document in content.split("---\n").filter(|_| file.name.ends_with(".yaml")) {
                        let parsed = crate::yaml::from_str::<serde_json::Value>(document, &file.name);
                        assert!(parsed.is_ok_and(|value| value.is_object()), "{}: {document}", step.id);
                    }
                    text += &format!("=== {} on {}: {}\n{content}", step.id, host.name, file.name);
                }
            }
        }
    }
    insta::assert_snapshot!(text);
}
