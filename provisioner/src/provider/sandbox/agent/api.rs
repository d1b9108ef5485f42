//! The API's routes: authenticate, decode, call, encode. See [`wire`](super::super::wire) for the table.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::io::copy_bidirectional;

use super::super::wire::{
    self, CaptureRequest, CheckRequest, CreateRequest, FaultsRequest, Pair, ScaffoldRequest, StopRequest,
    rejected, unavailable,
};
use super::faults::edge;
use super::{Agent, Caller, failed, files, no_machine, rights};
use crate::clock;
use crate::names::{ClusterId, ImageName, MachineId};
use crate::provider::{MachineRequest, ProviderError, Tags};

/// Through which door a request came: each has its own tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The unix socket.
    Socket,
    /// A gateway address.
    Gateway,
}

type Shared = State<Arc<Agent>>;
type Who = Extension<Caller>;
type Answer<T> = Result<T, Refusal>;

/// A failure on its way out.
#[derive(Debug)]
pub struct Refusal(StatusCode, ProviderError);

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        let status =
            StatusCode::from_u16(wire::status_of(&error)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(status, error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// All routes, for one door.
pub fn routes(agent: Arc<Agent>, door: Door) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/cloud", get(cloud))
        .route("/v1/check", post(check))
        .route("/v1/clusters", get(clusters))
        .route("/v1/clusters/{id}", put(scaffold).get(find_scaffold).delete(sweep))
        .route("/v1/clusters/{id}/access", get(access))
        .route("/v1/clusters/{id}/token", put(renew).delete(revoke))
        .route("/v1/machines", get(list).post(create))
        .route("/v1/machines/{id}", get(find).delete(delete))
        .route("/v1/machines/{id}/start", post(start))
        .route("/v1/machines/{id}/stop", post(stop))
        .route("/v1/machines/{id}/tags", put(retag))
        .route("/v1/machines/{id}/console", get(console))
        .route("/v1/machines/{id}/dial/{port}", get(dial))
        .route("/v1/images/{name}", get(find_image))
        .route("/v1/images", post(capture))
        .route("/v1/stop", post(stop_all))
        .route("/v1/faults", get(faults).put(set_faults).delete(clear_faults))
        .route("/v1/faults/cuts", put(cut).delete(heal))
        .layer(middleware::from_fn_with_state(Arc::clone(&agent), edge::obey))
        .layer(middleware::from_fn_with_state((Arc::clone(&agent), door), authenticate))
        .with_state(agent)
}

/// Compares secrets by their hashes: the time that it takes says nothing of where they differ.
pub fn same_secret(left: &str, right: &str) -> bool {
    Sha256::digest(left.as_bytes()) == Sha256::digest(right.as_bytes())
}

async fn authenticate(
    State((agent, door)): State<(Arc<Agent>, Door)>,
    headers: HeaderMap,
    mut request: Request,
    next: Next,
) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let caller = match door {
        Door::Socket if same_secret(token, &agent.token) => Some(Caller::Admin),
        Door::Socket => None,
        Door::Gateway => agent.cluster_of_token(token).map(Caller::Cluster),
    };
    let Some(caller) = caller else {
        return Refusal(StatusCode::UNAUTHORIZED, rejected("wrong or missing token")).into_response();
    };
    agent.touch();
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn forbidden() -> Refusal {
    refused(rejected("this token is for one cluster only"))
}

fn refused(error: ProviderError) -> Refusal {
    Refusal(StatusCode::FORBIDDEN, error)
}

fn not_found(error: ProviderError) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, error)
}

fn no_cluster(id: &ClusterId) -> Refusal {
    not_found(rejected(format!("there is no cluster {id}")))
}

fn admin(caller: &Caller) -> Answer<()> {
    let why = "this is the command line's to ask for: a cluster's token makes and deletes workers of its autoscaler";
    if *caller == Caller::Admin { Ok(()) } else { Err(refused(rejected(why))) }
}

fn own(caller: &Caller, cluster: &ClusterId) -> Answer<()> {
    if caller.may_see(cluster) { Ok(()) } else { Err(forbidden()) }
}

