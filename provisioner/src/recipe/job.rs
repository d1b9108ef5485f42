//! A step, fact or hook as one complete script.
//!
//! ```text
//! prelude (helpers) + check in a subshell -> done already: says `unchanged`, ends
//!                   + run in a subshell   -> then the check once more: a step that does not make its own
//!                                            check true would run for ever
//! ```
//! Both bodies stand in subshells of their own with `set -eu`, so `exit` in one does not skip what follows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use secrecy::SecretSlice;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::model::{Script, StepFile};
use super::{Recipe, RenderError};
use crate::names::{MachineName, StepId};
use crate::remote::{Blob, Job, JobFile};
use crate::render::{Mode, TemplateError, render};

pub(super) const PRELUDE: &str = include_str!("prelude.sh");

/// A step may take this long if it says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// sha256 in lower-case hex.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Feeds a part to a hash so that two lists of parts never collide.
pub(super) fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// A step rendered, without its facts.
pub(super) struct Rendered {
    pub(super) script: String,
    pub(super) files: Vec<(String, String)>,
}

/// Renders a script and the files of a step.
pub(super) fn step(
    recipe: &Recipe,
    step: &StepFile,
    on: &MachineName,
    values: &Value,
) -> Result<Rendered, TemplateError> {
    let what = format!("step {}", step.name);
    let check = body(recipe, &step.check, &format!("{what}, check"), values)?;
    let run = body(recipe, &step.run, &format!("{what}, run"), values)?;
    let mut files = vec![];
    for name in &step.files {
        let text = recipe.texts.get(name).map_or("", String::as_str);
        let file = match name.strip_suffix(".j2") {
            Some(short) => {
                let place = format!("{}/{name}", recipe.folder);
                (short.to_owned(), render(&place, text, Mode::of(name), values)?)
            }
            None => (name.clone(), text.to_owned()),
        };
        files.push(file);
    }
    let title = format!("{}/{} on {on}", recipe.name(), step.name);
    let script = format!(
        "#!/bin/sh\n# {title}\n{PRELUDE}\nstep_check() (\nset -eu\n{check}\n)\n\nstep_run() (\nset -eu\n{run}\n)\n\nstep\n"
    );
    Ok(Rendered { script, files })
}

/// Renders a fact or hook: its output is the answer, `$1` its subject.
pub(super) fn question(
    recipe: &Recipe,
    script: &Script,
    what: &str,
    values: &Value,
) -> Result<String, TemplateError> {
    let body = body(recipe, script, what, values)?;
    Ok(format!("#!/bin/sh\n# {}, {what}\n{PRELUDE}\n{body}\n", recipe.name()))
}

fn body(recipe: &Recipe, script: &Script, what: &str, values: &Value) -> Result<String, TemplateError> {
    let (place, text) = recipe.script(script, what);
    let text = render(&place, text, Mode::Shell, values)?;
    // A file has its own first line for editors; in here it would be a comment in the middle.
    Ok(text.strip_prefix("#!/bin/sh\n").unwrap_or(&text).trim_end().to_owned())
}

/// The job of a rendered step. Its unit is named after everything that is sent but the facts, which are new
/// each time: the same step is found again after a crash, a changed one is a new unit.
pub(super) fn job(
    id: &StepId,
    rendered: Rendered,
    blobs: Vec<Blob>,
    facts: BTreeMap<StepId, SecretSlice<u8>>,
    timeout: Option<&str>,
) -> Job {
    let mut hash = Sha256::new();
    part(&mut hash, rendered.script.as_bytes());
    for (name, text) in &rendered.files {
        part(&mut hash, name.as_bytes());
        part(&mut hash, text.as_bytes());
    }
    let unit = format!("continuum-{}-{}-{}", id.recipe, id.step, &hex(hash)[..12]);
    let own = rendered.files.into_iter().map(|(name, text)| (name, SecretSlice::from(text.into_bytes())));
    let facts = facts.into_iter().map(|(id, content)| (format!("{}.{}", id.recipe, id.step), content));
    Job {
        unit,
        script: rendered.script,
        files: own.chain(facts).map(|(name, content)| JobFile { name, content }).collect(),
        blobs,
        timeout: duration(timeout).unwrap_or(DEFAULT_TIMEOUT),
    }
}

/// A duration that was checked when the recipe was read.
pub(super) fn duration(text: Option<&str>) -> Option<Duration> {
    humantime::parse_duration(text?).ok()
}

/// A template's error as the engine knows it.
pub(super) fn refused(what: impl ToString, error: &TemplateError) -> RenderError {
    RenderError { what: what.to_string(), why: error.to_string() }
}
