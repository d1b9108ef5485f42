//! A [`Spec`] and a [`Cookbook`] become the steps of every pool, and the scripts of every machine.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretSlice;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::job::{self, PRELUDE, hex, part, refused};
use super::model::{Artifact, Hooks, Script, Stage, StepFile};
use super::parse::RECIPE_FILE;
use super::values::{self, Inputs, PoolValues};
use super::{Cookbook, Fact, Hook, Host, Problem, Recipe, RenderError, Scripts, inputs};
use crate::names::{PoolName, RecipeName, StepId};
use crate::provider;
use crate::quantity::{Cpu, Memory};
use crate::remote::{Blob, Job};
use crate::spec::{Pool, Role, Spec, Step};

/// Where blobs are on a machine (see [`Blob`]).
const BLOB_FOLDER: &str = "/var/lib/continuum/blobs";

/// The artifacts at hand, for one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blobs {
    /// `amd64`, `arm64`.
    pub arch: String,
    /// By artifact name.
    pub files: BTreeMap<String, Blob>,
}

/// The recipes of one cluster: knows inputs, pools and artifacts, and renders jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    recipes: BTreeMap<RecipeName, Recipe>,
    inputs: Inputs,
    pools: BTreeMap<PoolName, PoolValues>,
    blobs: Blobs,
    provider: &'static str,
    internet: bool,
}

/// What is needed to prepare an image for machines.
#[derive(Debug, Clone, PartialEq)]
pub struct Bakery {
    /// Renders the steps and the `bake` hooks.
    pub resolved: Resolved,
    /// What is done on the machine that the image is made of.
    pub steps: Vec<Step>,
    /// The texts of the `bake` hooks.
    pub hooks: Vec<String>,
}

impl Cookbook {
    /// Fills the steps of every pool and gives what renders them, or every problem at once: unknown recipes,
    /// circles, inputs that are missing, unknown or of the wrong type, artifacts that are nowhere.
    pub fn resolve(&self, spec: &mut Spec, blobs: Blobs) -> Result<Resolved, Vec<Problem>> {
        let mut problems = vec![];
        let mut pools = BTreeMap::new();
        for (name, pool) in &spec.pools {
            match self.order(&pool.recipes) {
                Ok(recipes) => drop(pools.insert(name.clone(), pool_values(pool, &recipes))),
                Err(found) => problems.extend(found),
            }
        }
        let used: BTreeSet<_> = pools.values().flat_map(|pool| pool.recipes.iter().cloned()).collect();
        let recipes: BTreeMap<_, _> =
            used.iter().filter_map(|name| Some((name.clone(), self.get(name)?.clone()))).collect();
        let inputs = self.complete_inputs(spec, &used, &mut problems);
        for (recipe, artifact) in needed_artifacts(&recipes, &pools) {
            if !blobs.files.contains_key(&artifact.name) {
                problems.push(missing(recipe, artifact, &blobs.arch));
            }
        }
        problems.sort();
        problems.dedup();
        if !problems.is_empty() {
            return Err(problems);
        }
        let provider = match spec.provider {
            provider::Config::Sandbox(_) | provider::Config::SandboxGateway(_) => "sandbox",
        };
        let resolved = Resolved { recipes, inputs, pools, blobs, provider, internet: spec.network.internet };
        for (name, pool) in &mut spec.pools {
            pool.steps = resolved.steps(name);
        }
        Ok(resolved)
    }

    fn complete_inputs(
        &self,
        spec: &Spec,
        used: &BTreeSet<RecipeName>,
        problems: &mut Vec<Problem>,
    ) -> Inputs {
        for name in spec.inputs.keys().filter(|name| !used.contains(*name)) {
            let message = format!("inputs for {:?}, which no pool uses", name.as_str());
            problems.push(Problem::new("recipes", message));
        }
        let mut complete = Inputs::new();
        for recipe in used.iter().filter_map(|name| self.get(name)) {
            let given = spec.inputs.get(recipe.name());
            let declared = &recipe.file.inputs;
            let say = |name: &str, why: String| {
                Problem::new(format!("recipe {}", recipe.name()), format!("input {name:?} {why}"))
            };
            for name in given.into_iter().flat_map(BTreeMap::keys).filter(|n| !declared.contains_key(*n)) {
                let known: Vec<_> = declared.keys().map(String::as_str).collect();
                problems.push(say(name, format!("is not known: there are {}", known.join(", "))));
            }
            let mut own = BTreeMap::new();
            for (name, input) in declared {
                match given.and_then(|given| given.get(name)).or(input.default.as_ref()) {
                    None => problems.push(say(name, format!("is missing: {}", input.description))),
                    Some(value) => {
                        if let Err(why) = inputs::value(input, value) {
                            problems.push(say(name, why));
                        }
                        own.insert(name.clone(), value.clone());
                    }
                }
            }
            complete.insert(recipe.name().clone(), own);
        }
        complete
    }
}

