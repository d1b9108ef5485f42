//! `continuum recipe list | show | check`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::{Output, out};
use crate::names::RecipeName;
use crate::recipe::{Cookbook, Problem, Recipe, check, load};
use crate::shellcheck;

/// What can be done with recipes.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The recipes that are known
    List {
        /// A folder of your own: one recipe, or a folder for each; they replace shipped ones of their names
        folder: Option<PathBuf>,
    },
    /// What a recipe needs, takes and does
    Show {
        /// A name from `recipe list`
        name: RecipeName,
        /// A folder of your own
        folder: Option<PathBuf>,
    },
    /// Read recipes, render all of their scripts with sample values, and let shellcheck read those
    Check {
        /// A folder of your own; without it the shipped recipes are checked
        folder: Option<PathBuf>,
    },
}

/// Runs the command.
pub fn run(verb: &Verb, output: Output) -> Result<Exit, Failure> {
    match verb {
        Verb::List { folder } => list(&open(folder.as_ref())?, output),
        Verb::Show { name, folder } => show(&open(folder.as_ref())?, name, output),
        Verb::Check { folder } => check_all(folder.as_ref(), output),
    }
}

fn open(folder: Option<&PathBuf>) -> Result<Cookbook, Failure> {
    load::cookbook(folder.map(PathBuf::as_path)).map_err(|problems| refused(&problems))
}

/// All problems, one a line, for a command that changes nothing because of them.
pub fn refused(problems: &[Problem]) -> Failure {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Failure::say(Exit::Refused, lines.join("\n")).code("E0200")
}

fn list(book: &Cookbook, output: Output) -> Result<Exit, Failure> {
    match output {
        Output::Json => out::json(&book.recipes().map(brief).collect::<Vec<_>>())?,
        Output::Text => {
            let row = |recipe: &Recipe| {
                let needs: Vec<_> = recipe.file.needs.iter().map(RecipeName::as_str).collect();
                vec![recipe.name().to_string(), needs.join(", "), recipe.file.description.clone()]
            };
            let rows: Vec<_> = book.recipes().map(row).collect();
            out::line(&out::table(&["NAME", "NEEDS", "DESCRIPTION"], &rows));
        }
    }
    Ok(Exit::Done)
}

fn brief(recipe: &Recipe) -> Value {
    json!({"name": recipe.name(), "description": recipe.file.description, "needs": recipe.file.needs,
           "folder": recipe.folder})
}

fn show(book: &Cookbook, name: &RecipeName, output: Output) -> Result<Exit, Failure> {
    let Some(recipe) = book.get(name) else {
        let known: Vec<_> = book.recipes().map(|recipe| recipe.name().as_str()).collect();
        return Err(Failure::say(
            Exit::Refused,
            format!("no recipe {:?}: there are {}", name.as_str(), known.join(", ")),
        ));
    };
    match output {
        Output::Json => out::json(&recipe.file)?,
        Output::Text => out::line(&text(recipe)),
    }
    Ok(Exit::Done)
}

fn text(recipe: &Recipe) -> String {
    let file = &recipe.file;
    let needs: Vec<_> = file.needs.iter().map(RecipeName::as_str).collect();
    let roles = |step: &crate::recipe::model::StepFile| match step.on.as_slice() {
        [crate::spec::Role::FrontEnd] => "front-end",
        [crate::spec::Role::Worker] => "worker",
        _ => "all",
    };
    let stage = |stage| match stage {
        crate::recipe::model::Stage::Image => "image",
        crate::recipe::model::Stage::Node => "node",
    };
    let steps = file.steps.iter().map(|step| {
        vec![
            step.name.clone(),
            roles(step).to_owned(),
            stage(step.stage).to_owned(),
            step.artifacts.join(" "),
        ]
    });
    let inputs = file.inputs.iter().map(|(name, input)| {
        let default = input.default.as_ref().map_or_else(|| "required".to_owned(), ToString::to_string);
        vec![name.clone(), default, input.description.clone()]
    });
    let artifacts = file.artifacts.iter().map(|artifact| {
        vec![artifact.name.clone(), artifact.version.clone(), artifact.image.clone().unwrap_or_default()]
    });
    let mut parts = vec![format!("{}: {}", recipe.name(), file.description)];
    parts.push(format!("needs: {}", if needs.is_empty() { "nothing".into() } else { needs.join(", ") }));
    let mut table = |head: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            parts.push(format!("\n{}", out::table(head, &rows)));
        }
    };
    table(&["INPUT", "DEFAULT", "DESCRIPTION"], inputs.collect());
    table(&["STEP", "ON", "STAGE", "ARTIFACTS"], steps.collect());
    table(&["ARTIFACT", "VERSION", "IMAGE"], artifacts.collect());
    parts.join("\n")
}

fn check_all(folder: Option<&PathBuf>, output: Output) -> Result<Exit, Failure> {
    let own = match folder {
        Some(folder) => load::in_folder(folder),
        None => load::shipped(),
    };
    let own = own.map_err(|problems| refused(&problems))?;
    let book = open(folder)?;
    let names: Vec<_> = own.iter().map(|recipe| recipe.name().clone()).collect();
    let report = check(&book, &names, shellcheck::read);
    let lines: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
    if output == Output::Json {
        out::json(
            &json!({"recipes": names, "scripts": report.scripts, "not_read": report.not_read, "problems": lines}),
        )?;
    }
    if let Some(why) = &report.not_read {
        out::note(&format!("scripts were rendered but not read: {why}"));
    }
    if !lines.is_empty() {
        return Err(Failure::say(Exit::Refused, lines.join("\n")).code("E0200"));
    }
    if output == Output::Text {
        let all: Vec<_> = names.iter().map(RecipeName::as_str).collect();
        out::line(&format!("{}: {} scripts, no problem", all.join(", "), report.scripts));
    }
    Ok(Exit::Done)
}