/// A machine of another cluster is to its caller as if it were not there.
fn visible(agent: &Agent, caller: &Caller, id: &MachineId) -> Answer<()> {
    agent.find(caller, id).map(|_| ()).ok_or_else(|| not_found(no_machine(id)))
}

/// Work that changes something goes on to its end, also when its client goes away meanwhile: axum drops the future of
/// a request whose connection is closed, and half a machine would be left that nobody lists and nobody boots.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ProviderError>> + Send + 'static,
) -> Answer<T> {
    let done = tokio::spawn(work).await;
    Ok(done.unwrap_or_else(|error| Err(unavailable(error.to_string())))?)
}

async fn status(State(agent): Shared, Extension(caller): Who) -> Answer<Response> {
    admin(&caller)?;
    Ok(Json(agent.status()).into_response())
}

async fn cloud(State(agent): Shared) -> Response {
    Json(agent.cloud()).into_response()
}

async fn clusters(State(agent): Shared, Extension(caller): Who) -> Response {
    Json(agent.clusters(&caller)).into_response()
}

async fn check(State(agent): Shared, Json(demand): Json<CheckRequest>) -> Response {
    Json(agent.check(&demand)).into_response()
}

async fn scaffold(
    State(agent): Shared,
    Extension(caller): Who,
    Path(id): Path<ClusterId>,
    Json(request): Json<ScaffoldRequest>,
) -> Answer<Response> {
    own(&caller, &id)?;
    if caller != Caller::Admin {
        let kept = agent.kept_scaffold(&id, &request).map_err(refused)?;
        return Ok(Json(kept.ok_or_else(|| no_cluster(&id))?).into_response());
    }
    let made = to_the_end(async move { agent.scaffold(&id, &request.network).await });
    Ok(Json(made.await?).into_response())
}

async fn find_scaffold(
    State(agent): Shared,
    Extension(caller): Who,
    Path(id): Path<ClusterId>,
) -> Answer<Response> {
    own(&caller, &id)?;
    let found = agent.find_scaffold(&id);
    Ok(Json(found.ok_or_else(|| no_cluster(&id))?).into_response())
}

async fn sweep(State(agent): Shared, Extension(caller): Who, Path(id): Path<ClusterId>) -> Answer<Response> {
    admin(&caller)?;
    Ok(Json(to_the_end(async move { agent.sweep(&id).await }).await?).into_response())
}

async fn access(State(agent): Shared, Extension(caller): Who, Path(id): Path<ClusterId>) -> Answer<Response> {
    admin(&caller)?;
    Ok(Json(agent.access(&id)?.ok_or_else(|| no_cluster(&id))?).into_response())
}

async fn renew(State(agent): Shared, Extension(caller): Who, Path(id): Path<ClusterId>) -> Answer<Response> {
    admin(&caller)?;
    let token = files::random_hex(32).map_err(failed)?;
    let known = agent.set_token(&id, token)?;
    let access = if known { agent.access(&id)? } else { None };
    Ok(Json(access.ok_or_else(|| no_cluster(&id))?).into_response())
}

