//! What must hold: one owner at a time, and a ledger and counters that agree with what happened.

use std::collections::BTreeMap;

use headwater_actors::tenancy::{LedgerRow, RowKey, RowValue, row_key, row_value};
use headwater_storage::Pair;
use headwater_tenancy::{AllowanceRecord, CounterKey};

use super::Parameters;
use super::clients::{Fate, Request};
use crate::lockstep::workload::Clients;

/// Nodes tell of their leases every 10 ms, and their words take up to 25 ms.
const HEARD_LATE_MS: u64 = 50;

/// For how long one start of one node held a tenant at most.
struct Hold {
    node: usize,
    incarnation: u64,
    epoch: u64,
    until_ms: u64,
    /// Number of the last word on it.
    number: u64,
}

/// What a node says of one of its leases.
pub(super) struct Word {
    pub(super) node: usize,
    /// Grows with every word of one start of the node.
    pub(super) number: u64,
    pub(super) left_ms: u64,
}

/// Who held which tenant when, as the nodes tell.
#[derive(Default)]
pub(super) struct Holdings {
    holds: BTreeMap<String, Vec<Hold>>,
}

impl Holdings {
    /// A node holds a tenant, for so long yet unless it renews.
    pub(super) fn holds(&mut self, clients: &mut Clients<'_>, name: &str, epoch: u64, word: &Word) {
        let (node, number) = (word.node, word.number);
        let (now_ms, incarnation) = (clients.now_ms, clients.incarnation(node));
        let until_ms = now_ms + word.left_ms;
        let holds = self.holds.entry(name.to_owned()).or_default();
        let same = |hold: &&mut Hold| {
            hold.node == node && hold.incarnation == incarnation && hold.epoch == epoch
        };
        if let Some(hold) = holds.iter_mut().find(same) {
            if number > hold.number {
                (hold.until_ms, hold.number) = (until_ms, number);
            }
            return;
        }
        for other in holds.iter() {
            let who = format!("n{} and n{}", other.node + 1, node + 1);
            if other.epoch == epoch {
                clients.violated("epochs_grow", format!("{name}: {who} with epoch {epoch}"));
            }
            let elsewhere = (other.node, other.incarnation) != (node, incarnation);
            let later = other.epoch < epoch;
            if elsewhere && later && other.until_ms > now_ms + HEARD_LATE_MS {
                let seen = format!("{name}: {who}, {} ms too early", other.until_ms - now_ms);
                clients.violated("one_owner_at_a_time", seen);
            }
        }
        clients.count(if holds.is_empty() { "tenant owned" } else { "tenant taken over" });
        holds.push(Hold { node, incarnation, epoch, until_ms, number });
    }

    /// A node no longer holds a tenant.
    pub(super) fn lost(&mut self, clients: &mut Clients<'_>, name: &str, epoch: u64, word: &Word) {
        let (now_ms, incarnation) = (clients.now_ms, clients.incarnation(word.node));
        let holds = self.holds.entry(name.to_owned()).or_default();
        let same = |hold: &&mut Hold| {
            hold.node == word.node && hold.incarnation == incarnation && hold.epoch == epoch
        };
        for hold in holds.iter_mut().filter(same) {
            if word.number > hold.number {
                (hold.until_ms, hold.number) = (hold.until_ms.min(now_ms), word.number);
            }
        }
    }
}

/// The tenants' rows as the run left them.
#[derive(Default)]
pub(super) struct Ledger {
    /// By tag.
    entries: BTreeMap<u64, Vec<(String, LedgerRow)>>,
    counters: Vec<(String, CounterKey, u64)>,
    outstanding: Vec<(String, AllowanceRecord)>,
}

impl Ledger {
    pub(super) fn read(clients: &mut Clients<'_>, store: &[Pair]) -> Ledger {
        let mut ledger = Ledger::default();
        for (key, value) in store {
            let Ok(Some((tenant, key))) = row_key(key) else { continue };
            match (&key, row_value(&key, value)) {
                (_, Ok(RowValue::Entry(row))) => {
                    let tag = row.entry.used.micro_usd;
                    ledger.entries.entry(tag).or_default().push((tenant, row));
                }
                (RowKey::Counter(counter), Ok(RowValue::Counter(count))) => {
                    ledger.counters.push((tenant, counter.clone(), count));
                }
                (_, Ok(RowValue::Allowance(record))) => ledger.outstanding.push((tenant, record)),
                (_, Ok(_)) => {}
                (_, Err(error)) => clients.violated("rows_can_be_read", error),
            }
        }
        ledger
    }
}

