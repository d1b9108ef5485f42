//! What the engine tells, for people and for programs.
//!
//! ```text
//! events ─► lines    one line an event, with the time since the start      (a pipe, a log)
//!       ├─► live     the same, and below them one line a machine: what it waits for, since when, the limit
//!       ├─► JSONL    one object a line on stdout                           (-o json)
//!       └─► timeline what overlapped: text and SVG                         (at the end, and for benchmarks)
//! ```

mod lines;
mod live;
pub mod timeline;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cli::out;
use crate::clock;
use crate::events::{Event, Sink, What};
use crate::plan::{Subject, Wait};

pub use lines::line;
use live::Live;
use timeline::Timeline;

/// The version of the JSONL form; raised when a field changes its meaning or goes.
const EVENTS_VERSION: u32 = 1;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines on stderr, live ones on a terminal.
    Text,
    /// JSON objects on stdout.
    Json,
    /// Kept for the timeline only.
    Quiet,
}

/// Shows events as they come, and keeps what the summary needs.
#[derive(Clone)]
pub struct Reporter {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    form: Form,
    started: Instant,
    live: Option<Live>,
    timeline: Timeline,
    told: BTreeMap<Subject, Instant>,
    repeats: lines::Repeats,
}

/// In a pipe a wait is told again only after this long: often enough to show that nothing hangs.
const TOLD_AGAIN: Duration = Duration::from_secs(30);

impl Reporter {
    /// A reporter whose clock starts now.
    pub fn new(form: Form) -> Self {
        let live = (form == Form::Text && std::io::stderr().is_terminal()).then(Live::new);
        let inner = Inner {
            form,
            started: clock::monotonic(),
            live,
            timeline: Timeline::default(),
            told: BTreeMap::new(),
            repeats: lines::Repeats::default(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        // a panic while drawing must not silence what follows
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the engine sends its events.
    pub fn sink(&self) -> Sink {
        let reporter = self.clone();
        Sink::new(move |event| reporter.with(|inner| inner.show(&event)))
    }

    /// A line for people that is no event of the engine: `preparing the machine image`.
    pub fn say(&self, text: &str) {
        self.with(|inner| match (&inner.form, &inner.live) {
            (Form::Text, Some(live)) => live.print(text),
            (Form::Text, None) => out::note(text),
            _ => {}
        });
    }

    /// Ends the live lines; what follows is printed as usual.
    pub fn end(&self) {
        self.with(|inner| {
            if let Some(live) = inner.live.take() {
                live.end();
            }
        });
    }

    /// What ran when.
    pub fn timeline(&self) -> Timeline {
        self.with(|inner| inner.timeline.clone())
    }
}

impl Inner {
    fn tell_waits(&mut self, waits: &[Wait], since: Duration) {
        let now = clock::monotonic();
        for wait in waits.iter().filter(|wait| lines::is_long(wait)) {
            let lately = |told: &Instant| now.duration_since(*told) < TOLD_AGAIN;
            if !self.told.get(&wait.subject).is_some_and(lately) {
                self.told.insert(wait.subject.clone(), now);
                out::note(&format!("{:>6.1}s  {wait}", since.as_secs_f64()));
            }
        }
    }

    fn show(&mut self, event: &Event) {
        self.timeline.take(event);
        match self.form {
            Form::Quiet => {}
            Form::Json => {
                let object = serde_json::json!({"v": EVENTS_VERSION});
                if let (Ok(serde_json::Value::Object(fields)), serde_json::Value::Object(mut line)) =
                    (serde_json::to_value(event), object)
                {
                    line.extend(fields);
                    out::line(&serde_json::Value::Object(line).to_string());
                }
            }
            Form::Text => {
                let since = clock::monotonic().duration_since(self.started);
                let news = self.repeats.news(&event.what, since);
                let text = line(&event.what)
                    .filter(|_| news)
                    .map(|text| format!("{:>6.1}s  {text}", since.as_secs_f64()));
                match (&mut self.live, text) {
                    (Some(live), text) => {
                        live.take(&event.what);
                        if let Some(text) = text {
                            live.print(&text);
                        }
                    }
                    (None, Some(text)) => out::note(&text),
                    (None, None) => {}
                }
                if let (None, What::Waits { waits }) = (&self.live, &event.what) {
                    self.tell_waits(waits, since);
                }
            }
        }
    }
}
