//! All recipes that are known, and what must hold between them.

use std::collections::BTreeMap;

use super::order::order;
use super::parse::RECIPE_FILE;
use super::{Problem, Recipe};
use crate::names::{RecipeName, StepId};

/// Recipes by name; what they need is there, and they need each other in no circle.
#[derive(Debug, Clone, PartialEq)]
pub struct Cookbook {
    recipes: BTreeMap<RecipeName, Recipe>,
}

impl Cookbook {
    /// Takes recipes; a later one replaces an earlier one of its name. Gives every problem between them.
    pub fn new(recipes: impl IntoIterator<Item = Recipe>) -> Result<Self, Vec<Problem>> {
        let recipes: BTreeMap<_, _> =
            recipes.into_iter().map(|recipe| (recipe.name().clone(), recipe)).collect();
        let all: Vec<_> = recipes.keys().cloned().collect();
        let mut problems = order(&all, &recipes).err().unwrap_or_default();
        if problems.is_empty() {
            problems = recipes.values().flat_map(|recipe| foreign_facts(recipe, &recipes)).collect();
        }
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(Self { recipes }) } else { Err(problems) }
    }

    /// All recipes, by name.
    pub fn recipes(&self) -> impl Iterator<Item = &Recipe> {
        self.recipes.values()
    }

    /// One recipe.
    pub fn get(&self, name: &RecipeName) -> Option<&Recipe> {
        self.recipes.get(name)
    }

    /// The recipes asked for with all that they need, needed ones first.
    pub fn order(&self, wanted: &[RecipeName]) -> Result<Vec<&Recipe>, Vec<Problem>> {
        let names = order(wanted, &self.recipes)?;
        Ok(names.iter().filter_map(|name| self.recipes.get(name)).collect())
    }
}

/// Facts of other recipes that a recipe names: they must be there, in a recipe that it needs.
fn foreign_facts(recipe: &Recipe, recipes: &BTreeMap<RecipeName, Recipe>) -> Vec<Problem> {
    let needed = order(&recipe.file.needs, recipes).unwrap_or_default();
    let place = format!("{}/{RECIPE_FILE}", recipe.folder);
    let facts = recipe.file.steps.iter().flat_map(|step| &step.facts);
    let wrong = |fact: &String| -> Option<Problem> {
        let id: StepId = recipe.fact_id(fact).ok()?;
        if id.recipe == *recipe.name() {
            return None;
        }
        let message = if !needed.contains(&id.recipe) {
            format!("fact {fact:?}: this recipe does not need {:?} (add it to `needs`)", id.recipe.as_str())
        } else if !recipes.get(&id.recipe)?.file.facts.iter().any(|declared| declared.name == id.step) {
            format!("fact {fact:?}: recipe {:?} has no such fact", id.recipe.as_str())
        } else {
            return None;
        };
        Some(Problem::at(&place, &recipe.texts[RECIPE_FILE], fact, message))
    };
    facts.filter_map(wrong).collect()
}
