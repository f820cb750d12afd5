//! A tenant's rows in the store: limits, counters, allowances, ledger, usage.

use headwater_storage::retry::Retry;
use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, RangeRead, StoreError, codec};
use headwater_tenancy::{
    Allowance, AllowanceId, AllowanceRecord, Amounts, CounterKey, Entry, EntryId, Limit, Limits,
    NoticeKey, Unit, Window,
};
use serde::{Deserialize, Serialize};

pub(super) const RECORD: u8 = 1;
pub(super) const TENANCY: &str = "tenancy";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn key(tenant: &str, rest: &[Element]) -> Vec<u8> {
    let mut elements = vec![TENANCY.into(), tenant.into()];
    elements.extend_from_slice(rest);
    tuple::pack(&elements)
}

fn number(value: u64) -> Element {
    Element::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(super) fn limits_key(tenant: &str) -> Vec<u8> {
    key(tenant, &["limits".into()])
}

pub(super) fn meta_key(tenant: &str) -> Vec<u8> {
    key(tenant, &["meta".into()])
}

fn counter_elements(kind: &str, counter: &CounterKey) -> Vec<Element> {
    let model = counter.model.as_deref().map_or(Element::Null, Element::from);
    let window = counter.window.name().into();
    vec![kind.into(), window, number(counter.index), counter.unit.name().into(), model]
}

pub(super) fn counter_key(tenant: &str, counter: &CounterKey) -> Vec<u8> {
    key(tenant, &counter_elements("counter", counter))
}

/// Stands once a threshold was told.
pub(super) fn told_key(tenant: &str, notice: &NoticeKey) -> Vec<u8> {
    let mut elements = counter_elements("told", &notice.counter);
    elements.push(number(notice.percent.into()));
    key(tenant, &elements)
}

/// Rows of windows of this kind before `index`: `counter`, or what was `told` of them.
pub(super) fn windows_before(tenant: &str, kind: &str, window: Window, index: u64) -> KeyRange {
    let begin = key(tenant, &[kind.into(), window.name().into()]);
    let end = key(tenant, &[kind.into(), window.name().into(), number(index)]);
    KeyRange { begin, end }
}

pub(super) fn allowance_key(tenant: &str, id: AllowanceId) -> Vec<u8> {
    key(tenant, &["allowance".into(), Element::Bytes(id.0.to_be_bytes().to_vec())])
}

pub(super) fn allowances_of(tenant: &str) -> KeyRange {
    tuple::below(&[TENANCY.into(), tenant.into(), "allowance".into()])
}

pub(super) fn ledger_key(tenant: &str, id: EntryId) -> Vec<u8> {
    key(tenant, &["ledger".into(), Element::Bytes(id.0.to_be_bytes().to_vec())])
}

/// One row a day and model.
pub(super) fn usage_key(tenant: &str, at_ms: u64, model: &str) -> Vec<u8> {
    key(tenant, &["usage".into(), number(at_ms / DAY_MS), model.into()])
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct AmountsRecord {
    requests: u64,
    tokens: u64,
    micro_usd: u64,
}

impl From<Amounts> for AmountsRecord {
    fn from(Amounts { requests, tokens, micro_usd }: Amounts) -> Self {
        AmountsRecord { requests, tokens, micro_usd }
    }
}

impl From<AmountsRecord> for Amounts {
    fn from(AmountsRecord { requests, tokens, micro_usd }: AmountsRecord) -> Self {
        Amounts { requests, tokens, micro_usd }
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct LimitRecord {
    model: Option<String>,
    unit: String,
    window: String,
    amount: u64,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct LimitsRecord {
    revision: u64,
    limits: Vec<LimitRecord>,
}

pub(super) fn unit(name: &str) -> Result<Unit, StoreError> {
    Unit::named(name).ok_or_else(|| StoreError::Corrupt(format!("there is no unit '{name}'")))
}

pub(super) fn window(name: &str) -> Result<Window, StoreError> {
    Window::named(name).ok_or_else(|| StoreError::Corrupt(format!("there is no window '{name}'")))
}

impl From<&Limit> for LimitRecord {
    fn from(limit: &Limit) -> Self {
        LimitRecord {
            model: limit.model.clone(),
            unit: limit.unit.name().to_owned(),
            window: limit.window.name().to_owned(),
            amount: limit.amount,
        }
    }
}

impl TryFrom<LimitRecord> for Limit {
    type Error = StoreError;

    fn try_from(record: LimitRecord) -> Result<Limit, StoreError> {
        let (unit, window) = (unit(&record.unit)?, window(&record.window)?);
        Ok(Limit { model: record.model, unit, window, amount: record.amount })
    }
}

impl From<&Limits> for LimitsRecord {
    fn from(limits: &Limits) -> Self {
        let records = limits.limits.iter().map(LimitRecord::from).collect();
        LimitsRecord { revision: limits.revision, limits: records }
    }
}

impl TryFrom<LimitsRecord> for Limits {
    type Error = StoreError;

    fn try_from(record: LimitsRecord) -> Result<Limits, StoreError> {
        let limits = record.limits.into_iter().map(Limit::try_from).collect::<Result<_, _>>()?;
        Ok(Limits { revision: record.revision, limits })
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CounterRecord {
    model: Option<String>,
    unit: String,
    window: String,
    index: u64,
}

impl From<&CounterKey> for CounterRecord {
    fn from(key: &CounterKey) -> Self {
        let (unit, window) = (key.unit.name().to_owned(), key.window.name().to_owned());
        CounterRecord { model: key.model.clone(), unit, window, index: key.index }
    }
}

impl TryFrom<CounterRecord> for CounterKey {
    type Error = StoreError;

    fn try_from(record: CounterRecord) -> Result<CounterKey, StoreError> {
        let (unit, window) = (unit(&record.unit)?, window(&record.window)?);
        Ok(CounterKey { model: record.model, unit, window, index: record.index })
    }
}

#[derive(Serialize, Deserialize)]
struct AllowanceRow {
    id: u128,
    amounts: AmountsRecord,
    valid_ms: u64,
    outage_budget: AmountsRecord,
    revision: u64,
    edge: String,
    model: String,
    counters: Vec<CounterRecord>,
    granted_ms: u64,
}

pub(super) fn encode_allowance(record: &AllowanceRecord) -> Result<Vec<u8>, StoreError> {
    let Allowance { id, amounts, valid_ms, outage_budget, revision, .. } = record.allowance.clone();
    let row = AllowanceRow {
        id: id.0,
        amounts: amounts.into(),
        valid_ms,
        outage_budget: outage_budget.into(),
        revision,
        edge: record.edge.clone(),
        model: record.model.clone(),
        counters: record.counters.iter().map(CounterRecord::from).collect(),
        granted_ms: record.granted_ms,
    };
    codec::encode(RECORD, &row)
}

pub(super) fn decode_allowance(bytes: &[u8]) -> Result<AllowanceRecord, StoreError> {
    let row: AllowanceRow = codec::decode(RECORD, bytes)?;
    let allowance = Allowance {
        id: AllowanceId(row.id),
        amounts: row.amounts.into(),
        valid_ms: row.valid_ms,
        outage_budget: row.outage_budget.into(),
        revision: row.revision,
        // How things stood then helps nobody now.
        standing: Vec::new(),
    };
    let counters =
        row.counters.into_iter().map(CounterKey::try_from).collect::<Result<Vec<_>, _>>()?;
    let AllowanceRow { edge, model, granted_ms, .. } = row;
    Ok(AllowanceRecord { allowance, edge, model, counters, granted_ms })
}

#[derive(Serialize, Deserialize)]
struct EntryRow {
    model: String,
    used: AmountsRecord,
    uncovered: AmountsRecord,
    unverified: bool,
    allowance: Option<u128>,
    at_ms: u64,
    sequence: u64,
    epoch: u64,
}

/// One request in a tenant's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    pub entry: Entry,
    /// Number of the owner's transaction that wrote it, without gaps from 1 on.
    pub sequence: u64,
    /// The owner's epoch; it never falls as `sequence` rises.
    pub epoch: u64,
}

pub(super) fn encode_entry(row: &LedgerRow) -> Result<Vec<u8>, StoreError> {
    let entry = &row.entry;
    let row = EntryRow {
        model: entry.model.clone(),
        used: entry.used.into(),
        uncovered: entry.uncovered.into(),
        unverified: entry.unverified,
        allowance: entry.allowance.map(|id| id.0),
        at_ms: entry.at_ms,
        sequence: row.sequence,
        epoch: row.epoch,
    };
    codec::encode(RECORD, &row)
}

pub(super) fn decode_entry(id: EntryId, bytes: &[u8]) -> Result<LedgerRow, StoreError> {
    let row: EntryRow = codec::decode(RECORD, bytes)?;
    let entry = Entry {
        id,
        model: row.model,
        used: row.used.into(),
        uncovered: row.uncovered.into(),
        unverified: row.unverified,
        allowance: row.allowance.map(AllowanceId),
        at_ms: row.at_ms,
    };
    Ok(LedgerRow { entry, sequence: row.sequence, epoch: row.epoch })
}

/// At most `limit` rows of a tenant's ledger, in order of id, behind `after`.
///
/// # Errors
/// The store's.
pub async fn ledger_rows(
    retry: &Retry,
    tenant: &str,
    after: Option<u128>,
    limit: usize,
) -> Result<Vec<LedgerRow>, StoreError> {
    let mut range = tuple::below(&[TENANCY.into(), tenant.into(), "ledger".into()]);
    if let Some(after) = after {
        range.begin = KeyRange::of_key(&ledger_key(tenant, EntryId(after))).end;
    }
    let read = RangeRead::all(range).limit(limit).snapshot();
    let pairs = retry
        .read(|transaction| {
            let read = read.clone();
            Box::pin(async move { transaction.range(read).await })
        })
        .await?;
    let mut rows = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let Some(Element::Bytes(id)) = tuple::unpack(&key)?.pop() else { continue };
        let id = id.try_into().map_err(|_| StoreError::Corrupt("a ledger key".to_owned()))?;
        rows.push(decode_entry(EntryId(u128::from_be_bytes(id)), &value)?);
    }
    Ok(rows)
}

/// What a tenant used: day since 1970, model, sum.
///
/// # Errors
/// The store's.
pub async fn usage_rows(
    retry: &Retry,
    tenant: &str,
    limit: usize,
) -> Result<Vec<(u64, String, Amounts)>, StoreError> {
    let range = tuple::below(&[TENANCY.into(), tenant.into(), "usage".into()]);
    let read = RangeRead::all(range).limit(limit).reverse().snapshot();
    let pairs = retry
        .read(|transaction| {
            let read = read.clone();
            Box::pin(async move { transaction.range(read).await })
        })
        .await?;
    let mut rows = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let mut elements = tuple::unpack(&key)?;
        let (Some(Element::Text(model)), Some(Element::Integer(day))) =
            (elements.pop(), elements.pop())
        else {
            continue;
        };
        let used: AmountsRecord = codec::decode(RECORD, &value)?;
        rows.push((day.max(0) as u64, model, used.into()));
    }
    Ok(rows)
}
