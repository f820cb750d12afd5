//! A tenant's rows as what they are, for checks over a whole store.

use headwater_storage::tuple::{self, Element};
use headwater_storage::{StoreError, codec};
use headwater_tenancy::{AllowanceId, AllowanceRecord, Amounts, CounterKey, EntryId, Limits};

use super::records::{
    AmountsRecord, LedgerRow, LimitsRecord, RECORD, TENANCY, decode_allowance, decode_entry, unit,
    window,
};

/// Which row of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    Limits,
    Counter(CounterKey),
    /// An allowance that did not come back yet.
    Allowance(AllowanceId),
    Entry(EntryId),
    Usage {
        /// Since 1970.
        day: u64,
        model: String,
    },
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowValue {
    Limits(Limits),
    /// What was handed out of a limit in its window.
    Counter(u64),
    Allowance(AllowanceRecord),
    Entry(LedgerRow),
    Usage(Amounts),
}

/// The tenant and the row that this key names; `None` for a row of another kind.
///
/// # Errors
/// [`StoreError::Corrupt`] for a key that cannot be read.
pub fn row_key(key: &[u8]) -> Result<Option<(String, RowKey)>, StoreError> {
    let mut elements = tuple::unpack(key)?.into_iter();
    let (Some(Element::Text(space)), Some(Element::Text(tenant)), Some(Element::Text(kind))) =
        (elements.next(), elements.next(), elements.next())
    else {
        return Ok(None);
    };
    if space != TENANCY {
        return Ok(None);
    }
    let rest: Vec<Element> = elements.collect();
    let row = match (kind.as_str(), rest.as_slice()) {
        ("limits", []) => RowKey::Limits,
        ("counter", [Element::Text(every), Element::Integer(index), Element::Text(of), model]) => {
            let model = match model {
                Element::Text(model) => Some(model.clone()),
                _ => None,
            };
            let index = u64::try_from(*index).unwrap_or(0);
            RowKey::Counter(CounterKey { model, unit: unit(of)?, window: window(every)?, index })
        }
        ("allowance", [Element::Bytes(id)]) => RowKey::Allowance(AllowanceId(id_of(id)?)),
        ("ledger", [Element::Bytes(id)]) => RowKey::Entry(EntryId(id_of(id)?)),
        ("usage", [Element::Integer(day), Element::Text(model)]) => {
            RowKey::Usage { day: u64::try_from(*day).unwrap_or(0), model: model.clone() }
        }
        _ => return Ok(None),
    };
    Ok(Some((tenant, row)))
}

fn id_of(bytes: &[u8]) -> Result<u128, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Corrupt("an id in a key".to_owned()))?;
    Ok(u128::from_be_bytes(bytes))
}

/// What the row of this key says.
///
/// # Errors
/// [`StoreError::Corrupt`] for bytes that are no such row.
pub fn row_value(key: &RowKey, value: &[u8]) -> Result<RowValue, StoreError> {
    Ok(match key {
        RowKey::Limits => {
            let record: LimitsRecord = codec::decode(RECORD, value)?;
            RowValue::Limits(Limits::try_from(record)?)
        }
        RowKey::Counter(_) => RowValue::Counter(codec::decode(RECORD, value)?),
        RowKey::Allowance(_) => RowValue::Allowance(decode_allowance(value)?),
        RowKey::Entry(id) => RowValue::Entry(decode_entry(*id, value)?),
        RowKey::Usage { .. } => {
            let record: AmountsRecord = codec::decode(RECORD, value)?;
            RowValue::Usage(record.into())
        }
    })
}
