//! Where a space's rows lie in the store: everything below `("vectors", name)`.

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, STAMP_BYTES, Stamp, Stamped, StoreError};
use headwater_vectors::RecordId;

const VECTORS: &str = "vectors";
const RECORD: &str = "record";
const LOG: &str = "log";
const MARK: &str = "mark";
const CALIBRATION: &str = "calibration";

/// The keys of one space; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    name: std::sync::Arc<str>,
}

impl Keys {
    pub(crate) fn of(name: &str) -> Self {
        Keys { name: name.into() }
    }

    fn elements(&self, rest: &[Element]) -> Vec<Element> {
        let mut elements = vec![VECTORS.into(), self.name.as_ref().into()];
        elements.extend_from_slice(rest);
        elements
    }

    fn pack(&self, rest: &[Element]) -> Vec<u8> {
        tuple::pack(&self.elements(rest))
    }

    pub(crate) fn all(&self) -> KeyRange {
        tuple::below(&self.elements(&[]))
    }

    pub(crate) fn space(&self) -> Vec<u8> {
        self.pack(&["space".into()])
    }

    /// A little-endian u64.
    pub(crate) fn count(&self) -> Vec<u8> {
        self.pack(&["count".into()])
    }

    /// The low or the high ends of the calibration.
    pub(crate) fn calibration(&self, end: &str) -> Vec<u8> {
        self.pack(&[CALIBRATION.into(), end.into()])
    }

    pub(crate) fn record(&self, id: &RecordId) -> Vec<u8> {
        self.pack(&[RECORD.into(), id.0.as_slice().into()])
    }

    /// All records, or those behind one of them.
    pub(crate) fn records(&self, after: Option<&RecordId>) -> KeyRange {
        let mut range = tuple::below(&self.elements(&[RECORD.into()]));
        if let Some(after) = after {
            range.begin = KeyRange::of_key(&self.record(after)).end;
        }
        range
    }

    /// The id in a record's key.
    pub(crate) fn record_id(key: &[u8]) -> Result<RecordId, StoreError> {
        match tuple::unpack(key)?.pop() {
            Some(Element::Bytes(bytes)) => bytes.as_slice().try_into().map(RecordId).ok(),
            _ => None,
        }
        .ok_or_else(|| StoreError::Corrupt("a record's key holds no id of 32 bytes".to_owned()))
    }

    /// A new row of the log: what changed in one commit.
    pub(crate) fn new_log_row(&self) -> Stamped {
        tuple::pack_stamped(&self.elements(&[LOG.into()]), 0)
    }

    /// The log behind a stamp, or all of it.
    pub(crate) fn log(&self, after: Option<&Stamp>) -> KeyRange {
        self.stamped(LOG, after)
    }

    /// The log up to a stamp, which is in it.
    pub(crate) fn log_until(&self, last: &Stamp) -> KeyRange {
        KeyRange { begin: self.stamped(LOG, None).begin, end: self.stamped(LOG, Some(last)).begin }
    }

    pub(crate) fn new_mark(&self) -> Stamped {
        tuple::pack_stamped(&self.elements(&[MARK.into()]), 0)
    }

    pub(crate) fn marks(&self) -> KeyRange {
        self.stamped(MARK, None)
    }

    pub(crate) fn marks_until(&self, last: &Stamp) -> KeyRange {
        let begin = self.stamped(MARK, None).begin;
        KeyRange { begin, end: self.stamped(MARK, Some(last)).begin }
    }

    /// The stamp up to which the log was dropped.
    pub(crate) fn trimmed(&self) -> Vec<u8> {
        self.pack(&["trimmed".into()])
    }

    fn stamped(&self, kind: &str, after: Option<&Stamp>) -> KeyRange {
        let mut range = tuple::below(&self.elements(&[kind.into()]));
        if let Some(stamp) = after {
            let key = self.pack(&[kind.into(), Element::Stamp(*stamp, 0)]);
            range.begin = KeyRange::of_key(&key).end;
        }
        range
    }

    /// The stamp at the end of a key of the log or of a mark.
    pub(crate) fn stamp(key: &[u8]) -> Result<Stamp, StoreError> {
        match tuple::unpack(key)?.pop() {
            Some(Element::Stamp(stamp, _)) => Ok(stamp),
            _ => Err(StoreError::Corrupt("a key of the vectors' log holds no stamp".to_owned())),
        }
    }
}

/// A stamp kept as a value.
pub(crate) fn stamp_of(value: &[u8]) -> Result<Stamp, StoreError> {
    value.try_into().map_err(|_| {
        let given = value.len();
        StoreError::Corrupt(format!("a stamp has {given} bytes, it must have {STAMP_BYTES}"))
    })
}
