//! An image that has the steps of stage image in it: made once for a set of recipes, booted by every new machine.
//!
//! ```text
//! recipes' image steps + bake hooks + base ─► a name (a hash over all of it) ─► is it there?
//!      yes: new rows boot it, and have these steps behind them from birth
//!      no:  one machine of a cluster of its own runs them (make.rs), and its disk becomes the image
//! ```
//! Invariants: the name says all that is in the image, so an image is never changed and never stale; without one
//! everything works as before, only slower; only new rows are concerned. Of the clouds, only the sandbox can do it yet.

mod make;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secrecy::SecretSlice;
use sha2::{Digest, Sha256};

use super::input::Input;
use crate::names::{ClusterName, ImageName, NameError, PoolName, StepId};
use crate::provider::sandbox::tree;
use crate::provider::{self, sandbox};
use crate::recipe::{Fact, Hook, Host, RenderError, Resolved, Scripts};
use crate::remote::Job;
use crate::spec::{Baked, Network, Pool, Role, Shape, Spec, Step};

pub use make::{BakeError, clear, look, make};

/// The pool of the one machine.
const POOL: &str = "image";
/// 64 bits of the hash: names are few.
const DIGITS: usize = 16;

/// An image that a cluster's machines could boot.
#[derive(Debug, Clone)]
pub struct Bake {
    /// Its name as machines boot it.
    pub image: ImageName,
    layer: String,
    config: sandbox::Config,
    /// What is asked of the engine to make it.
    spec: Spec,
    scripts: Arc<BakeScripts>,
    /// What it has of each pool's steps.
    pools: BTreeMap<PoolName, BTreeSet<StepId>>,
}

impl Bake {
    /// The image for the pools that boot the plain base. `None` where there is nothing to put in, or no way to.
    pub fn of(input: &Input) -> Result<Option<Self>, NameError> {
        let Spec { provider: provider::Config::Sandbox(config), pools, .. } = &input.spec else {
            return Ok(None);
        };
        let recipes = &input.scripts.recipes;
        let plain = pools.iter().filter(|(_, pool)| pool.image.as_str() == tree::BASE);
        let brings = plain.map(|(name, _)| (name.clone(), ids(&recipes.image_steps(name))));
        let brings: BTreeMap<_, _> = brings.filter(|(_, steps)| !steps.is_empty()).collect();
        if brings.is_empty() {
            return Ok(None);
        }
        let names: Vec<_> = brings.keys().cloned().collect();
        let own = PoolName::new(POOL)?;
        let bakery = recipes.bakery(&own, &names);
        let digits = digits(&tree::name(), &bakery.steps, &bakery.hooks);
        let layer = format!("{}{digits}", tree::layers::PREPARED);
        // All of these pools' machines fit the cloud, so the largest of their sizes does.
        let shapes: Vec<Shape> =
            names.iter().filter_map(|name| pools[name].shapes.iter().max().cloned()).collect();
        let pool = Pool {
            role: Role::Worker,
            size: 1..=1,
            shapes: shapes.into_iter().max().into_iter().collect(),
            image: ImageName(tree::BASE.to_owned()),
            zones: Vec::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            recipes: Vec::new(),
            steps: bakery.steps,
            baked: None,
        };
        let spec = Spec {
            cluster: ClusterName::new(format!("bake-{}", &digits[..8]))?,
            provider: input.spec.provider.clone(),
            network: Network { internet: input.spec.network.internet, expose: Vec::new() },
            pools: BTreeMap::from([(own, pool)]),
            operators: Vec::new(),
            expires: None,
            inputs: BTreeMap::new(),
        };
        Ok(Some(Self {
            image: ImageName(format!("{}+{layer}", tree::BASE)),
            layer,
            config: config.clone(),
            spec,
            scripts: Arc::new(BakeScripts(bakery.resolved)),
            pools: brings,
        }))
    }

    /// Lets new machines boot it.
    pub fn serve(&self, spec: &mut Spec) {
        for (name, steps) in &self.pools {
            if let Some(pool) = spec.pools.get_mut(name) {
                pool.baked = Some(Baked { image: self.image.clone(), steps: steps.clone() });
            }
        }
    }

    /// How many steps are in it.
    pub fn steps(&self) -> usize {
        self.spec.pools.values().map(|pool| pool.steps.len()).sum()
    }
}

fn ids(steps: &[Step]) -> BTreeSet<StepId> {
    steps.iter().map(|step| step.id.clone()).collect()
}

/// Over everything that decides what is in the image.
fn digits(base: &str, steps: &[Step], hooks: &[String]) -> String {
    let steps = steps.iter().flat_map(|step| [step.id.to_string(), step.hash.clone()]);
    let mut hash = Sha256::new();
    for part in [base.to_owned()].into_iter().chain(steps).chain(hooks.iter().cloned()) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// The recipes on a machine that belongs to no cluster: their steps, and of the hooks only `bake`.
#[derive(Debug)]
struct BakeScripts(Resolved);

impl Scripts for BakeScripts {
    fn job(
        &self,
        host: &Host,
        step: &StepId,
        facts: BTreeMap<StepId, SecretSlice<u8>>,
    ) -> Result<Job, RenderError> {
        self.0.job(host, step, facts)
    }
    fn fact(&self, _: &Host, fact: &StepId) -> Result<Fact, RenderError> {
        Err(RenderError { what: fact.to_string(), why: "an image is made without a front-end to ask".into() })
    }
    fn hook(&self, on: &Host, hook: Hook) -> Result<Vec<String>, RenderError> {
        if hook == Hook::Bake { self.0.hook(on, hook) } else { Ok(Vec::new()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str, hash: &str) -> Step {
        Step { id: id.parse().unwrap(), after: Vec::new(), facts: Vec::new(), hash: hash.into() }
    }

    #[test]
    fn a_name_stands_for_exactly_what_is_in_the_image() {
        let (one, two) = (step("a/one", "h1"), step("a/two", "h2"));
        let hooks = ["tidy".to_owned()];
        let name = digits("base", &[one.clone(), two.clone()], &hooks);
        assert_eq!(name.len(), DIGITS);
        assert_eq!(name, digits("base", &[one.clone(), two.clone()], &hooks));
        let others = [
            digits("other", &[one.clone(), two.clone()], &hooks),
            digits("base", &[two.clone(), one.clone()], &hooks),
            digits("base", std::slice::from_ref(&one), &hooks),
            digits("base", &[one.clone(), step("a/two", "h3")], &hooks),
            digits("base", &[one.clone(), two.clone()], &["tidy more".to_owned()]),
            digits("base", &[one, two], &[]),
        ];
        assert!(!others.contains(&name), "{name} {others:?}");
    }
}
