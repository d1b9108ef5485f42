//! Machines that are smaller than their recipes say they must be.

use std::fmt;

use super::Cookbook;
use super::model::Least;
use crate::names::{PoolName, RecipeName};
use crate::spec::{Role, Shape, Spec};

/// A pool's machines are smaller than one of its recipes asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooSmall {
    /// The pool.
    pub pool: PoolName,
    role: Role,
    shape: Shape,
    recipe: RecipeName,
    least: Least,
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.role == Role::FrontEnd { "front-end" } else { "worker" };
        write!(f, "a {role} of {} is small: recipe {} asks for ", self.shape.name, self.recipe)?;
        match (self.least.cpu, self.least.memory) {
            (Some(cpu), Some(memory)) => write!(f, "{cpu} cpu and {memory}"),
            (Some(cpu), None) => write!(f, "{cpu} cpu"),
            (None, Some(memory)) => write!(f, "{memory}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}

impl Cookbook {
    /// Every pool with a shape that is smaller than a recipe of it asks for, needed recipes included.
    pub fn too_small(&self, spec: &Spec) -> Vec<TooSmall> {
        let mut found = Vec::new();
        for (name, pool) in &spec.pools {
            // What is wrong with the recipes themselves is said elsewhere.
            for recipe in self.order(&pool.recipes).unwrap_or_default() {
                let Some(least) = recipe.file.least.get(&pool.role) else { continue };
                let lacks = |shape: &&Shape| {
                    least.cpu.is_some_and(|cpu| shape.cpu < cpu)
                        || least.memory.is_some_and(|memory| shape.memory < memory)
                };
                found.extend(pool.shapes.iter().filter(lacks).map(|shape| TooSmall {
                    pool: name.clone(),
                    role: pool.role,
                    shape: shape.clone(),
                    recipe: recipe.name().clone(),
                    least: *least,
                }));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::quantity::{Cpu, Memory};
    use crate::recipe::{Recipe, samples};

    fn book(least: &str) -> Result<Cookbook, String> {
        let recipe = |name: &str, more: &str| {
            let text = format!("recipe: {name}\ndescription: d\n{more}");
            let texts = BTreeMap::from([("recipe.yaml".to_owned(), text)]);
            Recipe::parse(&format!("recipes/{name}"), texts).map_err(|problems| problems[0].to_string())
        };
        Ok(Cookbook::new([recipe("below", least)?, recipe("above", "needs: [below]\n")?]).unwrap())
    }

    fn small(least: &str, role: Role, shape: (u64, u64)) -> Vec<String> {
        let book = book(least).unwrap();
        let mut spec = samples::spec(&[RecipeName::new("above").unwrap()], &book).unwrap();
        spec.pools.retain(|_, pool| pool.role == role);
        for pool in spec.pools.values_mut() {
            pool.shapes = vec![Shape::of(Cpu::cores(shape.0), Memory::gib(shape.1))];
        }
        book.too_small(&spec).iter().map(|small| format!("{}: {small}", small.pool)).collect()
    }

    #[test]
    fn a_role_has_a_least_size_that_its_needed_recipes_say() {
        let least = "least: {front-end: {cpu: 2, memory: 3Gi}, worker: {memory: 2Gi}}\n";
        let asks = |shape: &str| {
            vec![format!("front-end: a front-end of {shape} is small: recipe below asks for 2 cpu and 3Gi")]
        };
        assert_eq!(small(least, Role::FrontEnd, (2, 3)), [""; 0]);
        assert_eq!(small(least, Role::FrontEnd, (1, 8)), asks("1x8Gi"));
        assert_eq!(small(least, Role::FrontEnd, (4, 2)), asks("4x2Gi"));
        assert_eq!(small(least, Role::Worker, (1, 2)), [""; 0]);
        let worker = "workers: a worker of 1x1Gi is small: recipe below asks for 2Gi";
        assert_eq!(small(least, Role::Worker, (1, 1)), [worker]);
        assert_eq!(small("", Role::FrontEnd, (1, 1)), [""; 0]);
    }

    #[test]
    fn the_key_is_checked() {
        let cases = [
            ("least: {head: {cpu: 2}}\n", "head"),
            ("least: {worker: {cpus: 2}}\n", "cpus"),
            ("least: {worker: {memory: much}}\n", "much"),
        ];
        for (text, word) in cases {
            let error = book(text).unwrap_err();
            assert!(error.starts_with("recipes/below/recipe.yaml:3: ") && error.contains(word), "{error}");
        }
    }
}