async fn revoke(
    State(agent): Shared,
    Extension(caller): Who,
    Path(id): Path<ClusterId>,
) -> Answer<StatusCode> {
    admin(&caller)?;
    // A cluster that is gone has no token: there is nothing left to do.
    agent.set_token(&id, String::new())?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list(State(agent): Shared, Extension(caller): Who, uri: Uri) -> Response {
    let all = agent.list(&caller);
    if edge::is_plain(&caller, &uri) {
        return Json(all).into_response();
    }
    Json(agent.faults().shown(all, clock::monotonic())).into_response()
}

async fn create(
    State(agent): Shared,
    Extension(caller): Who,
    Json(request): Json<CreateRequest>,
) -> Answer<Response> {
    own(&caller, &request.tags.cluster)?;
    let request = MachineRequest::from(request);
    rights::may_create(&caller, &request).map_err(refused)?;
    let made = to_the_end(async move { agent.create(&caller, request).await });
    Ok(Json(made.await?).into_response())
}

async fn find(State(agent): Shared, Extension(caller): Who, Path(id): Path<MachineId>) -> Answer<Response> {
    let found = agent.find(&caller, &id);
    Ok(Json(found.ok_or_else(|| not_found(no_machine(&id)))?).into_response())
}

async fn delete(
    State(agent): Shared,
    Extension(caller): Who,
    Path(id): Path<MachineId>,
) -> Answer<StatusCode> {
    // One whose deletion is under way is shown to nobody; whoever asks once more hears of its end, not of its beginning.
    if agent.may_delete(&caller, &id).map_err(refused)? {
        to_the_end(async move { agent.delete(&id).await }).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn start(
    State(agent): Shared,
    Extension(caller): Who,
    Path(id): Path<MachineId>,
) -> Answer<StatusCode> {
    visible(&agent, &caller, &id)?;
    to_the_end(async move { agent.start(&id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stop(State(agent): Shared, Extension(caller): Who, Path(id): Path<MachineId>) -> Answer<StatusCode> {
    admin(&caller)?;
    visible(&agent, &caller, &id)?;
    to_the_end(async move { agent.stop(&id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn retag(
    State(agent): Shared,
    Extension(caller): Who,
    Path(id): Path<MachineId>,
    Json(tags): Json<Tags>,
) -> Answer<StatusCode> {
    admin(&caller)?;
    visible(&agent, &caller, &id)?;
    to_the_end(async move { agent.retag(&id, tags).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn console(State(agent): Shared, Extension(caller): Who, Path(id): Path<MachineId>) -> Answer<String> {
    visible(&agent, &caller, &id)?;
    Ok(agent.console(&id))
}

async fn dial(
    State(agent): Shared,
    Extension(caller): Who,
    Path((id, port)): Path<(MachineId, u16)>,
    mut request: Request,
) -> Answer<Response> {
    // Who is inside the cluster reaches its machines without help.
    admin(&caller)?;
    visible(&agent, &caller, &id)?;
    let mut machine = agent.dial(&id, port).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(client) = upgrade.await {
            let _ = copy_bidirectional(&mut TokioIo::new(client), &mut machine).await;
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "stream")
        .body(Body::empty());
    Ok(response.map_err(|error| unavailable(error.to_string()))?)
}

async fn find_image(State(agent): Shared, Path(name): Path<ImageName>) -> Answer<StatusCode> {
    agent.check_image(&name).map_err(not_found)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn capture(
    State(agent): Shared,
    Extension(caller): Who,
    Json(request): Json<CaptureRequest>,
) -> Answer<StatusCode> {
    admin(&caller)?;
    visible(&agent, &caller, &request.machine)?;
    to_the_end(async move { agent.capture(&request).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stop_all(
    State(agent): Shared,
    Extension(caller): Who,
    Json(request): Json<StopRequest>,
) -> Answer<StatusCode> {
    admin(&caller)?;
    agent.stop_all(request);
    Ok(StatusCode::ACCEPTED)
}

async fn faults(State(agent): Shared, Extension(caller): Who) -> Answer<Response> {
    admin(&caller)?;
    Ok(Json(agent.faults_status()).into_response())
}

async fn set_faults(
    State(agent): Shared,
    Extension(caller): Who,
    Json(request): Json<FaultsRequest>,
) -> Answer<Response> {
    admin(&caller)?;
    let set = to_the_end(async move { agent.set_faults(request).await });
    Ok(Json(set.await?).into_response())
}

async fn clear_faults(State(agent): Shared, Extension(caller): Who) -> Answer<StatusCode> {
    admin(&caller)?;
    to_the_end(async move { agent.clear_faults().await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn cut(State(agent): Shared, Extension(caller): Who, Json(pair): Json<Pair>) -> Answer<StatusCode> {
    admin(&caller)?;
    to_the_end(async move { agent.cut(&pair).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn heal(
    State(agent): Shared,
    Extension(caller): Who,
    Json(pair): Json<Option<Pair>>,
) -> Answer<StatusCode> {
    admin(&caller)?;
    to_the_end(async move { agent.heal(pair.as_ref()).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
