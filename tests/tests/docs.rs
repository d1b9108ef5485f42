//! The README and the book say what is true: links resolve, commands parse, references name everything.
//!
//! The command line's reference is made from clap. After a change of it: `CONTINUUM_BLESS=1 cargo test -p
//! continuum-tests --test docs`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

use clap::Command;
use provisioner::cluster_file::keys::{KEYS, State};
use provisioner::templates::Templates;
use serde_json::Value;

/// What is behind this line of `reference/cli.md` is made from clap.
const GENERATED: &str = "<!-- from here on made from the command line itself -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn find(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            // what mdbook makes is no source
            if path.file_name().is_some_and(|name| name != "book") {
                find(&path, end, found);
            }
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

/// README, changelog and every page of the book: the path from the root, and the text.
fn pages() -> Vec<(String, String)> {
    let root = root();
    let mut paths = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    find(&root.join("docs"), ".md", &mut paths);
    paths.sort();
    assert!(paths.len() > 15, "the book was not found");
    let page = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.strip_prefix(&root).expect("below the root").display().to_string(), text)
    };
    paths.into_iter().map(page).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn verdict(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// `a/b/../c` without the dots: the target need not exist.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Text outside fenced blocks, and the lines inside with the language of their block.
fn split(text: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut code, mut language) = (String::new(), Vec::new(), None::<String>);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &language) {
            (Some(name), None) => language = Some(name.trim().to_owned()),
            (Some(_), Some(_)) => language = None,
            (None, Some(name)) => code.push((name.clone(), line.to_owned())),
            (None, None) => prose.push_str(&format!("{line}\n")),
        }
    }
    (prose, code)
}

/// What stands in round brackets behind square ones.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.match_indices("](").filter_map(|(at, _)| prose[at + 2..].split(')').next())
}

/// The anchor that a heading gets, as mdbook and forges make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for (name, text) in pages() {
        let (prose, _) = split(&text);
        for link in links(&prose).filter(|link| !link.contains("://")) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(&name).parent().expect("a file in a folder");
            let target = if file.is_empty() { name.clone().into() } else { plain(&folder.join(file)) };
            let Ok(target_text) = fs::read_to_string(root().join(&target))
                .or_else(|error| if root().join(&target).is_dir() { Ok(String::new()) } else { Err(error) })
            else {
                broken.push(format!("{name}: {link}"));
                continue;
            };
            let (prose, _) = split(&target_text);
            if !place.is_empty() && !prose.lines().any(|l| l.starts_with('#') && anchor(l) == place) {
                broken.push(format!("{name}: {link}: there is no such heading"));
            }
        }
    }
    verdict("a link leads to a file of this repository", &broken);
}

#[test]
fn the_summary_names_every_page_once() {
    let summary = page("docs/SUMMARY.md");
    let mut broken = Vec::new();
    for (name, _) in pages() {
        let Some(inside) = name.strip_prefix("docs/").filter(|name| *name != "SUMMARY.md") else { continue };
        match links(&summary).filter(|link| *link == inside).count() {
            1 => {}
            count => broken.push(format!("{name}: {count} times")),
        }
    }
    verdict("docs/SUMMARY.md names every page of the book once", &broken);
}

/// Commands of ours in a page: lines of `sh` blocks, and lines behind a prompt in `console` blocks.
fn commands(text: &str) -> Vec<String> {
    let (_, code) = split(text);
    let command = |(language, line): (String, String)| {
        let line = match language.as_str() {
            "sh" => line.trim(),
            "console" => line.strip_prefix("$ ")?,
            _ => return None,
        };
        line.starts_with("continuum ").then(|| line.to_owned())
    };
    code.into_iter().filter_map(command).collect()
}

/// The words of a command as a shell would split them, up to a comment, a pipe or the next command.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut some) = (Vec::new(), String::new(), None, false);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, some) = (Some(c), true),
            (None, '#' | '|' | ';' | '&' | '>' | '<') if word.is_empty() => break,
            (None, ' ') if some || !word.is_empty() => {
                words.push(std::mem::take(&mut word));
                some = false;
            }
            (None, ' ') => {}
            (None, c) => word.push(c),
        }
    }
    if some || !word.is_empty() {
        words.push(word);
    }
    words
}

