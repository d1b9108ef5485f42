//! A ledger as it is stored in a ConfigMap: its JSON, packed by zstd. Pure.
//!
//! Invariants: what does not fit is refused, never cut; what cannot be read is damaged, never empty.

use std::io::Read;

use k8s_openapi::ByteString;
use provisioner::ledger::{CodecError, Ledger};
use provisioner::names::LedgerId;
use provisioner::store::StoreError;
use serde_json::Value;

/// A ConfigMap holds 1 MiB; 900 kB leave room for its other fields.
const MOST: usize = 900_000;
/// No ledger that fits packed is larger unpacked; what is, is none of ours.
const MOST_UNPACKED: u64 = 64 << 20;
/// The key under `binaryData`.
pub(super) const KEY: &str = "ledger";
const LEVEL: i32 = 6;

/// Of which ledger, in which object.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) name: String,
    id: LedgerId,
}

impl Parcel {
    pub(super) fn of(id: &LedgerId) -> Self {
        Self { name: format!("continuum-ledger-{id}"), id: id.clone() }
    }

    pub(super) fn place(&self) -> String {
        format!("the ConfigMap {}", self.name)
    }

    fn damaged(&self, why: impl std::fmt::Display) -> StoreError {
        self.unusable(CodecError::Damaged(serde::de::Error::custom(why)))
    }

    fn unusable(&self, source: CodecError) -> StoreError {
        let hint = "; restore the object from a backup of etcd, or let `continuum cluster adopt` take the machines over";
        StoreError::Damaged { place: self.place(), hint: hint.to_owned(), source }
    }

    /// There is no object.
    pub(super) fn missing(&self) -> StoreError {
        StoreError::Unavailable(format!(
            "{} is not there, and a missing ledger is not an empty one; \
             restore it from a backup of etcd, or let `continuum cluster adopt` take the machines over",
            self.place()
        ))
    }

    /// The value under [`KEY`].
    pub(super) fn pack(&self, ledger: &Ledger) -> Result<Value, StoreError> {
        if ledger.id != self.id {
            return Err(self.damaged(format!("{} is to be stored in its place", ledger.id)));
        }
        let text = ledger.to_json().map_err(|source| self.unusable(source))?;
        let what = || format!("packing the ledger for {}", self.place());
        let packed = zstd::encode_all(text.as_bytes(), LEVEL);
        let packed = packed.map_err(|source| StoreError::Io { what: what(), source })?;
        if packed.len() > MOST {
            let words = format!(
                "{} machines take {} bytes, and one object holds at most {MOST}; make the pools smaller",
                ledger.rows().len(),
                packed.len()
            );
            return Err(StoreError::Io { what: what(), source: std::io::Error::other(words) });
        }
        serde_json::to_value(ByteString(packed)).map_err(|error| self.damaged(error))
    }

    /// The ledger of an object.
    pub(super) fn unpack(&self, object: &Value) -> Result<Ledger, StoreError> {
        let field = object.pointer("/binaryData").and_then(|data| data.get(KEY));
        let field = field.ok_or_else(|| self.damaged(format!("it has no binaryData `{KEY}`")))?;
        let ByteString(packed) =
            serde_json::from_value(field.clone()).map_err(|_| self.damaged("its data is no base64"))?;
        let mut text = String::new();
        zstd::Decoder::new(packed.as_slice())
            .and_then(|decoder| decoder.take(MOST_UNPACKED).read_to_string(&mut text))
            .map_err(|error| self.damaged(error))?;
        let ledger = Ledger::from_json(&text).map_err(|source| self.unusable(source))?;
        if ledger.id != self.id {
            return Err(self.damaged(format!("it holds the ledger {}", ledger.id)));
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use provisioner::ledger::{Leaving, NewRow};
    use provisioner::names::{CloudId, ClusterId, ImageName, MachineId};
    use provisioner::provider::Owner;
    use provisioner::spec::Role;
    use serde_json::json;

    use super::*;
    use crate::decide::fixtures::{now, pool_name, shape};

    fn ledger() -> Ledger {
        let cluster = ClusterId::new("lab1-7k2m9qxa").unwrap();
        Ledger::new(LedgerId::from("a-1"), Owner::Autoscaler, cluster, CloudId::from("here"))
    }

    fn parcel() -> Parcel {
        Parcel::of(&LedgerId::from("a-1"))
    }

    /// A number that looks like chance.
    fn mixed(n: u64) -> u64 {
        let n = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        n ^ (n >> 31)
    }

    /// A ledger of Ready machines, whose ids look like a cloud's: nothing to pack them by.
    fn with_machines(count: u64) -> Ledger {
        let mut ledger = ledger();
        for n in 0..count {
            let row = NewRow {
                pool: pool_name("workers"),
                role: Role::Worker,
                shape: shape(4, 8),
                image: ImageName::from("debian-12"),
                zone: None,
                expose: Vec::new(),
                expires: None,
            };
            let name = ledger.add(row, now()).unwrap();
            let id = format!("{:016x}-{:016x}", mixed(n), mixed(n + 1_000_000));
            ledger.sight(&name, &MachineId::from(id.as_str())).unwrap();
            ledger.configure(&name).unwrap();
            ledger.ready(&name, &[]).unwrap();
        }
        ledger
    }

    fn object(parcel: &Parcel, ledger: &Ledger) -> Value {
        json!({"binaryData": {KEY: parcel.pack(ledger).unwrap()}})
    }

    #[test]
    fn two_thousand_ready_machines_fit_many_times_over() {
        let (parcel, ledger) = (parcel(), with_machines(2000));
        let object = object(&parcel, &ledger);
        let text = object["binaryData"][KEY].as_str().unwrap();
        assert!(text.len() < 200_000, "{} characters", text.len());
        assert_eq!(parcel.unpack(&object).unwrap(), ledger);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let mut ledger = with_machines(2);
        // Words that cannot be packed.
        let why: String = (0..200_000).map(mixed).map(|n| format!("{n:016x}")).collect();
        let name = ledger.rows().keys().next().cloned().unwrap();
        ledger.delete(&name, Leaving::Failed(why + "x")).unwrap();
        let Err(StoreError::Io { source, .. }) = parcel().pack(&ledger).map(drop) else { panic!("it fits") };
        assert!(source.to_string().starts_with("2 machines take "), "{source}");
    }

    #[test]
    fn what_cannot_be_read_is_damaged_and_never_empty() {
        let parcel = parcel();
        let mut other = ledger();
        other.id = LedgerId::from("a-2");
        let others = object(&Parcel::of(&other.id), &other);
        for bad in [
            json!({}),
            json!({"binaryData": {}}),
            json!({"binaryData": {KEY: ""}}),
            json!({"binaryData": {KEY: "!"}}),
            json!({"binaryData": {KEY: "AAAA"}}),
            others,
        ] {
            assert!(matches!(parcel.unpack(&bad), Err(StoreError::Damaged { .. })), "{bad}");
        }
        assert!(parcel.pack(&other).is_err());
    }
}
