//! Where a call meets its fault: between who it is from and what it does.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::{Agent, Caller};
use super::line::Line;
use super::{Before, Call};

/// How long a call that hangs is kept: longer than any answer takes, and short enough that all tries of a client fit
/// into its own time-out.
const HANG: Duration = Duration::from_secs(5);
/// A create is some kilobytes, most of it the first-boot script.
const BODY_MAX: usize = 1 << 20;
/// Asks for what is so, whatever faults are set: for people who look at the sandbox itself.
const PLAIN: &str = "faults=off";

/// Whether the operator asks past all faults.
pub fn is_plain(caller: &Caller, uri: &Uri) -> bool {
    *caller == Caller::Admin && uri.query() == Some(PLAIN)
}

/// Lets a call through as the faults say.
pub async fn obey(State(agent): State<Arc<Agent>>, request: Request, next: Next) -> Response {
    let plain = request.extensions().get::<Caller>().is_some_and(|caller| is_plain(caller, request.uri()));
    let Some(call) = Call::of(request.method(), request.uri().path()).filter(|_| !plain) else {
        return next.run(request).await;
    };
    let verdict = agent.faults().meet(call);
    let line = request.extensions().get::<ConnectInfo<Line>>().map(|info| info.0.clone()).unwrap_or_default();
    let response = match verdict.before {
        Before::Go => next.run(request).await,
        Before::Late(after) => match later(request, next, after).await {
            Err(response) => return response,
            // A cloud that has taken a delete says so. A create that it has not made yet has no answer.
            Ok(()) if call == Call::Delete => StatusCode::NO_CONTENT.into_response(),
            Ok(()) => unanswered(&line),
        },
        Before::Hang => {
            tokio::time::sleep(HANG).await;
            unanswered(&line)
        }
        Before::Drop => unanswered(&line),
        Before::Error500 => (StatusCode::INTERNAL_SERVER_ERROR, "fault error-500").into_response(),
        Before::RateLimit(wait) => {
            let wait = [(header::RETRY_AFTER, wait.as_secs().to_string())];
            (StatusCode::TOO_MANY_REQUESTS, wait, "fault rate-limit").into_response()
        }
    };
    if verdict.answer_lost {
        line.cut();
    }
    response
}

/// Ends the connection; what is returned is never written.
fn unanswered(line: &Line) -> Response {
    line.cut();
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// Takes the whole request, and carries it out after a while, whether its sender is still there or not.
async fn later(request: Request, next: Next, after: Duration) -> Result<(), Response> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX).await;
    let body = body.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()).into_response())?;
    let request = Request::from_parts(head, Body::from(body));
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        next.run(request).await;
    });
    Ok(())
}
