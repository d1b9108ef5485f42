//! Stable codes of errors: what a program can act on where a person reads the text (`docs/reference/errors.md`).
//!
//! A code follows from the error's type, never from its words, so that words may become better. A code is never used
//! for something else; a new kind gets a new one.

use crate::bundle::BundleError;
use crate::bundle::fetch::FetchError;
use crate::cache::NoCache;
use crate::cluster::images::ImageError;
use crate::cluster::input::InputError;
use crate::cluster::site::SiteError;
use crate::cluster::up::UpError;
use crate::keys::KeysError;
use crate::provider::ProviderError;
use crate::provider::sandbox::machine::StepError;
use crate::recipe::RenderError;
use crate::remote::{AccessError, RemoteError};
use crate::state::StateError;
use crate::store::StoreError;

use super::exit::Exit;

/// Every code with what it means, in order. `docs/reference/errors.md` is made from it.
pub const CODES: &[(&str, &str)] = &[
    ("E0001", "something failed that has no code of its own; the text says what"),
    ("E0100", "a file that was named cannot be read"),
    ("E0101", "the text is no YAML, or more than is read"),
    ("E0102", "a key that is not known"),
    ("E0103", "something that is known and not built yet"),
    ("E0104", "something is missing"),
    ("E0105", "a value of the wrong kind: a list where a text belongs"),
    ("E0106", "a value that is not possible there"),
    ("E0107", "a name of something that is not there"),
    ("E0200", "a recipe is wrong, or what is asked of it"),
    ("E0201", "an artifact of a recipe is in no bundle"),
    ("E0202", "a recipe cannot be rendered"),
    ("E0300", "a file of a bundle cannot be read or written"),
    ("E0301", "there is no bundle in this place"),
    ("E0302", "a bundle's manifest is wrong"),
    ("E0303", "a bundle of another version"),
    ("E0304", "an archive that could write outside its place"),
    ("E0305", "an archive that is cut short or damaged"),
    ("E0306", "files of a bundle are missing or changed"),
    ("E0307", "artifacts cannot be had"),
    ("E0308", "a download failed"),
    ("E0400", "the arguments are wrong"),
    ("E0401", "a cluster that this computer does not know"),
    ("E0500", "this computer lacks something that the sandbox needs"),
    ("E0501", "no folder for state or cache: HOME is not set"),
    ("E0502", "a cluster's folder cannot be read or written"),
    ("E0503", "a secret file or folder is open to others, or is somebody else's"),
    ("E0504", "what is remembered of a cluster is damaged"),
    ("E0505", "the cluster's keys are not here"),
    ("E0506", "a key file is damaged"),
    ("E0507", "a key file cannot be read or written"),
    ("E0600", "somebody else works on this cluster"),
    ("E0601", "the ledger is damaged, or a newer program's"),
    ("E0602", "the ledger cannot be read or written"),
    ("E0603", "the ledger was changed by somebody else meanwhile"),
    ("E0700", "the cloud refused what was asked"),
    ("E0701", "a quota of the cloud is used up"),
    ("E0702", "the cloud has no capacity"),
    ("E0703", "the cloud does not answer"),
    ("E0800", "the engine stopped: a step failed, or something needs a person"),
    ("E0801", "interrupted"),
    ("E0802", "not everything was done: what is left is named"),
    ("E0900", "a machine does not answer over SSH, or the connection broke"),
    ("E0901", "a machine shows another host key than the pinned one"),
    ("E0902", "a machine does not let the operator's key in"),
    ("E0903", "a script on a machine failed or took too long"),
    ("E0904", "a machine cannot run jobs"),
];

/// The code of an error: that of the innermost cause that has one, else what its exit code says.
pub(super) fn of(error: &anyhow::Error, exit: Exit) -> &'static str {
    error.chain().filter_map(of_cause).last().unwrap_or(match exit {
        Exit::Usage => "E0400",
        Exit::Refused => "E0107",
        Exit::Incomplete => "E0802",
        Exit::Locked => "E0600",
        Exit::Environment => "E0500",
        Exit::Interrupted => "E0801",
        Exit::Done | Exit::Failed => "E0001",
    })
}

/// What stands behind an error that only passes another one on: a chain of causes leaves such a one out.
fn inner<'a>(cause: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let next: &'a (dyn std::error::Error + 'static) = match cause.downcast_ref::<SiteError>() {
        Some(SiteError::Store(error)) => error,
        Some(SiteError::Keys(error)) => error,
        Some(SiteError::Cloud(error)) => error,
        Some(_) => return cause,
        None => match (cause.downcast_ref::<InputError>(), cause.downcast_ref::<UpError>()) {
            (Some(InputError::State(error)), _) => error,
            (Some(InputError::Cache(error)), _) => error,
            (_, Some(UpError::Store(error))) => error,
            (_, Some(UpError::Cloud(error))) => error,
            (_, Some(UpError::Render(error))) => error,
            _ => match cause.downcast_ref::<ImageError>() {
                Some(ImageError::Blob(error)) => error,
                Some(ImageError::Cache(error)) => error,
                Some(ImageError::Store(error)) => error,
                Some(ImageError::Render(error)) => error,
                _ => return cause,
            },
        },
    };
    next
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let cause = inner(cause);
    of_files(cause).or_else(|| of_place(cause)).or_else(|| of_remote(cause))
}

