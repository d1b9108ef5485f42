//! What a ledger learns from machines that it did not make, and from an earlier state of its own.

use super::Ledger;
use crate::names::MachineName;

impl Ledger {
    /// A row is as it was in `before`, a state of this ledger: what was decided about it since does not count.
    pub fn take_back(&mut self, before: &Self, name: &MachineName) {
        if let Some(row) = before.row(name) {
            self.rows.insert(name.clone(), row.clone());
        }
    }

    /// No new row gets the ordinal of one of these names, whoever's they are: a name that is there is never made again.
    pub fn raise_past<'a>(&mut self, names: impl IntoIterator<Item = &'a MachineName>) {
        let highest = names.into_iter().filter_map(MachineName::ordinal).max().unwrap_or(0);
        self.next_ordinal = self.next_ordinal.max(highest.saturating_add(1));
    }
}