fn pool_values(pool: &Pool, recipes: &[&Recipe]) -> PoolValues {
    let reservations = recipes.iter().map(|recipe| recipe.file.reservations);
    PoolValues {
        role: pool.role,
        recipes: recipes.iter().map(|recipe| recipe.name().clone()).collect(),
        labels: pool.labels.clone(),
        taints: pool.taints.clone(),
        cpu_millis: reservations.clone().filter_map(|r| r.cpu).map(|cpu| cpu.millis).sum(),
        memory_bytes: reservations.filter_map(|r| r.memory).map(|memory| memory.bytes).sum(),
    }
}

/// The artifacts that steps of some pool use, with their recipes.
fn needed_artifacts<'a>(
    recipes: &'a BTreeMap<RecipeName, Recipe>,
    pools: &'a BTreeMap<PoolName, PoolValues>,
) -> impl Iterator<Item = (&'a Recipe, &'a Artifact)> {
    pools.values().flat_map(|pool| pool.recipes.iter().map(move |name| (pool.role, name))).flat_map(
        move |(role, name)| {
            let recipe = recipes.get(name).into_iter();
            recipe.flat_map(move |recipe| {
                let steps = recipe.file.steps.iter().filter(move |step| step.is_for(role));
                let declared = |name: &String| recipe.file.artifacts.iter().find(|a| a.name == *name);
                steps.flat_map(|step| &step.artifacts).filter_map(declared).map(move |a| (recipe, a))
            })
        },
    )
}

fn missing(recipe: &Recipe, artifact: &Artifact, arch: &str) -> Problem {
    let what = artifact.image.as_deref().map_or_else(
        || format!("{} {}", artifact.name, artifact.version),
        |image| format!("{} ({image})", artifact.name),
    );
    let message = match artifact.own {
        true => format!("the program {} is not beside continuum: install both from one build", artifact.name),
        false => {
            format!("artifact {what} for {arch} is in no bundle (make one with `continuum bundle create`)")
        }
    };
    let place = format!("{}/{RECIPE_FILE}", recipe.folder);
    Problem::with(&place, recipe.place_of_artifact(&artifact.name).as_ref(), message)
}

impl Resolved {
    /// The recipes of the cluster: folder, then file and text.
    pub fn texts(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.recipes.values().map(|recipe| (recipe.folder.clone(), recipe.texts.clone())).collect()
    }

    /// What the recipes of each pool keep from pods.
    pub fn reserved(&self) -> BTreeMap<PoolName, (Cpu, Memory)> {
        let of = |pool: &PoolValues| (Cpu { millis: pool.cpu_millis }, Memory { bytes: pool.memory_bytes });
        self.pools.iter().map(|(name, pool)| (name.clone(), of(pool))).collect()
    }

    /// The artifacts at hand.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The steps of a pool, in order.
    fn steps(&self, pool: &PoolName) -> Vec<Step> {
        let Some(pool) = self.pools.get(pool) else { return vec![] };
        let recipes = pool.recipes.iter().filter_map(|name| self.recipes.get(name));
        recipes
            .flat_map(|recipe| {
                let steps = recipe.file.steps.iter().filter(|step| step.is_for(pool.role));
                steps.map(|step| self.step(recipe, step))
            })
            .collect()
    }

