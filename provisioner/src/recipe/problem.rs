//! What is wrong with a recipe, or with what is asked of it.

use std::fmt;

use crate::diagnostic::Place;

/// One thing that is wrong, with its place. Problems are collected and shown all at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file as people call it: `recipes/flannel/recipe.yaml`, or a recipe's name where no file is to blame.
    pub file: String,
    /// Line in it, from 1, where it is known.
    pub line: Option<usize>,
    /// Column in the line, from 1, where it is known.
    pub column: Option<usize>,
    /// What is wrong and what would be right; lower case, no full stop.
    pub message: String,
}

impl Problem {
    /// A problem without a line.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, column: None, message: message.into() }
    }

    /// A problem at the first line of `text` that has `word` as a whole word.
    pub(super) fn at(file: &str, text: &str, word: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: line_of(text, word, 0), column: None, message: message.into() }
    }

    /// A problem with a piece of the file.
    pub(super) fn with(file: &str, place: Option<&Place>, message: impl Into<String>) -> Self {
        let (line, column) = (place.map(Place::line), place.map(Place::column));
        Self { file: file.to_owned(), line, column, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The line, from 1, of the `skip`-th (from 0) line with `word` as a whole word.
pub(super) fn line_of(text: &str, word: &str, skip: usize) -> Option<usize> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let has = |line: &str| {
        line.match_indices(word)
            .any(|(at, _)| !line[..at].ends_with(inside) && !line[at + word.len()..].starts_with(inside))
    };
    text.lines().enumerate().filter(|(_, line)| has(line)).nth(skip).map(|(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_a_whole_word() {
        let text = "a: start-all\nb: start\nc: [x, start]\n";
        assert_eq!((line_of(text, "start", 0), line_of(text, "start", 1)), (Some(2), Some(3)));
        assert_eq!(line_of(text, "star", 0), None);
    }
}
