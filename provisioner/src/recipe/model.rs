//! `recipe.yaml`, as it is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::RecipeName;
use crate::quantity::{Cpu, Memory};
use crate::spec::Role;

/// A recipe file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeFile {
    /// Must be the folder's name.
    pub recipe: RecipeName,
    /// One sentence for `recipe list`.
    pub description: String,
    /// Recipes whose steps run before this one's on the same machine.
    #[serde(default)]
    pub needs: Vec<RecipeName>,
    /// Typed values that a template or cluster file may set.
    #[serde(default)]
    pub inputs: BTreeMap<String, Input>,
    /// Files and container images that the steps use.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// What is done, in order.
    #[serde(default)]
    pub steps: Vec<StepFile>,
    /// What a front-end can be asked.
    #[serde(default)]
    pub facts: Vec<FactFile>,
    /// Scripts run on the front-end about a node.
    #[serde(default)]
    pub hooks: Hooks,
    /// What this recipe's software takes from a node before pods get any: shape − reservations = allocatable.
    #[serde(default)]
    pub reservations: Reservations,
    /// The smallest machine of a role that this recipe's software works on. A smaller one is a warning.
    #[serde(default)]
    pub least: BTreeMap<Role, Least>,
}

/// The type of an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What kind of value.
    #[serde(rename = "type")]
    pub kind: InputKind,
    /// Taken when nobody says otherwise; without one the input is required.
    #[serde(default)]
    pub default: Option<serde_json::Value>,
    /// For `recipe show` and errors.
    pub description: String,
    /// A regular expression that the whole text matches (`type: string` only).
    #[serde(default)]
    pub pattern: Option<String>,
}

/// Kinds of input values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// `10.244.0.0/16`.
    Cidr,
    /// A list of texts.
    List,
    /// A map of texts.
    Map,
}

/// A file or image that steps use, pinned by hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// How steps and the bundle call it: `kubelet`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `registry.k8s.io/pause:3.10.2`: this artifact is a container image (an OCI archive in a bundle).
    #[serde(default)]
    pub image: Option<String>,
    /// The image's digest, where it is known.
    #[serde(default)]
    pub digest: Option<String>,
    /// It is a program of continuum's own, and lies beside the one that runs.
    #[serde(default)]
    pub own: bool,
    /// Upstream's file by architecture (`amd64`, `arm64`); empty for images and for continuum's own.
    #[serde(default)]
    pub files: BTreeMap<String, Upstream>,
}

/// A file as upstream publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Where.
    pub url: String,
    /// sha256 of what the URL gives.
    pub sha256: String,
    /// Path inside, if what the URL gives is a `.tar.gz` and only one file of it is wanted.
    #[serde(default)]
    pub member: Option<String>,
}

/// One step as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFile {
    /// Its name within the recipe.
    pub name: String,
    /// The roles that it is for; both if empty.
    #[serde(default)]
    pub on: Vec<Role>,
    /// Whether it depends on artifacts and inputs alone (`image`: may be done once and baked into an image)
    /// or on the cluster (`node`).
    #[serde(default)]
    pub stage: Stage,
    /// sh or a file of the folder (`check.sh`): exit 0 = done already, the step changes nothing.
    pub check: Script,
    /// sh or a file of the folder: does it.
    pub run: Script,
    /// Artifacts whose paths the scripts use.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Facts (`FACT` of this recipe or `RECIPE/FACT`) that are put beside the script as files.
    #[serde(default)]
    pub facts: Vec<String>,
    /// Files of the folder that are rendered (`*.j2`) or copied beside the script.
    #[serde(default)]
    pub files: Vec<String>,
    /// humantime; 10 minutes if nothing is said.
    #[serde(default)]
    pub timeout: Option<String>,
}

impl Script {
    /// The file of the recipe's folder that has the script; `None`: the text is the script.
    pub fn file(&self) -> Option<&str> {
        (self.0.ends_with(".sh") && !self.0.contains(char::is_whitespace)).then_some(self.0.as_str())
    }
}

impl StepFile {
    /// Whether the step is for machines of this role.
    pub fn is_for(&self, role: Role) -> bool {
        self.on.is_empty() || self.on.contains(&role)
    }
}

/// When a step can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before the cluster is known.
    Image,
    /// On the machine itself.
    #[default]
    Node,
}

/// A script: a file of the recipe's folder if it ends in `.sh` and has no space, else sh itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Script(pub String);

/// Something that a front-end can be asked once a step is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactFile {
    /// Its name within the recipe.
    pub name: String,
    /// Prints the fact on stdout.
    pub run: Script,
    /// The step (of this recipe, on a front-end) that must be done first.
    pub after: String,
    /// How long an answer may be used again (humantime); asked anew each time if nothing is said.
    #[serde(default)]
    pub keep: Option<String>,
}

/// Scripts run on a front-end; `$1` is the node's name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Prints the cluster's nodes as a JSON list of `{"name", "ready", "reason", "boot"}`; `boot` is the id of the boot
    /// that the node last reported from.
    #[serde(default)]
    pub nodes: Option<Script>,
    /// Moves the pods away from node `$1`; exit 0 when it is empty.
    #[serde(default)]
    pub drain: Option<Script>,
    /// Lets node `$1` take work again: its drain is called off.
    #[serde(default)]
    pub uncordon: Option<Script>,
    /// Forgets node `$1`, whose machine is gone.
    #[serde(default)]
    pub forget: Option<Script>,
    /// Prints a kubeconfig for the operator.
    #[serde(default)]
    pub kubeconfig: Option<Script>,
    /// Ends when the cluster as a whole is usable (for example: DNS answers).
    #[serde(default)]
    pub settled: Option<Script>,
    /// Imports the container image archive at path `$1` (on every machine).
    #[serde(default)]
    pub load_image: Option<Script>,
    /// Run last when the `image` stage is baked into an image: stops services, moves data to where an image keeps it.
    #[serde(default)]
    pub bake: Option<Script>,
    /// Run on a front-end whenever the daemon's configuration may have changed: puts `config.json` and `token` of
    /// `$CONTINUUM_FILES` in place, and starts the daemon or lets it read them. `$1` is a ledger's id: its object is made if
    /// this is the first time.
    #[serde(default)]
    pub daemon: Option<Script>,
}

/// The smallest machine that software works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Least {
    /// Processors.
    #[serde(default)]
    pub cpu: Option<Cpu>,
    /// Memory.
    #[serde(default)]
    pub memory: Option<Memory>,
}

/// What software takes from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservations {
    /// Processor time.
    #[serde(default)]
    pub cpu: Option<Cpu>,
    /// Memory.
    #[serde(default)]
    pub memory: Option<Memory>,
}
