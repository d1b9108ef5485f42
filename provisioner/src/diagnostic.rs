//! What is wrong in a file that people wrote: where, what was found, what was expected, what to write instead.
//!
//! A reader never stops at the first problem: it collects them, and [`render`] shows all of them in the order in
//! which they stand in the files. A message is lower case, has no full stop, and never shows more of a file than
//! the lines around the place.
//! ```text
//! cluster.yaml:8:5: unknown key "cuont" in inputs.workers
//!    7 |     shape: {cpu: 4, memory: 8Gi}
//!    8 |     cuont: 3
//!      |     ^^^^^ expected one of count, flavor, shape
//!   help: did you mean "count"?
//! ```

use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::json;

/// A file as it was read. Places share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// How people call it: the path that they gave.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// A piece of a [`Source`], in bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    start: usize,
    end: usize,
}

impl Place {
    /// The bytes `start..end`; clamped to the text and to whole characters.
    pub fn new(source: &Arc<Source>, start: usize, end: usize) -> Self {
        let floor = |at: usize| {
            let at = at.min(source.text.len());
            (0..=at).rev().find(|&i| source.text.is_char_boundary(i)).unwrap_or(0)
        };
        let start = floor(start);
        Self { source: Arc::clone(source), start, end: floor(end).max(start) }
    }

    /// From the beginning of this place to the end of the other.
    pub fn to(&self, other: &Self) -> Self {
        Self { source: Arc::clone(&self.source), start: self.start, end: other.end.max(self.start) }
    }

    /// Only where it begins: for what is missing in it.
    #[must_use]
    pub fn beginning(&self) -> Self {
        let width = self.text().chars().next().map_or(0, char::len_utf8);
        Self { source: Arc::clone(&self.source), start: self.start, end: self.start + width }
    }

    /// Whether this place is a part of the other.
    pub fn within(&self, other: &Self) -> bool {
        self.source == other.source && other.start <= self.start && self.end <= other.end
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// The text of the place.
    pub fn text(&self) -> &str {
        &self.source.text[self.start..self.end]
    }

    /// Line, counted from 1.
    pub fn line(&self) -> usize {
        self.source.text[..self.start].matches('\n').count() + 1
    }

    /// Column in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.source.text[self.line_start()..self.start].chars().count() + 1
    }

    fn line_start(&self) -> usize {
        self.source.text[..self.start].rfind('\n').map_or(0, |at| at + 1)
    }

