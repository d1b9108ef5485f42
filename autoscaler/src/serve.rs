//! The socket that people ask: status, explanations, metrics, and the few things that they may tell.
//!
//! It lies in a folder that root and the daemon alone can open. Invariants: nothing here decides; every answer is bounded in
//! time, whatever the loop does meanwhile.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use provisioner::api::{Mode, Status};
use provisioner::names::MachineName;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::daemon::Command;

/// A tick of the largest cluster takes a second.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Desk {
    status: watch::Receiver<Status>,
    commands: mpsc::Sender<Command>,
}

/// Serves until the process ends.
///
/// # Errors
/// The socket cannot be made.
pub async fn serve(
    path: &Path,
    status: watch::Receiver<Status>,
    commands: mpsc::Sender<Command>,
) -> std::io::Result<()> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    let desk = Arc::new(Desk { status, commands });
    let routes = Router::new()
        .route("/v1/status", get(show))
        .route("/v1/explain/pod/{namespace}/{name}", get(explain_pod))
        .route("/v1/explain/node/{name}", get(explain_node))
        .route("/v1/host-keys/{name}", get(host_keys))
        .route("/v1/mode/{mode}", post(mode))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(desk);
    axum::serve(listener, routes).await
}

async fn show(State(desk): State<Arc<Desk>>) -> Json<Status> {
    Json(desk.status.borrow().clone())
}

async fn ready(State(desk): State<Arc<Desk>>) -> Response {
    let status = desk.status.borrow();
    match (&status.stop, &status.stale) {
        (Some(why), _) | (None, Some(why)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
        }
        (None, None) => "ok\n".into_response(),
    }
}

async fn mode(State(desk): State<Arc<Desk>>, extract::Path(mode): extract::Path<Mode>) -> Response {
    told(desk.commands.send(Command::Mode(mode)).await.is_ok())
}

fn told(sent: bool) -> Response {
    if sent {
        StatusCode::NO_CONTENT.into_response()
    } else {
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    }
}

async fn explain_pod(
    State(desk): State<Arc<Desk>>,
    extract::Path((namespace, name)): extract::Path<(String, String)>,
) -> Response {
    let path = format!("{namespace}/{name}");
    let missing = format!("there is no pod {path}\n");
    ask(&desk, |answer| Command::ExplainPod(path, answer), missing).await
}

async fn explain_node(State(desk): State<Arc<Desk>>, extract::Path(name): extract::Path<String>) -> Response {
    about_machine(&desk, name, Command::ExplainNode).await
}

async fn host_keys(State(desk): State<Arc<Desk>>, extract::Path(name): extract::Path<String>) -> Response {
    about_machine(&desk, name, Command::HostKeys).await
}

async fn about_machine(
    desk: &Desk,
    name: String,
    command: impl FnOnce(MachineName, oneshot::Sender<Option<serde_json::Value>>) -> Command,
) -> Response {
    let missing = format!("the autoscaler has no machine {name}\n");
    match MachineName::new(name) {
        Ok(name) => ask(desk, |answer| command(name, answer), missing).await,
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn ask(
    desk: &Desk,
    command: impl FnOnce(oneshot::Sender<Option<serde_json::Value>>) -> Command,
    missing: String,
) -> Response {
    let (send, answer) = oneshot::channel();
    if desk.commands.send(command(send)).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(Some(said))) => Json(said).into_response(),
        Ok(_) => (StatusCode::NOT_FOUND, missing).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "it is busy: ask again\n").into_response(),
    }
}

async fn metrics(State(desk): State<Arc<Desk>>) -> String {
    let status = desk.status.borrow();
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, lines: &[(String, f64)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in lines {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let one = |value: bool| [(String::new(), f64::from(u8::from(value)))];
    gauge("continuum_autoscaler_leader", "Whether this process holds the lease.", &one(status.leads));
    gauge("continuum_autoscaler_view_stale", "Whether the view may be old.", &one(status.stale.is_some()));
    gauge("continuum_autoscaler_stopped", "Whether something needs a person.", &one(status.stop.is_some()));
    let mut nodes = Vec::new();
    let mut limits = Vec::new();
    for pool in &status.pools {
        let name = &pool.name;
        let states = [("ready", pool.ready), ("booting", pool.booting), ("leaving", pool.leaving)];
        nodes.extend(
            states.map(|(state, count)| (format!("{{pool=\"{name}\",state=\"{state}\"}}"), f64::from(count))),
        );
        let ends = [("min", pool.min), ("max", pool.max)];
        limits.extend(
            ends.map(|(end, count)| (format!("{{pool=\"{name}\",limit=\"{end}\"}}"), f64::from(count))),
        );
    }
    gauge("continuum_autoscaler_nodes", "Machines of the pools.", &nodes);
    gauge("continuum_autoscaler_pool_limit", "Least and most machines of the pools.", &limits);
    let mut reasons = std::collections::BTreeMap::new();
    for wait in &status.waits {
        *reasons.entry(wait.word.clone()).or_insert(0.0) += 1.0;
    }
    let reasons: Vec<_> =
        reasons.into_iter().map(|(word, count)| (format!("{{reason=\"{word}\"}}"), count)).collect();
    gauge("continuum_autoscaler_waits", "What does not happen now, by reason.", &reasons);
    text
}
