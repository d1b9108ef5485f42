//! The only file that names minijinja: a template and values become a script or a file.
//!
//! Invariants: a name that is not there is an error, never an empty text; every value is written in the
//! notation of the file ([`Mode`]), and nothing in a template can switch that off; a template ends (fuel);
//! an error has file and line and never a value.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// POSIX sh: texts always between single quotes, a list as its quoted elements; so `{{ x }}` stands bare,
    /// never inside quotes.
    Shell,
    /// JSON, which YAML and (for texts, numbers and lists) TOML understand: `{{ x }}` is a whole value.
    Json,
    /// Texts as they are, if they have no control character: unit files and the like, where there is no quoting.
    Plain,
}

impl Mode {
    /// The mode of a file by its name; `.j2` at the end does not count.
    pub fn of(file: &str) -> Self {
        let name = file.strip_suffix(".j2").unwrap_or(file);
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("sh") => Self::Shell,
            Some("yaml" | "yml" | "json" | "toml" | "conflist") => Self::Json,
            _ => Self::Plain,
        }
    }
}

/// A template does not render.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {why}")]
pub struct TemplateError {
    /// The template's file.
    pub file: String,
    /// Line in it, from 1.
    pub line: usize,
    /// What is wrong, without values.
    pub why: String,
}

/// Instructions that one template may take: ten thousand times what the largest of ours needs would still be
/// well below a second.
const FUEL: u64 = 200_000;
/// Loops and macros inside each other.
const DEPTH: usize = 64;

/// Renders `source`, called `file` in errors, with the members of `values` as its names.
pub fn render(
    file: &str,
    source: &str,
    mode: Mode,
    values: &serde_json::Value,
) -> Result<String, TemplateError> {
    let fail = |error: Error| TemplateError {
        file: file.to_owned(),
        line: error.line().unwrap_or(1),
        why: explain(&error),
    };
    let environment = environment(mode).map_err(fail)?;
    let template = environment.template_from_named_str(file, source).map_err(fail)?;
    template.render(Value::from(minijinja::value::Serde(values))).map_err(fail)
}

fn environment(mode: Mode) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    // `${#name}` and `${name#prefix}` are sh: the usual `{#` would begin a comment there.
    let syntax =
        SyntaxConfig::builder().comment_delimiters("{##", "##}").keep_trailing_newline(true).build()?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Errors know their place in the source only in this mode. Its dump of values is in a format that is not used here.
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH);
    // The formatter alone decides how a value is written. It ignores the mark of `safe` and of captured blocks;
    // the filters that set it are taken away so that nobody believes in them.
    for filter in ["safe", "escape", "e", "tojson"] {
        environment.remove_filter(filter);
    }
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(move |out, state, value| write(mode, out, state, value));
    Ok(environment)
}

fn write(mode: Mode, out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    let text = match mode {
        Mode::Shell => shell(value)?,
        Mode::Json => json(value)?,
        Mode::Plain => plain(value)?,
    };
    out.write_str(&text).map_err(Error::from)
}

fn refuse(what: &str) -> Error {
    Error::new(ErrorKind::BadSerialization, what.to_owned())
}

/// A value as words of sh.
fn shell(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String => quote(value.as_str().unwrap_or_default()),
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Number => Ok(value.to_string()),
        ValueKind::Seq => {
            let words: Result<Vec<_>, _> = value.try_iter()?.map(|word| shell(&word)).collect();
            Ok(words?.join(" "))
        }
        kind => Err(refuse(&format!("a {kind} cannot be a word of sh"))),
    }
}

/// A text between single quotes.
fn quote(text: &str) -> Result<String, Error> {
    if text.contains('\0') {
        return Err(refuse("a text with a zero byte cannot be a word of sh"));
    }
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

fn json(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "no value".to_owned()));
    }
    serde_json::to_string(value).map_err(|_| refuse("the value has no JSON form"))
}

fn plain(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            match text.chars().any(char::is_control) {
                true => Err(refuse("a text with a line break or control character does not fit here")),
                false => Ok(text.to_owned()),
            }
        }
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Number => Ok(value.to_string()),
        kind => Err(refuse(&format!("a {kind} does not fit here"))),
    }
}

