//! A row store for one tenant, and the owner's transaction over it.

use std::collections::BTreeMap;

use super::accounts::{Accounts, Checked, Invariant, hold};
use crate::{
    AllowanceId, AllowanceRecord, Books, Entry, EntryId, GrantSettings, Limits, Operation, Outcome,
    apply_return, charge, grant,
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) books: Books,
    records: BTreeMap<AllowanceId, AllowanceRecord>,
    pub(super) ledger: BTreeMap<EntryId, Entry>,
}

impl Rows {
    /// All of it in one transaction, compared with the second set of books.
    pub(super) fn commit(
        &mut self,
        operations: &[Operation],
        wall_ms: u64,
        settings: &GrantSettings,
        accounts: &mut Accounts,
    ) -> Checked<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for operation in operations {
            outcomes.push(match operation {
                Operation::Ask(ask) => {
                    let existing = self.records.get(&ask.id);
                    let result = grant(&mut self.books, existing, ask, wall_ms, settings);
                    accounts.asked(&self.books.limits, ask, &result, wall_ms)?;
                    match result {
                        Ok(record) => {
                            let allowance = record.allowance.clone();
                            self.records.insert(ask.id, record);
                            Outcome::Granted(allowance)
                        }
                        Err(exhausted) => Outcome::Exhausted(exhausted),
                    }
                }
                Operation::Report(report) => {
                    for entry in &report.entries {
                        self.charge(entry, wall_ms, accounts)?;
                    }
                    for given_back in &report.returns {
                        let existing = self.records.get(&given_back.id);
                        if apply_return(&mut self.books, existing, given_back) {
                            self.records.remove(&given_back.id);
                        }
                        accounts.returned(given_back)?;
                    }
                    Outcome::Written
                }
                Operation::SetLimits(limits) => {
                    let revision = self.books.limits.revision + 1;
                    self.books.limits = Limits { revision, ..limits.clone() };
                    Outcome::LimitsSet { revision }
                }
                Operation::Look => Outcome::Looked(self.books.clone()),
            });
        }
        accounts.check_counters(&self.books)?;
        Ok(outcomes)
    }

    fn charge(&mut self, entry: &Entry, wall_ms: u64, accounts: &mut Accounts) -> Checked {
        let stands_already = self.ledger.contains_key(&entry.id);
        if charge(&mut self.books, stands_already, entry, wall_ms) {
            let before = self.ledger.insert(entry.id, entry.clone());
            hold(before.is_none(), Invariant::LedgerHasItOnce, || format!("{entry:?}"))?;
        }
        accounts.charged(&self.books.limits, entry, wall_ms)
    }
}
