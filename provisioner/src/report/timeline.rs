//! What ran when, and what overlapped: a chart as text for the terminal and as SVG for a page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use crate::duration::took;
use crate::events::{Event, What};
use crate::names::MachineName;

/// One job of one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What ran: `create`, `kubernetes/init`.
    pub job: String,
    /// From the first event of the run.
    pub start: Duration,
    /// From the first event of the run.
    pub end: Duration,
    /// Whether it ended well.
    pub ok: bool,
}

/// The jobs of a run, by machine.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    zero: Option<Timestamp>,
    last: Duration,
    spans: BTreeMap<MachineName, Vec<Span>>,
}

impl Timeline {
    /// Takes what an event says.
    pub fn take(&mut self, event: &Event) {
        let zero = *self.zero.get_or_insert(event.at);
        let now = Duration::try_from(event.at.duration_since(zero)).unwrap_or_default();
        self.last = self.last.max(now);
        let (machine, job, length, ok) = match &event.what {
            What::Finished { machine, job, took, .. } => (machine, job, *took, true),
            What::Failed { machine, job, took, .. } => (machine, job, *took, false),
            _ => return,
        };
        let span = Span { job: job.clone(), start: now.saturating_sub(length), end: now, ok };
        self.spans.entry(machine.clone()).or_default().push(span);
    }

    /// Whether anything ran.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The jobs of each machine in the order in which they ended.
    pub fn spans(&self) -> &BTreeMap<MachineName, Vec<Span>> {
        &self.spans
    }

    /// How long each kind of job took, over all machines: the longest, longest first.
    pub fn longest(&self) -> Vec<(String, Duration)> {
        let mut jobs: BTreeMap<&str, Duration> = BTreeMap::new();
        for span in self.spans.values().flatten() {
            let longest = jobs.entry(&span.job).or_default();
            *longest = (*longest).max(span.end - span.start);
        }
        let mut jobs: Vec<_> = jobs.into_iter().map(|(job, time)| (job.to_owned(), time)).collect();
        jobs.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        jobs
    }

    /// A chart of `width` columns for the time, one line a job, machines one below the other.
    pub fn text(&self, width: usize) -> String {
        let total = self.last.as_secs_f64().max(0.001);
        let column = |at: Duration| ((at.as_secs_f64() / total) * width as f64).round() as usize;
        let label = self.spans.values().flatten().map(|s| s.job.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (machine, spans) in &self.spans {
            let _ = writeln!(text, "{machine}");
            for span in spans {
                let from = column(span.start).min(width.saturating_sub(1));
                let length = column(span.end).saturating_sub(from).max(1);
                let bar = if span.ok { "█" } else { "x" }.repeat(length);
                let row = format!("{}{bar}", " ".repeat(from));
                let _ = writeln!(text, "  {:label$}  {row:width$}  {}", span.job, took(span.end - span.start));
            }
        }
        text
    }

    /// The same as SVG.
    pub fn svg(&self) -> String {
        const LEFT: f64 = 230.0;
        const WIDE: f64 = 720.0;
        const ROW: f64 = 18.0;
        let total = self.last.as_secs_f64().max(0.001);
        let x = |at: Duration| LEFT + at.as_secs_f64() / total * WIDE;
        let rows = self.spans.values().map(|spans| spans.len() + 1).sum::<usize>() as f64;
        let (width, height) = (LEFT + WIDE + 70.0, (rows + 2.0) * ROW);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        let step = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0].into_iter().find(|s| total / s <= 12.0).unwrap_or(600.0);
        let mut tick = 0.0;
        while tick <= total {
            let at = LEFT + tick / total * WIDE;
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{ROW}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{at:.1}\" y=\"13\" fill=\"#666\" text-anchor=\"middle\">{tick}s</text>",
                height - ROW / 2.0
            );
            tick += step;
        }
        let mut y = ROW * 1.5;
        for (machine, spans) in &self.spans {
            let _ = writeln!(svg, "<text x=\"6\" y=\"{:.1}\" font-weight=\"bold\">{machine}</text>", y + 12.0);
            y += ROW;
            for span in spans {
                let (from, to) = (x(span.start), x(span.end));
                let fill = if span.ok { "#3b7dd8" } else { "#c0392b" };
                let _ = writeln!(
                    svg,
                    "<text x=\"18\" y=\"{:.1}\" fill=\"#333\">{}</text>\
                     <rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"{fill}\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#333\">{}</text>",
                    y + 12.0,
                    span.job,
                    y + 2.0,
                    (to - from).max(1.5),
                    ROW - 4.0,
                    to + 4.0,
                    y + 12.0,
                    took(span.end - span.start)
                );
                y += ROW;
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(second: i64, machine: &str, job: &str, millis: u64) -> Event {
        Event {
            at: Timestamp::from_second(second).unwrap(),
            generation: 1,
            what: What::Finished {
                machine: MachineName::new(machine).unwrap(),
                pool: None,
                job: job.into(),
                took: Duration::from_millis(millis),
                changed: None,
            },
        }
    }

    #[test]
    fn the_chart_shows_what_overlapped() {
        let mut timeline = Timeline::default();
        for event in [
            finished(100, "lab1-front-end-1", "create", 0),
            finished(104, "lab1-front-end-1", "kubernetes/init", 4000),
            finished(106, "lab1-workers-2", "containerd/install", 3000),
            finished(110, "lab1-workers-2", "kubernetes/join", 2000),
        ] {
            timeline.take(&event);
        }
        let expected = "\
lab1-front-end-1
  create              █           0.0s
  kubernetes/init     ████        4.0s
lab1-workers-2
  containerd/install     ███      3.0s
  kubernetes/join             ██  2.0s
";
        assert_eq!(timeline.text(10), expected);
        assert_eq!(timeline.longest()[0], ("kubernetes/init".to_owned(), Duration::from_secs(4)));
        assert_eq!(timeline.svg().matches("<rect").count(), 5);
    }
}
