//! The scheduler's own plugins, in a process of their own (`tests/lab/scheduler`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Per node the plugin that says no, empty if the pod fits.
pub(crate) type Verdicts = BTreeMap<String, String>;

pub(crate) struct Oracle {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    pub(crate) fn start(path: &str) -> Self {
        let mut child = Command::new(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("the oracle {path} does not start: {error}"));
        let input = child.stdin.take().expect("it has a pipe");
        let output = BufReader::new(child.stdout.take().expect("it has a pipe"));
        Self { child, input, output }
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").expect("the oracle listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the oracle answers");
        serde_json::from_str(&line).expect("the oracle answers in JSON")
    }

    /// Where the pod of a case may go, or what the oracle cannot read.
    pub(crate) fn judge(&mut self, case: &Value) -> Result<Verdicts, String> {
        let answer = self.ask(case);
        if let Some(error) = answer.get("error") {
            return Err(error.to_string());
        }
        let nodes = answer.get("nodes").and_then(Value::as_object);
        let verdict =
            |(node, said): (&String, &Value)| (node.clone(), said.as_str().unwrap_or("?").to_owned());
        Ok(nodes.into_iter().flatten().map(verdict).collect())
    }

    /// How Kubernetes reads a quantity: in thousandths and in units, rounded up.
    pub(crate) fn quantity(&mut self, text: &str) -> Option<(i64, i64)> {
        let answer = self.ask(&json!({ "quantity": text }));
        Some((answer.get("milli")?.as_i64()?, answer.get("value")?.as_i64()?))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It only computes: nothing is lost by ending it in the middle.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