#[test]
fn every_command_in_the_book_parses() {
    let mut broken = Vec::new();
    let mut count = 0;
    for (name, text) in pages() {
        // the reference's usage lines are patterns, not commands
        for command in commands(text.split(GENERATED).next().unwrap_or_default()) {
            count += 1;
            if let Err(error) = provisioner::cli::command().try_get_matches_from(words(&command)) {
                broken.push(format!("{name}: {command}: {}", error.to_string().lines().next().unwrap_or("")));
            }
        }
    }
    assert!(count > 30, "only {count} commands were found");
    verdict("commands in the book are commands of the program", &broken);
}

/// The reference of one command and of those below it.
fn describe(command: &mut Command, path: &str, text: &mut String) {
    let path = format!("{path} {}", command.get_name()).trim().to_owned();
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let level = if path.contains(' ') { "###" } else { "##" };
    let _ = writeln!(text, "{level} {path}\n\n{}\n", full_stop(&about));
    if !command.has_subcommands() {
        let usage = command.render_usage().to_string();
        let _ = writeln!(text, "```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
    }
    // help and version are everywhere; what every command takes is said once, at the top
    let told = |arg: &&clap::Arg| {
        let everywhere = matches!(arg.get_id().as_str(), "help" | "version");
        let said_above = arg.is_global_set() && path.contains(' ');
        !(arg.is_hide_set() || everywhere || said_above)
    };
    let rows: Vec<String> = command.get_arguments().filter(told).map(row).collect();
    if !rows.is_empty() {
        let _ = writeln!(text, "| argument | what it does |\n| --- | --- |\n{}\n", rows.join("\n"));
    }
    let below: Vec<String> =
        command.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name().to_owned()).collect();
    for name in below {
        if let Some(command) = command.find_subcommand_mut(&name) {
            describe(command, &path, text);
        }
    }
}

fn full_stop(text: &str) -> String {
    if text.is_empty() || text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

fn row(arg: &clap::Arg) -> String {
    let value =
        arg.get_value_names().map(|names| names.iter().map(|n| format!(" <{n}>")).collect::<String>());
    let value = if arg.get_action().takes_values() { value.unwrap_or_default() } else { String::new() };
    let flag = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}{value}"),
        (None, Some(long)) => format!("--{long}{value}"),
        (Some(short), None) => format!("-{short}{value}"),
        (None, None) => value.trim().to_owned(),
    };
    let mut help = full_stop(&arg.get_help().map(ToString::to_string).unwrap_or_default());
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && !values.is_empty() {
        let values: Vec<_> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        let _ = write!(help, " One of {}.", values.join(", "));
    }
    // The architecture's default is this computer's: the page must be the same on every one.
    if let [default] = arg.get_default_values()
        && arg.get_id().as_str() != "arch"
        && arg.get_action().takes_values()
    {
        let _ = write!(help, " By default `{}`.", default.to_string_lossy());
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(help, " Or `${}`.", variable.to_string_lossy());
    }
    let cell = |text: &str| text.replace('|', "\\|");
    format!("| `{}` | {} |", cell(&flag), cell(&help))
}

#[test]
fn the_reference_of_the_command_line_is_what_clap_says() {
    let mut text = String::new();
    let mut command = provisioner::cli::command();
    command.build();
    describe(&mut command, "", &mut text);
    let text = format!("{}\n", text.trim_end());
    let page = page("docs/reference/cli.md");
    let (head, now) = page.split_once(GENERATED).expect("the line that parts written from made");
    if provisioner::env::var("CONTINUUM_BLESS").is_some() {
        let path = root().join("docs/reference/cli.md");
        fs::write(path, format!("{head}{GENERATED}\n{text}")).expect("written");
        return;
    }
    assert_eq!(now.trim(), text.trim(), "run again with CONTINUUM_BLESS=1");
}