fn of_files(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(error) = cause.downcast_ref::<InputError>() {
        return matches!(error, InputError::Unreadable { .. }).then_some("E0100");
    }
    if let Some(error) = cause.downcast_ref::<BundleError>() {
        return Some(match error {
            BundleError::Io { .. } => "E0300",
            BundleError::NoBundle { .. } => "E0301",
            BundleError::Manifest { .. } => "E0302",
            BundleError::Version { .. } => "E0303",
            BundleError::Unsafe { .. } => "E0304",
            BundleError::CutShort { .. } => "E0305",
            BundleError::Damaged { .. } => "E0306",
            BundleError::Missing { .. } => "E0307",
            BundleError::Fetch(_) => "E0308",
        });
    }
    if cause.is::<FetchError>() {
        return Some("E0308");
    }
    if let Some(error) = cause.downcast_ref::<ImageError>() {
        return match error {
            ImageError::Keep { .. } => Some("E0502"),
            ImageError::NoHook => Some("E0200"),
            _ => None,
        };
    }
    cause.is::<RenderError>().then_some("E0202")
}

fn of_place(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(error) = cause.downcast_ref::<StateError>() {
        return Some(match error {
            StateError::NoHome => "E0501",
            StateError::Io { .. } => "E0502",
            StateError::Unsafe { .. } => "E0503",
            StateError::Damaged { .. } => "E0504",
        });
    }
    if let Some(error) = cause.downcast_ref::<KeysError>() {
        return Some(match error {
            KeysError::Missing(_) => "E0505",
            KeysError::Unsafe { .. } => "E0503",
            KeysError::Damaged { .. } => "E0506",
            KeysError::Io { .. } => "E0507",
        });
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return Some(match error {
            StoreError::Locked { .. } => "E0600",
            StoreError::Damaged { .. } => "E0601",
            StoreError::Io { .. } | StoreError::Unavailable(_) => "E0602",
            StoreError::Conflict { .. } => "E0603",
        });
    }
    if let Some(error) = cause.downcast_ref::<SiteError>() {
        return matches!(error, SiteError::Unknown(_)).then_some("E0401");
    }
    if cause.is::<StepError>() {
        return Some("E0500");
    }
    cause.is::<NoCache>().then_some("E0501")
}

fn of_remote(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(error) = cause.downcast_ref::<ProviderError>() {
        return Some(match error {
            ProviderError::Rejected { .. } => "E0700",
            ProviderError::Quota { .. } => "E0701",
            ProviderError::NoCapacity { .. } => "E0702",
            ProviderError::Unavailable { .. } => "E0703",
        });
    }
    if let Some(error) = cause.downcast_ref::<RemoteError>() {
        return match error {
            RemoteError::NotUp(_) | RemoteError::Dropped(_) => Some("E0900"),
            RemoteError::WrongHostKey { .. } => Some("E0901"),
            RemoteError::KeyRefused(_) | RemoteError::AuthRefused { .. } => Some("E0902"),
            RemoteError::TimedOut { .. } | RemoteError::ScriptFailed { .. } => Some("E0903"),
            RemoteError::Unfit(_) => Some("E0904"),
            RemoteError::Here(_) => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<UpError>() {
        return matches!(error, UpError::NotUsable { .. }).then_some("E0800");
    }
    cause.is::<AccessError>().then_some("E0502")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::diagnostic;

    #[test]
    fn every_code_is_there_once_and_in_order() {
        let ids: Vec<&str> = CODES.iter().map(|(id, _)| *id).collect();
        let sorted: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids, sorted.into_iter().collect::<Vec<_>>());
        for kind in diagnostic::Flaw::ALL {
            assert!(ids.contains(&kind.code()), "{kind:?}");
        }
    }

    #[test]
    fn the_innermost_kind_decides_and_the_exit_code_stands_in() {
        let source = std::io::Error::other("full");
        let inner = StoreError::Io { what: "writing x".into(), source };
        let error = anyhow::Error::new(SiteError::Store(inner)).context("open");
        assert_eq!(of(&error, Exit::Failed), "E0602");
        let passed_on = anyhow::Error::new(SiteError::Keys(KeysError::Missing("keys".into())));
        assert_eq!(of(&passed_on, Exit::Failed), "E0505");
        assert_eq!(of(&anyhow::anyhow!("no"), Exit::Usage), "E0400");
    }
}
