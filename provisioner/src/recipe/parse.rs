//! One recipe from the texts of its folder, with everything that can be said about it alone.

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;
use super::inputs;
use super::model::{Artifact, Hooks, RecipeFile, Script, Stage, StepFile};
use super::problem::line_of;
use crate::diagnostic::Place;
use crate::names::{RecipeName, StepId};
use crate::spec::Role;
use crate::tree::Node;
use crate::yaml;

/// The file that makes a folder a recipe.
pub(super) const RECIPE_FILE: &str = "recipe.yaml";

/// A recipe and the texts of its folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What `recipe.yaml` says.
    pub file: RecipeFile,
    /// The texts by file name, `recipe.yaml` included.
    pub texts: BTreeMap<String, String>,
    /// The folder as people call it: `recipes/flannel`.
    pub folder: String,
}

impl Recipe {
    /// Reads a recipe from the texts of its folder. Gives every problem, sorted by place.
    pub fn parse(folder: &str, texts: BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        let place = format!("{folder}/{RECIPE_FILE}");
        let Some(text) = texts.get(RECIPE_FILE) else {
            return Err(vec![Problem::new(folder, "has no recipe.yaml")]);
        };
        let file: RecipeFile = yaml::from_str(text, &place).map_err(|error| {
            let line = error.place.as_ref().map(crate::diagnostic::Place::line);
            vec![Problem { file: place.clone(), line, column: None, message: in_one_line(&error) }]
        })?;
        let recipe = Self { file, texts, folder: folder.to_owned() };
        let mut problems = Checker { recipe: &recipe, place: &place, problems: vec![] }.check();
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(recipe) } else { Err(problems) }
    }

    /// The text of a script and the name that errors give it.
    pub(super) fn script<'a>(&'a self, script: &'a Script, what: &str) -> (String, &'a str) {
        match script.file() {
            Some(file) => {
                (format!("{}/{file}", self.folder), self.texts.get(file).map_or("", String::as_str))
            }
            None => (format!("{}/{RECIPE_FILE} ({what})", self.folder), &script.0),
        }
    }

    /// A step by its name.
    pub(super) fn step(&self, name: &str) -> Option<&StepFile> {
        self.file.steps.iter().find(|step| step.name == name)
    }

    /// A fact that one of this recipe's steps names, in full: `join` is `kubernetes/join`.
    pub(super) fn fact_id(&self, fact: &str) -> Result<StepId, crate::names::NameError> {
        if fact.contains('/') { fact.parse() } else { format!("{}/{fact}", self.file.recipe).parse() }
    }

    /// Where `recipe.yaml` declares an artifact: steps may name it before or after.
    pub(super) fn place_of_artifact(&self, name: &str) -> Option<Place> {
        let root = yaml::parse(self.texts.get(RECIPE_FILE)?, RECIPE_FILE).ok()?;
        let declared = root.get("artifacts")?.list()?;
        let entry = declared.iter().find(|entry| entry.get("name").and_then(Node::text) == Some(name))?;
        Some(entry.place.clone())
    }

    /// The name, for which the folder stands.
    pub fn name(&self) -> &RecipeName {
        &self.file.recipe
    }
}

/// What a reader of YAML found, with what it expected and what to do.
fn in_one_line(error: &crate::diagnostic::Problem) -> String {
    let expected = Some(&error.expected).filter(|text| !text.is_empty());
    let expected = expected.map_or_else(String::new, |text| format!(", expected {text}"));
    let help = error.help.as_ref().map_or_else(String::new, |text| format!(" ({text})"));
    format!("{}{expected}{help}", error.message)
}

/// Every hook that is there, with its key.
pub(super) fn hooks(hooks: &Hooks) -> impl Iterator<Item = (&'static str, &Script)> {
    [
        ("nodes", &hooks.nodes),
        ("drain", &hooks.drain),
        ("uncordon", &hooks.uncordon),
        ("forget", &hooks.forget),
        ("kubeconfig", &hooks.kubeconfig),
        ("settled", &hooks.settled),
        ("load_image", &hooks.load_image),
        ("bake", &hooks.bake),
        ("daemon", &hooks.daemon),
    ]
    .into_iter()
    .filter_map(|(key, script)| Some((key, script.as_ref()?)))
}