    fn step(&self, recipe: &Recipe, step: &StepFile) -> Step {
        let facts: Vec<_> = step.facts.iter().filter_map(|fact| recipe.fact_id(fact).ok()).collect();
        let after = facts.iter().filter_map(|fact| {
            let after =
                &self.recipes.get(&fact.recipe)?.file.facts.iter().find(|f| f.name == fact.step)?.after;
            Some(StepId { recipe: fact.recipe.clone(), step: after.clone() })
        });
        let after = after.collect::<BTreeSet<_>>().into_iter().collect();
        let id = StepId { recipe: recipe.name().clone(), step: step.name.clone() };
        Step { id, after, facts, hash: self.hash(recipe, step) }
    }

    /// Over everything that a step is made of and that is known before there are machines.
    fn hash(&self, recipe: &Recipe, step: &StepFile) -> String {
        let mut hash = Sha256::new();
        part(&mut hash, PRELUDE.as_bytes());
        for script in [&step.check, &step.run] {
            part(&mut hash, recipe.script(script, "").1.as_bytes());
        }
        for name in &step.files {
            part(&mut hash, name.as_bytes());
            part(&mut hash, recipe.texts.get(name).map_or(&[], |text| text.as_bytes()));
        }
        for blob in self.step_blobs(step) {
            part(&mut hash, blob.sha256.as_bytes());
        }
        // Of the recipes below, the inputs count: scripts use them. Of those above they cannot.
        let needs = recipe.file.needs.iter().chain([recipe.name()]);
        for (name, inputs) in needs.filter_map(|name| self.inputs.get_key_value(name)) {
            part(&mut hash, name.as_str().as_bytes());
            part(&mut hash, serde_json::to_string(inputs).unwrap_or_default().as_bytes());
        }
        hex(hash)
    }

    fn step_blobs<'a>(&'a self, step: &'a StepFile) -> impl Iterator<Item = &'a Blob> {
        step.artifacts.iter().filter_map(|name| self.blobs.files.get(name))
    }

    /// The values for one script of a recipe. A step of stage image sees nothing of a machine.
    fn values(&self, recipe: &Recipe, host: &Host, step: Option<&StepFile>) -> Result<Value, String> {
        let pool = self.pools.get(&host.pool).ok_or_else(|| format!("there is no pool {}", host.pool))?;
        let artifacts = step.map_or(&[][..], |step| &step.artifacts);
        let paths: Vec<_> = artifacts
            .iter()
            .filter_map(|name| {
                Some((name.clone(), format!("{BLOB_FOLDER}/{}", self.blobs.files.get(name)?.sha256)))
            })
            .collect();
        let mut inputs = self.inputs.clone();
        inputs.retain(|name, _| pool.recipes.contains(name));
        let mut values = values::image(recipe, &inputs, &self.blobs.arch, &paths);
        if step.is_none_or(|step| step.stage == Stage::Node) {
            values.extend(values::node(host, pool, self.provider, self.internet));
        }
        Ok(Value::Object(values))
    }

    fn recipe(&self, id: &StepId) -> Result<&Recipe, RenderError> {
        let why = || RenderError { what: id.to_string(), why: "no such recipe in this cluster".into() };
        self.recipes.get(&id.recipe).ok_or_else(why)
    }

    /// The steps of a pool that can be baked into an image, in order.
    pub fn image_steps(&self, pool: &PoolName) -> Vec<Step> {
        let is_image = |step: &Step| {
            let recipe = self.recipes.get(&step.id.recipe);
            recipe
                .and_then(|recipe| recipe.step(&step.id.step))
                .is_some_and(|step| step.stage == Stage::Image)
        };
        self.steps(pool).into_iter().filter(is_image).collect()
    }

