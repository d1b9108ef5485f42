//! Questions to the API server: one request, one time-out, one kind of answer.
//!
//! Everything goes through here as JSON: the API's own types would be read only to be thrown away. Invariants: no request
//! without a time-out; no body of an answer in an error or a log, since objects may hold secrets.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{Request, Status};
use serde_json::Value;

use super::KubeError;

/// Why there is no answer that can be used.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    /// The API server says no.
    #[error("{} ({})", .0.message, .0.code)]
    Api(Box<Status>),
    /// It says nothing, or nothing that can be read: nothing is known of the effect.
    #[error("{0}")]
    Silent(String),
    /// What was asked is no request at all.
    #[error("{0}")]
    Wrong(String),
}

impl Fault {
    /// The status of HTTP, if the API server said one.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Api(status) => Some(status.code),
            Self::Silent(_) | Self::Wrong(_) => None,
        }
    }

    pub(super) fn wrong(error: impl std::fmt::Display) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Api(status),
            // Reading fails in the middle of a body: its words would quote it.
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                Self::Silent("its answer is no JSON".into())
            }
            other => Self::Silent(chain(&other)),
        }
    }
}

impl From<Fault> for KubeError {
    fn from(fault: Fault) -> Self {
        let words = fault.to_string();
        match fault.code() {
            Some(409) => Self::Conflict(words),
            Some(429 | 500..) => Self::Unavailable(words),
            Some(_) => Self::Refused(words),
            None if matches!(fault, Fault::Wrong(_)) => Self::Refused(words),
            None => Self::Unavailable(words),
        }
    }
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

/// The API server.
#[derive(Clone)]
pub(super) struct Rest {
    pub(super) client: kube::Client,
}

/// An answer within the time, or words.
pub(super) async fn within<T>(
    wait: Duration,
    answer: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(wait, answer).await {
        Ok(answer) => answer.map_err(Fault::from),
        Err(_) => Err(Fault::Silent(format!("no answer within {} s", wait.as_secs_f32()))),
    }
}

fn parsed(text: &str) -> Result<Value, Fault> {
    serde_json::from_str(text).map_err(|_| Fault::Silent("its answer is no JSON".into()))
}

fn body(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

impl Rest {
    /// One object, by a quorum read.
    pub(super) async fn get(&self, path: &str, name: &str, wait: Duration) -> Result<Value, Fault> {
        let request = Request::new(path).get(name, &GetParams::default()).map_err(Fault::wrong)?;
        parsed(&within(wait, self.client.request_text(request)).await?)
    }

    /// The text of one page of a list.
    pub(super) async fn list(
        &self,
        path: &str,
        params: &ListParams,
        wait: Duration,
    ) -> Result<String, Fault> {
        let request = Request::new(path).list(params).map_err(Fault::wrong)?;
        within(wait, self.client.request_text(request)).await
    }

    /// A new object.
    pub(super) async fn create(&self, path: &str, object: &Value, wait: Duration) -> Result<Value, Fault> {
        let request =
            Request::new(path).create(&PostParams::default(), body(object)).map_err(Fault::wrong)?;
        parsed(&within(wait, self.client.request_text(request)).await?)
    }

    /// An object in another one's place; its `resourceVersion` says which.
    pub(super) async fn replace(
        &self,
        path: &str,
        name: &str,
        object: &Value,
        wait: Duration,
    ) -> Result<Value, Fault> {
        let request =
            Request::new(path).replace(name, &PostParams::default(), body(object)).map_err(Fault::wrong)?;
        parsed(&within(wait, self.client.request_text(request)).await?)
    }

    /// Some fields of an object; a `resourceVersion` among them says of which state.
    pub(super) async fn merge(
        &self,
        path: &str,
        name: &str,
        fields: &Value,
        wait: Duration,
    ) -> Result<Value, Fault> {
        let request = Request::new(path)
            .patch(name, &PatchParams::default(), &Patch::Merge(fields))
            .map_err(Fault::wrong)?;
        parsed(&within(wait, self.client.request_text(request)).await?)
    }

    /// An object less.
    pub(super) async fn delete(&self, path: &str, name: &str, wait: Duration) -> Result<Value, Fault> {
        let request = Request::new(path).delete(name, &DeleteParams::default()).map_err(Fault::wrong)?;
        parsed(&within(wait, self.client.request_text(request)).await?)
    }

    /// Something that is done to an object under a name of its own.
    pub(super) async fn post_to(
        &self,
        path: &str,
        name: &str,
        subresource: &str,
        object: &Value,
        wait: Duration,
    ) -> Result<Value, Fault> {
        let request = Request::new(path)
            .create_subresource(subresource, name, &PostParams::default(), body(object))
            .map_err(Fault::wrong)?;
        parsed(&within(wait, self.client.request_text(request)).await?)
    }
}

/// Where the objects of a namespace are.
pub(super) fn namespaced(api: &str, namespace: &str, kind: &str) -> String {
    format!("{api}/namespaces/{namespace}/{kind}")
}

/// The text at a place of an object, empty if there is none.
pub(super) fn text_at<'a>(object: &'a Value, place: &str) -> &'a str {
    object.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16) -> Fault {
        Fault::Api(Status::failure("words", "Reason").with_code(code).boxed())
    }

    #[test]
    fn an_answer_is_of_a_kind_that_a_tick_acts_on() {
        let kind = |fault: Fault| match KubeError::from(fault) {
            KubeError::Budget(_) => "budget",
            KubeError::Conflict(_) => "conflict",
            KubeError::Refused(_) => "refused",
            KubeError::Unavailable(_) => "unavailable",
        };
        let codes = [400, 401, 403, 404, 409, 422, 429, 500, 503, 504].map(|code| kind(api(code)));
        assert_eq!(
            codes,
            [
                "refused",
                "refused",
                "refused",
                "refused",
                "conflict",
                "refused",
                "unavailable",
                "unavailable",
                "unavailable",
                "unavailable"
            ]
        );
        assert_eq!(kind(Fault::Silent(String::new())), "unavailable");
        assert_eq!(kind(Fault::Wrong(String::new())), "refused");
    }

    #[test]
    fn an_answer_that_is_no_json_is_not_quoted() {
        let error = serde_json::from_str::<Value>("{\"password\": hunter2").unwrap_err();
        let fault = Fault::from(kube::Error::SerdeError(error));
        assert_eq!(fault.to_string(), "its answer is no JSON");
    }
}
