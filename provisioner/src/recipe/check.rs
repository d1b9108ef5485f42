//! `recipe check`: renders everything that a recipe can render, with sample values, and lets somebody read it
//! (see [`crate::shellcheck`]).

use std::collections::BTreeMap;

use secrecy::SecretSlice;

use super::model::Script;
use super::parse::hooks;
use super::{Cookbook, Hook, Problem, Recipe, Scripts, samples};
use crate::names::{RecipeName, StepId};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many scripts were rendered.
    pub scripts: usize,
    /// Why nobody read them, if nobody did.
    pub not_read: Option<String>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// Rendered scripts by what they are: `kubernetes/init on front-end`.
pub type Texts = BTreeMap<String, String>;

/// Checks recipes together with what they need. Loading and [`Cookbook::new`] have found what they could before.
/// `read` says what is wrong with scripts, or why it cannot say.
pub fn check(
    cookbook: &Cookbook,
    which: &[RecipeName],
    read: impl FnOnce(&Texts) -> Result<Vec<Problem>, String>,
) -> Report {
    let mut report = Report { scripts: 0, not_read: None, problems: vec![] };
    let mut scripts = BTreeMap::new();
    for recipe in which.iter().filter_map(|name| cookbook.get(name)) {
        match render_all(cookbook, recipe) {
            Ok((rendered, problems)) => {
                scripts.extend(rendered);
                report.problems.extend(problems);
            }
            Err(problems) => report.problems.extend(problems),
        }
    }
    report.scripts = scripts.len();
    match read(&scripts) {
        Ok(problems) => report.problems.extend(problems),
        Err(error) => report.not_read = Some(error),
    }
    report.problems.sort();
    report.problems.dedup();
    report
}

/// Every script of the recipe by what it is, for both roles, and what does not render.
pub(super) fn render_all(
    cookbook: &Cookbook,
    recipe: &Recipe,
) -> Result<(Texts, Vec<Problem>), Vec<Problem>> {
    let own = |message: String| vec![Problem::new(&recipe.folder, message)];
    let wanted = [recipe.name().clone()];
    let mut spec = samples::spec(&wanted, cookbook).map_err(|error| own(error.to_string()))?;
    let ordered = cookbook.order(&wanted)?;
    let resolved = cookbook.resolve(&mut spec, samples::blobs(ordered.into_iter()))?;
    let mut texts = Texts::new();
    let mut problems = vec![];
    for (name, pool) in &spec.pools {
        let host = samples::host(&spec, name, pool).map_err(|error| own(error.to_string()))?;
        let mut take = |what: String, rendered: Result<String, super::RenderError>| match rendered {
            Ok(text) => drop(texts.insert(what, text)),
            Err(error) => problems.push(Problem::new(&recipe.folder, error.to_string())),
        };
        for step in pool.steps.iter().filter(|step| step.id.recipe == *recipe.name()) {
            let facts = step.facts.iter().map(|id| (id.clone(), SecretSlice::from(b"sample".to_vec())));
            let job = resolved.job(&host, &step.id, facts.collect());
            take(format!("{} on {name}", step.id), job.map(|job| job.script));
        }
        if pool.role == crate::spec::Role::FrontEnd {
            for fact in &recipe.file.facts {
                let id = StepId { recipe: recipe.name().clone(), step: fact.name.clone() };
                take(format!("{id} (fact)"), resolved.fact(&host, &id).map(|fact| fact.script));
            }
        }
        for (key, hook) in declared(recipe) {
            let scripts = resolved.hook(&host, hook);
            let own = format!("# {}, hook {key}", recipe.name());
            let mine =
                scripts.map(|all| all.into_iter().find(|text| text.contains(&own)).unwrap_or_default());
            take(format!("{}/{key} (hook) on {name}", recipe.name()), mine);
        }
    }
    problems.dedup();
    Ok((texts, problems))
}

fn declared(recipe: &Recipe) -> impl Iterator<Item = (&'static str, Hook)> {
    let hook = |(key, _): (&'static str, &Script)| {
        let hook = match key {
            "nodes" => Hook::Nodes,
            "drain" => Hook::Drain,
            "uncordon" => Hook::Uncordon,
            "forget" => Hook::Forget,
            "kubeconfig" => Hook::Kubeconfig,
            "settled" => Hook::Settled,
            "load_image" => Hook::LoadImage,
            "daemon" => Hook::Daemon,
            _ => Hook::Bake,
        };
        (key, hook)
    };
    hooks(&recipe.file.hooks).map(hook)
}
