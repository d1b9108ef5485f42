//! Where a command writes: data on stdout, words on stderr. A reader that went away is no error.

use std::io::{self, Write};

use serde::Serialize;

/// Locked standard output.
pub fn stdout() -> impl Write {
    io::stdout().lock()
}

/// One line of data.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    // a closed pipe (`| head`) ends the reader's interest, not our work
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// One line for people, on stderr.
pub fn note(text: &str) {
    let mut out = io::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// A JSON document on stdout.
pub fn json(value: &impl Serialize) -> Result<(), serde_json::Error> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Columns aligned with two spaces between them; no frame, so that `awk` and `cut` work on it.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(head.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