    /// One pool named `bakery` in place of these: the recipes of all of them, and every step of stage image that one
    /// of them has, in order. What its machine is after them, an image for all of these pools can be made of.
    pub fn bakery(&self, bakery: &PoolName, pools: &[PoolName]) -> Bakery {
        let mut recipes: Vec<RecipeName> = vec![];
        let mut wanted = BTreeSet::new();
        for name in pools {
            // What a recipe needs comes before it in its own pool's list, so also in the joined one.
            let own = self.pools.get(name).into_iter().flat_map(|pool| &pool.recipes);
            let fresh: Vec<_> = own.filter(|recipe| !recipes.contains(recipe)).cloned().collect();
            recipes.extend(fresh);
            wanted.extend(self.image_steps(name).into_iter().map(|step| step.id));
        }
        let known = || recipes.iter().filter_map(|name| self.recipes.get(name));
        let all = known().flat_map(|recipe| recipe.file.steps.iter().map(|step| self.step(recipe, step)));
        let steps = all.filter(|step| wanted.contains(&step.id)).collect();
        let hooks = known().filter_map(|recipe| {
            let hook = recipe.file.hooks.bake.as_ref()?;
            Some(recipe.script(hook, "").1.to_owned())
        });
        let hooks = hooks.collect();
        let pool = PoolValues {
            role: Role::Worker,
            recipes,
            labels: BTreeMap::new(),
            taints: vec![],
            cpu_millis: 0,
            memory_bytes: 0,
        };
        let resolved = Self { pools: BTreeMap::from([(bakery.clone(), pool)]), ..self.clone() };
        Bakery { resolved, steps, hooks }
    }
}

impl Scripts for Resolved {
    fn job(
        &self,
        host: &Host,
        step: &StepId,
        facts: BTreeMap<StepId, SecretSlice<u8>>,
    ) -> Result<Job, RenderError> {
        let recipe = self.recipe(step)?;
        let fail = |why: String| RenderError { what: step.to_string(), why };
        let file = recipe.step(&step.step).ok_or_else(|| fail("no such step".into()))?;
        for fact in file.facts.iter().filter_map(|fact| recipe.fact_id(fact).ok()) {
            if !facts.contains_key(&fact) {
                return Err(fail(format!("fact {fact} is not at hand")));
            }
        }
        let values = self.values(recipe, host, Some(file)).map_err(fail)?;
        let rendered = job::step(recipe, file, &host.name, &values).map_err(|error| refused(step, &error))?;
        let blobs = self.step_blobs(file).cloned().collect();
        Ok(job::job(step, rendered, blobs, facts, file.timeout.as_deref()))
    }

    fn fact(&self, front_end: &Host, fact: &StepId) -> Result<Fact, RenderError> {
        let recipe = self.recipe(fact)?;
        let fail = |why: String| RenderError { what: fact.to_string(), why };
        let file = recipe.file.facts.iter().find(|file| file.name == fact.step);
        let file = file.ok_or_else(|| fail("no such fact".into()))?;
        let values = self.values(recipe, front_end, None).map_err(fail)?;
        let script = job::question(recipe, &file.run, &format!("fact {}", file.name), &values)
            .map_err(|error| refused(fact, &error))?;
        Ok(Fact { script, keep: job::duration(file.keep.as_deref()) })
    }

    fn hook(&self, on: &Host, hook: Hook) -> Result<Vec<String>, RenderError> {
        let recipes = self.pools.get(&on.pool).into_iter().flat_map(|pool| &pool.recipes);
        let mut scripts = vec![];
        for recipe in recipes.filter_map(|name| self.recipes.get(name)) {
            let (key, script) = pick(&recipe.file.hooks, hook);
            let Some(script) = script else { continue };
            let what = format!("{}, hook {key}", recipe.name());
            let values =
                self.values(recipe, on, None).map_err(|why| RenderError { what: what.clone(), why })?;
            let text = job::question(recipe, script, &format!("hook {key}"), &values);
            scripts.push(text.map_err(|error| refused(&what, &error))?);
        }
        Ok(scripts)
    }
}

fn pick(hooks: &Hooks, hook: Hook) -> (&'static str, Option<&Script>) {
    let (key, script) = match hook {
        Hook::Nodes => ("nodes", &hooks.nodes),
        Hook::Drain => ("drain", &hooks.drain),
        Hook::Uncordon => ("uncordon", &hooks.uncordon),
        Hook::Forget => ("forget", &hooks.forget),
        Hook::Kubeconfig => ("kubeconfig", &hooks.kubeconfig),
        Hook::Settled => ("settled", &hooks.settled),
        Hook::LoadImage => ("load_image", &hooks.load_image),
        Hook::Bake => ("bake", &hooks.bake),
        Hook::Daemon => ("daemon", &hooks.daemon),
    };
    (key, script.as_ref())
}
