//! The only file that names `serde_yaml`: text in, [`Node`]s with places out.
//!
//! Stricter than YAML, so that a file means what it seems to mean: a key twice is refused with both places, `yes`,
//! `012` and `1_000` are strings, tags are refused. Limits on size, depth and growth through aliases make a hostile
//! file an error and never a full memory. Everything that is wrong is reported, except that a text that is no YAML
//! ends at its first fault.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_yaml::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use crate::diagnostic::{self, Place, Problem, Source};
use crate::tree::{Entry, Key, Kind, Node, Scalar, de};

/// The largest file that is read, in bytes. The largest real one, a template with its types, has some tens of kB.
pub const MAX_BYTES: usize = 4 << 20;
/// The most nodes after aliases are followed: a file of the largest size written by a person has fewer.
const MAX_NODES: usize = 200_000;
/// The deepest nesting; people stop at ten.
const MAX_DEPTH: usize = 64;

/// Reads a text into a tree, and refuses one with left-over template marks. An empty text is a node of nothing.
pub fn parse(text: &str, file: &str) -> Result<Node, Vec<Problem>> {
    let source = Arc::new(Source { name: file.to_owned(), text: text.to_owned() });
    match left_over_template(&source) {
        Some(problem) => Err(vec![problem.kind(diagnostic::Flaw::Yaml)]),
        None => tree(&source),
    }
}

/// Reads a text into a type: for files whose texts may themselves be templates, such as a recipe's scripts.
/// All faults of the text count, but the first one is reported, as the type can be read from a whole text only.
pub fn from_str<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Problem> {
    let source = Arc::new(Source { name: file.to_owned(), text: text.to_owned() });
    let node = tree(&source).map_err(|mut problems| problems.swap_remove(0))?;
    de::from_node(&node)
}

fn tree(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    let of_the_text = |problem: Problem| problem.kind(diagnostic::Flaw::Yaml);
    built(source).map_err(|problems| problems.into_iter().map(of_the_text).collect())
}

fn built(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    let (text, file) = (&source.text, &source.name);
    if text.len() > MAX_BYTES {
        let message = format!("{file} has {} bytes: more than {MAX_BYTES} are not read", text.len());
        return Err(vec![Problem::of(message)]);
    }
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::new(source);
    for event in parser {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(Box::new(broken(source, &error))),
        };
        if let Err(problem) = step {
            builder.problems.push(*problem);
            return Err(builder.problems);
        }
    }
    builder.finish()
}

/// `{{ x }}` is valid YAML for something that nobody means.
fn left_over_template(source: &Arc<Source>) -> Option<Problem> {
    let mut offset = 0;
    for line in source.text.split_inclusive('\n') {
        let code = if line.trim_start().starts_with('#') { "" } else { line };
        if let Some(at) = code.find("{{").or_else(|| code.find("{%")) {
            let end = code[at..].find("}}").or_else(|| code[at..].find("%}")).map_or(at + 2, |n| at + n + 2);
            let place = Place::new(source, offset + at, offset + end);
            let found = place.text().to_owned();
            return Some(
                Problem::at(&place, format!("template was not rendered: {found:?} is left over"))
                    .expected("a plain YAML file")
                    .help("render the file first, or write the value itself"),
            );
        }
        offset += line.len();
    }
    None
}

fn broken(source: &Arc<Source>, error: &ScanError) -> Problem {
    let marker = error.marker();
    let at = marker.byte_offset().unwrap_or_else(|| {
        source.text.char_indices().nth(marker.index()).map_or(source.text.len(), |(at, _)| at)
    });
    let place = Place::new(source, at, at + 1);
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return too_deep(&place);
    }
    let line = source.text[..at.min(source.text.len())].rsplit('\n').next().unwrap_or_default();
    let help = if line.contains('\t') {
        Some("indent with spaces: YAML allows no tabs there")
    } else {
        advice(error.kind())
    };
    Problem::at(&place, format!("this is no YAML: {}", error.info())).maybe_help(help.map(str::to_owned))
}

fn too_deep(place: &Place) -> Problem {
    Problem::at(place, format!("nested more than {MAX_DEPTH} levels deep")).expected("a flatter file")
}

/// What people mostly did when the parser stops so.
fn advice(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::InvalidColonPlacement => "is a bracket or a quote left open above?",
        ErrorKind::UnclosedQuotedScalar => "close the quote on the same line",
        ErrorKind::UnknownAnchor => "a text that begins with * needs quotes",
        ErrorKind::SimpleKeyExpected => "write KEY: VALUE, or indent the line under the one above",
        ErrorKind::MappingValueNotAllowed => "a value with \": \" in it needs quotes",
        ErrorKind::ExpectedBlockMappingKey => "is the line indented like the ones above?",
        _ => return None,
    })
}

type Step = Result<(), Box<Problem>>;

/// A collection whose end was not read yet.
struct Open {
    kind: Kind,
    place: Place,
    anchor: usize,
    key: Option<Key>,
    seen: Seen,
}

/// Where each key of a mapping stands among its entries, and whether it was written there or came by a merge.
type Seen = HashMap<String, (usize, bool)>;