struct Checker<'a> {
    recipe: &'a Recipe,
    place: &'a str,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn check(mut self) -> Vec<Problem> {
        let file = &self.recipe.file;
        let folder_name = self.recipe.folder.rsplit('/').next().unwrap_or_default();
        if file.recipe.as_str() != folder_name {
            let name = file.recipe.as_str();
            self.say(
                name,
                format!("recipe {name:?} stands in a folder named {folder_name:?}: the names must agree"),
            );
        }
        self.unique("step", file.steps.iter().map(|step| step.name.as_str()));
        self.unique("fact", file.facts.iter().map(|fact| fact.name.as_str()));
        self.unique("artifact", file.artifacts.iter().map(|artifact| artifact.name.as_str()));
        for (name, input) in &file.inputs {
            for why in inputs::declaration(name, input) {
                self.say(name, why);
            }
        }
        file.artifacts.iter().for_each(|artifact| self.artifact(artifact));
        file.steps.iter().for_each(|step| self.step(step));
        self.facts();
        for (key, script) in hooks(&file.hooks) {
            self.script(script, &format!("hook {key:?}"));
        }
        self.problems
    }

    fn say(&mut self, word: &str, message: impl Into<String>) {
        let text = &self.recipe.texts[RECIPE_FILE];
        self.problems.push(Problem::at(self.place, text, word, message));
    }

    fn unique<'b>(&mut self, what: &str, names: impl Iterator<Item = &'b str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if let Err(error) = format!("{}/{name}", self.recipe.file.recipe).parse::<StepId>() {
                self.say(name, format!("{what} name {name:?} {error}"));
            }
            if !seen.insert(name) {
                let text = &self.recipe.texts[RECIPE_FILE];
                let line = line_of(text, name, 1);
                let message = format!("{what} {name:?} is there twice");
                self.problems.push(Problem { file: self.place.to_owned(), line, column: None, message });
            }
        }
    }

    fn script(&mut self, script: &Script, what: &str) {
        if let Some(file) = script.file()
            && !self.recipe.texts.contains_key(file)
        {
            self.say(file, format!("{what}: no file {file:?} in {}", self.recipe.folder));
        }
    }

    fn duration(&mut self, text: Option<&str>, what: &str) {
        if let Some(text) = text
            && let Err(error) = crate::duration::parse(text)
        {
            self.say(text, format!("{what}: {text:?} {error}"));
        }
    }

    fn artifact(&mut self, artifact: &Artifact) {
        let name = &artifact.name;
        let is_image = artifact.image.is_some();
        let kinds = [is_image, !artifact.files.is_empty(), artifact.own];
        if kinds.iter().filter(|kind| **kind).count() != 1 {
            self.say(name, format!("artifact {name:?} must have either `image`, `files` or `own: true`"));
        }
        if artifact.digest.is_some() && !is_image {
            self.say(name, format!("artifact {name:?}: only an image has a digest"));
        }
        for (arch, upstream) in &artifact.files {
            let hex =
                |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !hex(&upstream.sha256) {
                let message = format!("artifact {name:?}, {arch}: sha256 must be 64 of 0-9 and a-f");
                self.say(&upstream.sha256, message);
            }
            if !upstream.url.starts_with("https://") {
                self.say(name, format!("artifact {name:?}, {arch}: the url must begin with https://"));
            }
        }
    }

    fn step(&mut self, step: &StepFile) {
        let what = format!("step {:?}", step.name);
        self.script(&step.check, &what);
        self.script(&step.run, &what);
        self.duration(step.timeout.as_deref(), &what);
        for file in &step.files {
            if !self.recipe.texts.contains_key(file) {
                self.say(file, format!("{what}: no file {file:?} in {}", self.recipe.folder));
            }
        }
        for name in &step.artifacts {
            if !self.recipe.file.artifacts.iter().any(|artifact| artifact.name == *name) {
                self.say(name, format!("{what}: artifact {name:?} is not declared under `artifacts`"));
            }
        }
        if step.stage == Stage::Image && !step.facts.is_empty() {
            self.say(&step.name, format!("{what}: a step of stage image can use no facts"));
        }
        for fact in &step.facts {
            match self.recipe.fact_id(fact) {
                Err(error) => self.say(fact, format!("{what}: fact {fact:?} {error}")),
                Ok(id)
                    if id.recipe == self.recipe.file.recipe
                        && !self.recipe.file.facts.iter().any(|f| f.name == id.step) =>
                {
                    self.say(fact, format!("{what}: fact {fact:?} is not declared under `facts`"));
                }
                Ok(_) => {}
            }
        }
    }

    fn facts(&mut self) {
        let recipe = self.recipe;
        for fact in &recipe.file.facts {
            let what = format!("fact {:?}", fact.name);
            self.script(&fact.run, &what);
            self.duration(fact.keep.as_deref(), &what);
            match recipe.step(&fact.after) {
                None => self.say(
                    &fact.after,
                    format!("{what}: `after` names no step of this recipe: {:?}", fact.after),
                ),
                Some(step) if !step.is_for(Role::FrontEnd) => {
                    self.say(&fact.after, format!("{what}: step {:?} is not for front-ends", fact.after));
                }
                Some(_) => {}
            }
        }
    }
}
