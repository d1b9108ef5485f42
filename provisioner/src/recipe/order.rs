//! `needs` become an order: what is needed comes first, else the order in which recipes were asked for.

use std::collections::BTreeMap;

use super::{Problem, Recipe};
use crate::names::RecipeName;

/// The recipes asked for and all that they need, each once, needed ones first.
/// Every unknown recipe and every cycle is a problem.
pub(super) fn order(
    wanted: &[RecipeName],
    recipes: &BTreeMap<RecipeName, Recipe>,
) -> Result<Vec<RecipeName>, Vec<Problem>> {
    let mut walk = Walk { recipes, done: vec![], open: vec![], problems: vec![] };
    for name in wanted {
        walk.visit(name, None);
    }
    if walk.problems.is_empty() { Ok(walk.done) } else { Err(walk.problems) }
}

struct Walk<'a> {
    recipes: &'a BTreeMap<RecipeName, Recipe>,
    done: Vec<RecipeName>,
    /// The chain of needs that led here.
    open: Vec<RecipeName>,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn visit(&mut self, name: &RecipeName, by: Option<&Recipe>) {
        if self.done.contains(name) {
            return;
        }
        if let Some(start) = self.open.iter().position(|open| open == name) {
            let cycle: Vec<_> = self.open[start..].iter().chain([name]).map(RecipeName::as_str).collect();
            self.say(by, name, format!("recipes need each other in a circle: {}", cycle.join(" -> ")));
            return;
        }
        let Some(recipe) = self.recipes.get(name) else {
            let known: Vec<_> = self.recipes.keys().map(RecipeName::as_str).collect();
            self.say(by, name, format!("no recipe {:?}: there are {}", name.as_str(), known.join(", ")));
            return;
        };
        self.open.push(name.clone());
        for need in &recipe.file.needs {
            self.visit(need, Some(recipe));
        }
        self.open.pop();
        self.done.push(name.clone());
    }

    fn say(&mut self, by: Option<&Recipe>, name: &RecipeName, message: String) {
        let problem = match by {
            Some(recipe) => {
                let text = recipe.texts.get(super::parse::RECIPE_FILE).map_or("", String::as_str);
                let file = format!("{}/{}", recipe.folder, super::parse::RECIPE_FILE);
                Problem::at(&file, text, name.as_str(), message)
            }
            None => Problem::new("recipes", message),
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipes(needs: &[(&str, &[&str])]) -> BTreeMap<RecipeName, Recipe> {
        let one = |(name, needs): &(&str, &[&str])| {
            let text = format!("recipe: {name}\ndescription: d\nneeds: [{}]\n", needs.join(", "));
            let texts = BTreeMap::from([("recipe.yaml".to_owned(), text)]);
            let recipe = Recipe::parse(&format!("recipes/{name}"), texts).unwrap();
            (RecipeName::new(*name).unwrap(), recipe)
        };
        needs.iter().map(one).collect()
    }

    fn check(needs: &[(&str, &[&str])], wanted: &[&str], expected: &str) {
        let wanted: Vec<_> = wanted.iter().map(|name| RecipeName::new(*name).unwrap()).collect();
        let got = match order(&wanted, &recipes(needs)) {
            Ok(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn needed_recipes_come_first_and_once() {
        let needs: &[(&str, &[&str])] = &[("a", &["c"]), ("b", &["c", "a"]), ("c", &[])];
        check(needs, &["b", "a"], "c a b");
        check(needs, &["c"], "c");
    }

    #[test]
    fn a_circle_is_named() {
        let needs: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &["c"]), ("c", &["b"])];
        check(needs, &["a"], "recipes/c/recipe.yaml:3: recipes need each other in a circle: b -> c -> b");
    }

    #[test]
    fn an_unknown_recipe_is_named_with_the_known_ones() {
        check(
            &[("a", &["x", "y"])],
            &["a", "z"],
            "recipes/a/recipe.yaml:3: no recipe \"x\": there are a\n\
             recipes/a/recipe.yaml:3: no recipe \"y\": there are a\n\
             recipes: no recipe \"z\": there are a",
        );
    }
}