struct Builder<'a> {
    source: &'a Arc<Source>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
    documents: usize,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Arc<Source>) -> Self {
        let (open, anchors, problems) = (Vec::new(), HashMap::new(), Vec::new());
        Self { source, open, anchors, nodes: 0, root: None, documents: 0, problems }
    }

    fn place(&self, span: Span) -> Place {
        let end_of_text = self.source.text.len();
        let start = span.start.byte_offset().unwrap_or(end_of_text);
        let end = span.end.byte_offset().unwrap_or(end_of_text);
        Place::new(self.source, start, end)
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Step {
        let place = self.place(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let problem = Problem::at(&place, "a second document begins here");
                    return Err(Box::new(problem.expected("one document in the file")));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &place);
                let scalar = Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                let node = Node { kind: Kind::Scalar(scalar), place };
                return self.value(node, anchor, 1);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &place);
                return self.begin(Kind::List(Vec::new()), place, anchor);
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &place);
                return self.begin(Kind::Map(Vec::new()), place, anchor);
            }
            Event::SequenceEnd | Event::MappingEnd => return self.end(&place),
            Event::Alias(id) => return self.alias(id, place),
            _ => {}
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tagged: bool, place: &Place) {
        if tagged {
            let problem = Problem::at(place, "a YAML tag (!…) stands before this value");
            self.problems.push(problem.expected("a value without a tag"));
        }
    }

    fn begin(&mut self, kind: Kind, place: Place, anchor: usize) -> Step {
        if self.open.len() >= MAX_DEPTH {
            return Err(Box::new(too_deep(&place)));
        }
        self.open.push(Open { kind, place, anchor, key: None, seen: Seen::new() });
        Ok(())
    }

    fn end(&mut self, end: &Place) -> Step {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let place = open.place.to(end);
        self.value(Node { kind: open.kind, place }, open.anchor, 1)
    }

    /// The nodes of an alias count each time that they are used: that is what a bomb is made of.
    fn alias(&mut self, id: usize, place: Place) -> Step {
        let Some((node, size)) = self.anchors.get(&id).cloned() else {
            let problem = Problem::at(&place, "an alias inside of what it stands for");
            return Err(Box::new(problem.expected("an anchor (&name) that is complete before it is used")));
        };
        self.value(node.moved(&place), 0, size)
    }

    fn value(&mut self, node: Node, anchor: usize, grows: usize) -> Step {
        self.nodes += grows;
        if self.nodes > MAX_NODES {
            let message = format!("the file grows to more than {MAX_NODES} values here");
            return Err(Box::new(
                Problem::at(&node.place, message).expected("fewer aliases (*name) of aliases"),
            ));
        }
        if anchor != 0 {
            let size = size(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match parent.key.take() {
                Some(key) => put(entries, &mut parent.seen, key, node, &mut self.problems),
                None => parent.key = Some(key(node, &mut self.problems)),
            },
            Kind::Scalar(_) => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Node, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let nothing = || {
            let scalar = Scalar { text: String::new(), plain: true };
            Node { kind: Kind::Scalar(scalar), place: Place::new(self.source, 0, 0) }
        };
        Ok(self.root.unwrap_or_else(nothing))
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Scalar(_) => 0,
        Kind::List(items) => items.iter().map(size).sum(),
        Kind::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
    }
}

fn key(node: Node, problems: &mut Vec<Problem>) -> Key {
    let Kind::Scalar(scalar) = node.kind else {
        problems
            .push(Problem::at(&node.place, "a key that is a list or a mapping").expected("a text as key"));
        return Key { name: String::new(), place: node.place };
    };
    Key { name: scalar.text, place: node.place }
}

fn put(entries: &mut Vec<Entry>, seen: &mut Seen, key: Key, value: Node, problems: &mut Vec<Problem>) {
    if key.name == "<<" {
        return merge(entries, seen, &key, value, problems);
    }
    match seen.insert(key.name.clone(), (entries.len(), true)) {
        None => entries.push(Entry { key, value }),
        // A key that came by a merge may be overridden: that is what a merge is for.
        Some((at, false)) => {
            seen.insert(key.name.clone(), (at, true));
            entries[at] = Entry { key, value };
        }
        Some((at, true)) => {
            let problem = Problem::at(&key.place, format!("key {:?} is here a second time", key.name))
                .note(&entries[at].key.place, "first given here")
                .help("remove one of the two");
            problems.push(problem);
            seen.insert(key.name, (at, true));
        }
    }
}

/// `<<: *defaults`: what is not given in the mapping itself is taken from there.
fn merge(entries: &mut Vec<Entry>, seen: &mut Seen, key: &Key, value: Node, problems: &mut Vec<Problem>) {
    let sources = match value.kind {
        Kind::List(items) => items,
        _ => vec![value],
    };
    for source in sources {
        let Kind::Map(others) = source.kind else {
            let problem = Problem::at(&key.place, "\"<<\" merges something that is no mapping");
            problems.push(problem.expected("a mapping or a list of mappings"));
            continue;
        };
        for other in others {
            if !seen.contains_key(&other.key.name) {
                seen.insert(other.key.name.clone(), (entries.len(), false));
                entries.push(other);
            }
        }
    }
}
