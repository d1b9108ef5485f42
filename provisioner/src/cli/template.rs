//! `continuum template list | show`.

use std::io::IsTerminal;

use clap::Subcommand;

use super::exit::{Exit, Failure};
use super::{Output, out};
use crate::diagnostic::{Problem, render};
use crate::templates::Templates;
use crate::tosca::describe::Description;

/// What can be done with templates.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The templates that ship
    List,
    /// What a template asks for and is made of
    Show {
        /// A name from `template list`, or a path: ./mine.yaml
        template: String,
        /// Print the JSON Schema of cluster files that use it, for editors
        #[arg(long, conflicts_with = "source")]
        schema: bool,
        /// Print the template itself, for example to start one of your own
        #[arg(long)]
        source: bool,
    },
}

/// Runs the command.
pub fn run(verb: &Verb, output: Output) -> Result<Exit, Failure> {
    let templates = Templates::embedded();
    match verb {
        Verb::List => {
            let list = templates.list().map_err(|problems| refused(&problems))?;
            match output {
                Output::Json => out::json(&list)?,
                Output::Text => {
                    let rows: Vec<_> = list.into_iter().map(|one| vec![one.name, one.description]).collect();
                    out::line(&out::table(&["NAME", "DESCRIPTION"], &rows));
                }
            }
        }
        Verb::Show { template, schema: true, .. } => {
            out::json(&templates.schema(template).map_err(|problems| refused(&problems))?)?;
        }
        Verb::Show { template, source: true, .. } => {
            out::line(templates.source(template).map_err(|problems| refused(&problems))?.trim_end());
        }
        Verb::Show { template, .. } => {
            let shown = templates.show(template).map_err(|problems| refused(&problems))?;
            match output {
                Output::Json => out::json(&shown)?,
                Output::Text => out::line(&text(template, &shown)),
            }
        }
    }
    Ok(Exit::Done)
}

/// All problems of a file that was given, shown as they are, for a command that changes nothing because of them.
pub fn refused(problems: &[Problem]) -> Failure {
    let colour = std::io::stderr().is_terminal() && crate::env::var("NO_COLOR").is_none();
    let mut failure = Failure::say(Exit::Refused, render(problems, colour).trim_end());
    failure.code = problems.first().map(|problem| problem.kind.code());
    failure.problems = problems.iter().filter_map(|problem| serde_json::to_value(problem).ok()).collect();
    failure
}

fn text(name: &str, shown: &Description) -> String {
    let inputs: Vec<Vec<String>> = shown
        .inputs
        .iter()
        .map(|input| {
            let value = match &input.default {
                _ if input.required => "required".to_owned(),
                Some(default) => default.to_string(),
                None => String::new(),
            };
            vec![input.name.clone(), input.type_name.clone(), value, input.description.clone()]
        })
        .collect();
    let nodes: Vec<Vec<String>> =
        shown.nodes.iter().map(|n| vec![n.name.clone(), n.type_name.clone(), n.needs.join(", ")]).collect();
    let outputs: Vec<Vec<String>> =
        shown.outputs.iter().map(|o| vec![o.name.clone(), o.description.clone()]).collect();
    format!(
        "{name}: {}\n\n{}\n\n{}\n\n{}",
        shown.description,
        out::table(&["INPUT", "TYPE", "DEFAULT", "MEANING"], &inputs),
        out::table(&["PART", "TYPE", "NEEDS"], &nodes),
        out::table(&["OUTPUT", "MEANING"], &outputs),
    )
}