/// The engine's words where they are about the template; where they could hold a value, the kind alone.
fn explain(error: &Error) -> String {
    use ErrorKind as K;
    if error.kind() == K::OutOfFuel {
        return format!("takes more than {FUEL} steps to render: is there a loop that is far too long?");
    }
    let kind = K::to_string(&error.kind());
    let about_names = matches!(
        error.kind(),
        K::SyntaxError
            | K::UndefinedError
            | K::UnknownFilter
            | K::UnknownFunction
            | K::UnknownTest
            | K::UnknownMethod
            | K::BadSerialization
    );
    let source = error.range().zip(error.template_source()).and_then(|(range, text)| text.get(range));
    let detail = match (error.kind(), error.detail(), source) {
        (K::UndefinedError, None, Some(name)) => format!("`{name}` is undefined"),
        (_, Some(detail), _) if about_names => detail.to_owned(),
        _ => return kind,
    };
    match detail.contains("artifact.") {
        true => format!("{kind}: {detail} (a step has to name the artifacts that it uses)"),
        false => format!("{kind}: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> serde_json::Value {
        json!({"name": "o'neil; rm -rf /", "many": ["a b", "$c"], "n": 3, "yes": true,
               "map": {"k": "v"}, "none": null, "evil": "x\n- evil: true", "secret": "hunter2"})
    }

    #[test]
    fn values_are_written_in_the_notation_of_the_file() {
        let cases = [
            ("x.sh", "echo {{ name }}", r"echo 'o'\''neil; rm -rf /'"),
            ("x.sh", "for i in {{ many }}; do :; done", "for i in 'a b' '$c'; do :; done"),
            ("x.sh", "{{ n }} {{ yes }} {{ 'a' ~ n }}", "3 true 'a3'"),
            ("x.sh", "{% autoescape false %}{{ many[1] }}{% endautoescape %}", "'$c'"),
            ("x.sh", "{% set x %}$(id){% endset %}{{ x }}", "'$(id)'"),
            ("x.sh", "n=${#1} {## a comment ##}\n", "n=${#1} \n"),
            ("x.yaml.j2", "a: {{ evil }}", r#"a: "x\n- evil: true""#),
            ("x.yaml.j2", "a: {{ map }} {{ none }}", r#"a: {"k":"v"} null"#),
            ("x.service.j2", "A={{ n }} {{ many[0] }}", "A=3 a b"),
        ];
        for (file, source, wanted) in cases {
            assert_eq!(render(file, source, Mode::of(file), &values()).as_deref(), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn errors_have_a_place_and_no_value() {
        let cases = [
            ("x.sh", "a\n{{ nmae }}", "x.sh:2: undefined value: `nmae` is undefined"),
            ("x.sh", "{{ map.x }}", "x.sh:1: undefined value: `map.x` is undefined"),
            ("x.yaml.j2", "{{ map.x }}", "x.yaml.j2:1: undefined value: `map.x` is undefined"),
            ("x.sh", "{{ map }}", "x.sh:1: could not serialize to value: a map cannot be a word of sh"),
            ("x.sh", "{{ none }}", "x.sh:1: could not serialize to value: a none cannot be a word of sh"),
            (
                "x.service.j2",
                "{{ evil }}",
                "x.service.j2:1: could not serialize to value: \
                 a text with a line break or control character does not fit here",
            ),
            ("x.sh", "{{ name|safe }}", "x.sh:1: unknown filter: filter safe is unknown"),
            ("x.sh", "{{ secret|int }}", "x.sh:1: invalid operation"),
            (
                "x.sh",
                "{{ 'x' * 100000000 }}",
                "x.sh:1: takes more than 200000 steps to render: is there a loop that is far too long?",
            ),
            ("x.sh", "{% if %}", "x.sh:1: syntax error: unexpected end of block"),
        ];
        for (file, source, wanted) in cases {
            let error = render(file, source, Mode::of(file), &values()).unwrap_err().to_string();
            assert_eq!(error, wanted, "{source}");
            assert!(!error.contains("hunter2"));
        }
    }
}
