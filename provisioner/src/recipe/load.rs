//! Recipes from the binary or from folders (shell: reads files).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use include_dir::{Dir, include_dir};

use super::parse::RECIPE_FILE;
use super::{Cookbook, Problem, Recipe};

static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../recipes");

/// Scripts and manifests are small; a file above this is something else in a recipe's folder.
const LARGEST: u64 = 1 << 20;

/// The recipes that ship, and those of `folder`, which replace shipped ones of their names.
/// `folder` is one recipe or has one folder for each. Gives every problem.
pub fn cookbook(folder: Option<&Path>) -> Result<Cookbook, Vec<Problem>> {
    let mut recipes = shipped()?;
    if let Some(folder) = folder {
        recipes.extend(in_folder(folder)?);
    }
    Cookbook::new(recipes)
}

/// The recipes in the binary.
pub fn shipped() -> Result<Vec<Recipe>, Vec<Problem>> {
    let texts = |dir: &Dir<'_>| {
        let file = |file: &include_dir::File<'_>| {
            Some((file.path().file_name()?.to_str()?.to_owned(), file.contents_utf8()?.to_owned()))
        };
        dir.files().filter_map(file).collect()
    };
    let folders = SHIPPED.dirs().map(|dir| (format!("recipes/{}", dir.path().display()), texts(dir)));
    parse_all(folders.collect())
}

/// The recipes of a user's folder.
pub fn in_folder(folder: &Path) -> Result<Vec<Recipe>, Vec<Problem>> {
    let say = |path: &Path, message: String| vec![Problem::new(path.display().to_string(), message)];
    if folder.join(RECIPE_FILE).is_file() {
        let texts = texts(folder).map_err(|problem| vec![problem])?;
        // `.` has no name of its own.
        let full = fs::canonicalize(folder).map_err(|error| say(folder, error.to_string()))?;
        return parse_all(vec![(full.display().to_string(), texts)]);
    }
    let entries = fs::read_dir(folder).map_err(|error| say(folder, format!("cannot be read: {error}")))?;
    let mut folders = vec![];
    let mut problems = vec![];
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.join(RECIPE_FILE).is_file() {
            match texts(&path) {
                Ok(texts) => folders.push((path.display().to_string(), texts)),
                Err(problem) => problems.push(problem),
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if folders.is_empty() {
        return Err(say(folder, "has no recipe: a recipe is a folder with a recipe.yaml".into()));
    }
    folders.sort();
    parse_all(folders)
}

fn parse_all(folders: Vec<(String, BTreeMap<String, String>)>) -> Result<Vec<Recipe>, Vec<Problem>> {
    let mut recipes = vec![];
    let mut problems = vec![];
    for (folder, texts) in folders {
        match Recipe::parse(&folder, texts) {
            Ok(recipe) => recipes.push(recipe),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(recipes) } else { Err(problems) }
}

fn texts(folder: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let say = |path: &Path, message: String| Problem::new(path.display().to_string(), message);
    let entries = fs::read_dir(folder).map_err(|error| say(folder, format!("cannot be read: {error}")))?;
    let mut texts = BTreeMap::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let size = fs::metadata(&path).map_err(|error| say(&path, error.to_string()))?.len();
        if size > LARGEST {
            return Err(say(
                &path,
                format!("is {size} bytes: large files are artifacts, not part of a recipe"),
            ));
        }
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => {
                say(&path, "is no UTF-8 text: other files are artifacts, not part of a recipe".into())
            }
            _ => say(&path, format!("cannot be read: {error}")),
        })?;
        texts.insert(name, text);
    }
    Ok(texts)
}