    /// How many characters of its first line it covers; at least one, so that there is a caret to show.
    fn width(&self) -> usize {
        let first = self.text().split('\n').next().unwrap_or_default();
        first.trim_end().chars().count().max(1)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.line(), self.column())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What sort of thing is wrong: a code that programs know it by (`docs/reference/errors.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flaw {
    /// The text is no YAML, or more than is read.
    Yaml,
    /// A key that is not known.
    UnknownKey,
    /// Known, and not built yet.
    NotBuilt,
    /// Something is missing.
    Missing,
    /// A value of the wrong kind.
    WrongKind,
    /// A value that is not possible there.
    #[default]
    Value,
    /// A name of something that is not there.
    NotThere,
    /// A file that cannot be read.
    Unreadable,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Yaml,
        Self::UnknownKey,
        Self::NotBuilt,
        Self::Missing,
        Self::WrongKind,
        Self::Value,
        Self::NotThere,
        Self::Unreadable,
    ];

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "E0100",
            Self::Yaml => "E0101",
            Self::UnknownKey => "E0102",
            Self::NotBuilt => "E0103",
            Self::Missing => "E0104",
            Self::WrongKind => "E0105",
            Self::Value => "E0106",
            Self::NotThere => "E0107",
        }
    }
}

/// One thing that is wrong. `Display` is the whole message with its snippet, without colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Of which sort it is.
    pub kind: Flaw,
    /// Where; `None` for a file that could not be read at all.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What was expected there; stands beside the caret.
    pub expected: String,
    /// What to do. Boxed: a problem is passed around as the error of many functions.
    pub help: Option<Box<str>>,
    /// Other places that matter: "first given here".
    pub notes: Vec<(Place, String)>,
}

impl Problem {
    /// A problem with a place.
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), ..Self::of(message) }
    }

    /// A problem with no place in a text.
    pub fn of(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind: Flaw::default(),
            place: None,
            message,
            expected: String::new(),
            help: None,
            notes: Vec::new(),
        }
    }

    /// Says of which sort it is.
    #[must_use]
    pub fn kind(mut self, kind: Flaw) -> Self {
        self.kind = kind;
        self
    }

    /// Says what was expected, beside the caret.
    #[must_use]
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = text.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into().into_boxed_str());
        self
    }

    /// Says what to do, if there is something to say.
    #[must_use]
    pub fn maybe_help(mut self, text: Option<String>) -> Self {
        self.help = text.map(String::into_boxed_str).or(self.help);
        self
    }

    /// Names another place that matters.
    #[must_use]
    pub fn note(mut self, place: &Place, text: impl Into<String>) -> Self {
        self.notes.push((place.clone(), text.into()));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(show(self, Paint { colour: false }).trim_end())
    }
}

impl std::error::Error for Problem {}

/// For programs: the place as numbers, and no snippet.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at =
            |place: &Place| json!({ "file": place.file(), "line": place.line(), "column": place.column() });
        let notes = self.notes.iter().map(|(place, text)| json!({ "at": at(place), "text": text }));
        json!({
            "code": self.kind.code(),
            "at": self.place.as_ref().map(at),
            "message": self.message,
            "expected": Some(&self.expected).filter(|text| !text.is_empty()),
            "help": self.help,
            "notes": notes.collect::<Vec<_>>(),
        })
        .serialize(serializer)
    }
}

/// The name of `known` that was probably meant, as a sentence for [`Problem::help`].
pub fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(found, known).map(|name| format!("did you mean \"{name}\"?"))
}

/// The name of `known` that is nearest to `found`, if one is near enough to be a slip of the hand.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    // None in tiny words, one slip in short ones, a third of the letters in long ones: more suggests nonsense.
    let limit = match found.chars().count() {
        0..=2 => 0,
        letters => (letters / 3).max(1),
    };
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&found, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `a, b or c`.
pub fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// All problems, in the order of their places, with a last line that counts them if there are several.
pub fn render(problems: &[Problem], colour: bool) -> String {
    let paint = Paint { colour };
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|p| p.place.as_ref().map(|place| (place.file().to_owned(), place.start)));
    let mut out = String::new();
    for problem in sorted {
        out.push_str(&show(problem, paint));
        out.push('\n');
    }
    match problems.len() {
        0 => {}
        1 => {
            out.pop();
        }
        n => {
            let _ = writeln!(out, "{n} problems");
        }
    }
    out
}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn code(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
    fn strong(self, text: &str) -> String {
        self.code("1", text)
    }
    fn bad(self, text: &str) -> String {
        self.code("1;31", text)
    }
    fn faint(self, text: &str) -> String {
        self.code("2", text)
    }
}

fn show(problem: &Problem, paint: Paint) -> String {
    let mut out = String::new();
    let message = paint.strong(&clean(&problem.message));
    match &problem.place {
        None => {
            let _ = writeln!(out, "{message}");
            if !problem.expected.is_empty() {
                let _ = writeln!(out, "  expected {}", clean(&problem.expected));
            }
        }
        Some(place) => {
            let _ = writeln!(out, "{}: {message}", paint.strong(&place.to_string()));
            let label = match problem.expected.as_str() {
                "" => String::new(),
                text => format!("expected {text}"),
            };
            snippet(&mut out, place, &label, 1, paint);
        }
    }
    for (place, text) in &problem.notes {
        let _ = writeln!(out, "  {place}: {}", clean(text));
        snippet(&mut out, place, "", 0, paint);
    }
    if let Some(help) = &problem.help {
        let _ = writeln!(out, "  {} {}", paint.strong("help:"), clean(help));
    }
    out
}

/// The longest piece of a line that is shown: fits a terminal of 110 columns beside the line number.
const SHOWN: usize = 100;
/// How much of a longer line is shown before the place.
const LEAD: usize = 30;

/// The line of the place with a caret under it, and up to `before` lines before it.
fn snippet(out: &mut String, place: &Place, label: &str, before: usize, paint: Paint) {
    let line = place.line();
    let column = place.column() - 1;
    let lines = place.source.text.split('\n').enumerate().map(|(i, text)| (i + 1, text.trim_end()));
    let mut skip = 0;
    for (number, text) in lines.skip(line.saturating_sub(before + 1)).take_while(|(n, _)| *n <= line) {
        let length = text.chars().count();
        let shown = if length <= SHOWN {
            text.chars().map(visible).collect::<String>()
        } else {
            // A place far to the right shows the part of its line around it.
            let from = if number == line && column + LEAD > SHOWN { column - LEAD } else { 0 };
            let part: String = text.chars().skip(from).take(SHOWN).map(visible).collect();
            skip = if number == line { from } else { skip };
            let (left, right) =
                (if from > 0 { "…" } else { "" }, if from + SHOWN < length { "…" } else { "" });
            format!("{left}{part}{right}")
        };
        if number < line && text.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{}", format!("{} {shown}", paint.faint(&format!("{number:>5} |"))).trim_end());
    }
    let column = if skip > 0 { column - skip + 1 } else { column };
    let carets = "^".repeat(place.width().min((SHOWN + 1).saturating_sub(column).max(1)));
    let caret = format!("{}{} {}", " ".repeat(column), paint.bad(&carets), paint.bad(&clean(label)));
    let _ = writeln!(out, "{} {}", paint.faint("      |"), caret.trim_end());
}

/// Text of a file must not steer the terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => '\u{fffd}',
        c => c,
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { visible(c) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { name: "cluster.yaml".into(), text: text.into() })
    }

    #[test]
    fn a_problem_shows_its_line_the_caret_and_the_way_out() {
        let file = source("name: lab1\ninputs:\n  cuont: 3\n  count: 2\n");
        let problem = Problem::at(&Place::new(&file, 21, 26), "unknown key \"cuont\" in inputs")
            .expected("count or shape")
            .maybe_help(did_you_mean("cuont", ["shape", "count"]))
            .note(&Place::new(&file, 32, 37), "another one is here");
        insta::assert_snapshot!(problem, @r#"
        cluster.yaml:3:3: unknown key "cuont" in inputs
            2 | inputs:
            3 |   cuont: 3
              |   ^^^^^ expected count or shape
          cluster.yaml:4:3: another one is here
            4 |   count: 2
              |   ^^^^^
          help: did you mean "count"?
        "#);
    }

    #[test]
    fn programs_get_the_place_as_numbers() {
        let file = source("name: Lab\n");
        let place = Place::new(&file, 6, 9);
        let problem = Problem::at(&place, "no name").expected("a name").note(&place, "see here");
        assert_eq!(
            serde_json::to_value(problem).unwrap(),
            json!({
                "code": "E0106",
                "at": {"file": "cluster.yaml", "line": 1, "column": 7},
                "message": "no name", "expected": "a name", "help": null,
                "notes": [{"at": {"file": "cluster.yaml", "line": 1, "column": 7}, "text": "see here"}],
            })
        );
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_are_counted() {
        let file = source("a: 1\nb: 2\n");
        let at = |start, message: &str| Problem::at(&Place::new(&file, start, start + 1), message);
        insta::assert_snapshot!(render(&[at(5, "second"), at(0, "first")], false), @r"
        cluster.yaml:1:1: first
            1 | a: 1
              | ^

        cluster.yaml:2:1: second
            1 | a: 1
            2 | b: 2
              | ^

        2 problems
        ");
    }

    #[test]
    fn a_file_cannot_steer_the_terminal() {
        let file = source("a: \"\x1b[2J\u{202e}\"\n");
        let text = Problem::at(&Place::new(&file, 3, 4), "odd \x1b[31m").to_string();
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let file = source(&format!("{}x: 1{}", " ".repeat(300), "y".repeat(300)));
        let text = Problem::at(&Place::new(&file, 300, 301), "here").to_string();
        assert!(text.lines().all(|line| line.chars().count() < 112), "{text}");
        assert!(text.contains("x: 1") && text.contains('^'), "{text}");
    }

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(nearest("wrokers", ["workers", "pools"]), Some("workers"));
        assert_eq!(nearest("sandbxo", ["sandbox", "ec2"]), Some("sandbox"));
        assert_eq!(nearest("colour", ["workers", "pools"]), None);
    }
}