/// Each request against the ledger. `written` says which living nodes told all they had.
pub(super) fn requests(
    clients: &mut Clients<'_>,
    requests: &BTreeMap<u64, Request>,
    ledger: &Ledger,
    written: &BTreeMap<(usize, u64), bool>,
) {
    for (tag, request) in requests {
        let entries = ledger.entries.get(tag).map_or(&[][..], Vec::as_slice);
        if entries.len() > 1 {
            let seen = format!("request {tag} stands there {} times", entries.len());
            clients.violated("an_entry_is_in_the_ledger_once", seen);
        }
        let told_all = written.get(&(request.node, request.incarnation)) == Some(&true);
        let must_stand = match request.fate {
            Fate::Settled { in_time } => (in_time && !request.unverified) || told_all,
            _ => false,
        };
        if must_stand && entries.is_empty() {
            let seen = format!("request {tag} of {} is missing", request.tenant);
            clients.violated("an_acknowledged_entry_is_in_the_ledger", seen);
        }
        for (tenant, row) in entries {
            let entry = &row.entry;
            let right = *tenant == request.tenant
                && entry.used.tokens == request.used
                && entry.unverified == request.unverified;
            if !right {
                let seen = format!("request {tag}: {tenant}, {entry:?}");
                clients.violated("the_ledger_tells_the_truth", seen);
            }
            if matches!(request.fate, Fate::Refused | Fate::Left | Fate::Asked) {
                let seen = format!("request {tag} was {:?} and is charged", request.fate);
                clients.violated("only_what_was_used_is_charged", seen);
            }
        }
    }
    if let Some(tag) = ledger.entries.keys().find(|tag| !requests.contains_key(*tag)) {
        clients.violated("only_what_was_used_is_charged", format!("tag {tag} is nobody's"));
    }
}

/// The limits against the counters, and the counters against the books.
pub(super) fn bounds(
    clients: &mut Clients<'_>,
    requests: &BTreeMap<u64, Request>,
    ledger: &Ledger,
    parameters: &Parameters,
) {
    let limit = parameters.tokens_per_minute;
    for number in 0..parameters.tenants {
        let name = super::tenant(number);
        let entries =
            ledger.entries.values().flatten().filter(|(tenant, _)| *tenant == name).map(|it| &it.1);
        let entries: Vec<&LedgerRow> = entries.collect();
        let uncovered: u64 = entries.iter().map(|row| row.entry.uncovered.tokens).sum();
        let counters: Vec<&(String, CounterKey, u64)> =
            ledger.counters.iter().filter(|(tenant, ..)| *tenant == name).collect();
        for (_, key, count) in &counters {
            if *count > limit + uncovered {
                let seen = format!("{name} minute {}: {count} of {limit}", key.index);
                clients.violated("admitted_within_the_bound", seen);
            }
        }
        let out: Vec<&AllowanceRecord> = ledger
            .outstanding
            .iter()
            .filter(|(tenant, _)| *tenant == name)
            .map(|(_, record)| record)
            .collect();
        let is_out = |row: &LedgerRow| {
            out.iter().any(|record| Some(record.allowance.id) == row.entry.allowance)
        };
        let (mut back, mut of_out) = (0, 0);
        for row in &entries {
            let covered = row.entry.used.minus(row.entry.uncovered).tokens;
            *(if is_out(row) { &mut of_out } else { &mut back }) += covered;
        }
        let handed_out: u64 = out.iter().map(|record| record.allowance.amounts.tokens).sum();
        let counted: u64 = counters.iter().map(|(.., count)| *count).sum();
        let least = back + uncovered + handed_out;
        // A late copy of an ask may be granted a second time after its allowance came back:
        // then what was used of the first counts beside the second.
        if counted < least || counted > least + of_out {
            let seen = format!("{name}: {counted} counted, {least} and at most {of_out} more used");
            clients.violated("counters_match_the_books", seen);
        }
        clients.note(format!(
            "{name}: {} entries, {} tokens, {uncovered} uncovered, {handed_out} still out",
            entries.len(),
            entries.iter().map(|row| row.entry.used.tokens).sum::<u64>(),
        ));
    }
    outages(clients, requests, limit * parameters.outage_share_percent / 100);
}

/// What each start of a node admitted by itself. A run touches two minutes at most, and each has
/// a budget of its own.
fn outages(clients: &mut Clients<'_>, requests: &BTreeMap<u64, Request>, budget: u64) {
    let mut sums: BTreeMap<(usize, u64, &str), u64> = BTreeMap::new();
    for request in requests.values().filter(|request| request.unverified) {
        let key = (request.node, request.incarnation, request.tenant.as_str());
        *sums.entry(key).or_default() += request.estimate;
    }
    for ((node, _, tenant), sum) in sums {
        if sum > 2 * budget {
            let seen = format!("n{} admitted {sum} of {tenant}, budget {budget}", node + 1);
            clients.violated("outage_is_bounded_and_marked", seen);
        }
    }
}