/// Every key of a JSON Schema, at any depth.
fn schema_keys(schema: &Value, keys: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                if let ("properties", Value::Object(properties)) = (key.as_str(), value) {
                    keys.extend(properties.keys().cloned());
                }
                schema_keys(value, keys);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| schema_keys(item, keys)),
        _ => {}
    }
}

#[test]
fn the_reference_of_the_cluster_file_names_every_key() {
    let page = page("docs/reference/cluster-file.md");
    let mut keys = Vec::new();
    for one in Templates::embedded().list().expect("what ships is right") {
        let schema = Templates::embedded().schema(&one.name).expect("what ships is right");
        schema_keys(&schema, &mut keys);
    }
    assert!(keys.len() > 20, "{keys:?}");
    keys.extend(
        KEYS.iter().filter(|key| matches!(key.state, State::Later(_))).map(|key| key.name.to_owned()),
    );
    keys.sort();
    keys.dedup();
    // a key stands in the first column of a table
    let named = |key: &String| page.lines().any(|line| line.starts_with(&format!("| `{key}`")));
    let broken: Vec<String> = keys.into_iter().filter(|key| !named(key)).collect();
    verdict("docs/reference/cluster-file.md has a row for every key", &broken);
}

#[test]
fn the_reference_of_recipes_names_every_field_value_and_function() {
    let page = page("docs/reference/recipe.md");
    let source =
        |name: &str| fs::read_to_string(root().join("provisioner/src/recipe").join(name)).expect(name);
    let mut names = Vec::new();
    for line in source("model.rs").lines().filter_map(|line| line.trim().strip_prefix("pub ")) {
        // `pub name: Type,`; the type of an input is written `type`
        if let Some((name, _)) = line.split_once(": ").filter(|(name, _)| !name.contains(' ')) {
            names.push(if name == "kind" { "type".to_owned() } else { name.to_owned() });
        }
    }
    for line in source("prelude.sh").lines() {
        if let Some((name, _)) = line.split_once("()").filter(|(name, _)| !name.contains(' ')) {
            names.push(name.to_owned());
        }
    }
    // the table in the head of values.rs: `//! | `host` | no | … |`
    for line in source("values.rs").lines().filter_map(|line| line.strip_prefix("//! | `")) {
        names.extend(
            line.split(" | ").next().unwrap_or("").split(", ").map(|n| n.trim_matches('`').to_owned()),
        );
    }
    assert!(names.len() > 50, "{names:?}");
    // a name is told where it begins a piece of code: `put NAME PATH`, `host`
    let tells = |name: &String| {
        page.split(&format!("`{name}"))
            .skip(1)
            .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let broken: Vec<String> = names.into_iter().filter(|name| !tells(name)).collect();
    verdict("docs/reference/recipe.md names every field, value and function", &broken);
}

#[test]
fn every_example_loads() {
    let mut paths = Vec::new();
    find(&root().join("examples"), "cluster.yaml", &mut paths);
    find(&root().join("examples"), "elastic.yaml", &mut paths);
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let loaded = Templates::embedded().load(&path.display().to_string());
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert!(loaded.warnings.is_empty(), "{}: {:?}", path.display(), loaded.warnings);
        // every recipe that a pool names ships or stands beside the examples
        let own = root().join("examples/recipes");
        let book = provisioner::recipe::load::cookbook(Some(&own)).expect("the recipes are right");
        for recipe in loaded.spec.pools.values().flat_map(|pool| &pool.recipes) {
            assert!(book.get(recipe).is_some(), "{}: no recipe {recipe}", path.display());
        }
    }
}

#[test]
fn exit_codes_are_all_documented() {
    let page = page("docs/reference/cli.md");
    let source = fs::read_to_string(root().join("provisioner/src/cli/exit.rs")).expect("the source");
    let code = |line: &str| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse::<u8>().ok();
    let codes: Vec<u8> = source.lines().filter_map(code).collect();
    assert!(codes.len() >= 8, "{codes:?}");
    let broken: Vec<String> =
        codes.iter().filter(|c| !page.contains(&format!("\n| {c} |"))).map(ToString::to_string).collect();
    verdict("docs/reference/cli.md has a row for every exit code", &broken);
}
