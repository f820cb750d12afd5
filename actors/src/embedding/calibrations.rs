//! How the components of each model version's vectors spread, learnt once and then fixed.
//!
//! Bytes of one version can be compared only when they were scaled alike. So the ranges are
//! learnt from the first vectors that are served, written to the store, and never change: of two
//! nodes that learn at once, the first one's ranges stand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_storage::retry::Retry;
use headwater_storage::{ReadMode, StoreError, codec, tuple};
use headwater_vectors::quantise::Calibration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::{Duration, timeout};

const CALIBRATION_RECORD: u8 = 1;
/// Longest wait of an answer for the store, in ms; without it the answer is scaled as if nothing
/// was learnt, and says so.
const READ_MS: u64 = 1_000;
/// Bytes of the digest that names a calibration.
const ID_BYTES: usize = 8;

/// How ranges are learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationSettings {
    /// Vectors that a version's ranges are learnt from; at least 1.
    pub sample: usize,
    /// Share of the sample left out at each end of a component, against outliers.
    pub cut: f64,
}

impl Default for CalibrationSettings {
    fn default() -> Self {
        CalibrationSettings { sample: 4096, cut: 0.001 }
    }
}

/// Ranges that stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Learnt {
    /// Names these ranges: the first 16 hex digits of SHA-256 over low and high ends in order,
    /// each a 32-bit float in little-endian order.
    pub id: String,
    pub calibration: Calibration,
    /// How many vectors they were learnt from.
    pub sampled: usize,
}

/// Key: `("embedding", "calibration", fingerprint, dimensions)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CalibrationRecord {
    low: Vec<f32>,
    high: Vec<f32>,
    sampled: u64,
}

impl CalibrationRecord {
    fn learnt(self) -> Result<Learnt, StoreError> {
        let ends = self.low.iter().chain(&self.high);
        let bytes: Vec<u8> = ends.flat_map(|end| end.to_le_bytes()).collect();
        let digest = Sha256::digest(bytes);
        let id = digest.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect();
        let calibration = Calibration::new(self.low, self.high)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let sampled = usize::try_from(self.sampled).unwrap_or(usize::MAX);
        Ok(Learnt { id, calibration, sampled })
    }
}

/// What is known of one version's vectors of one length.
enum State {
    /// Vectors so far, at most the sample; whether the store was asked.
    Learning {
        sample: Vec<Vec<f32>>,
        asked: bool,
    },
    /// The sample is full and on its way into the store.
    Storing,
    Stands(Arc<Learnt>),
}

/// By fingerprint and number of components: shortened vectors spread otherwise.
type States = BTreeMap<(String, usize), State>;

/// The ranges of all versions; cheap to clone.
#[derive(Clone)]
pub struct Calibrations {
    retry: Retry,
    settings: CalibrationSettings,
    states: Arc<Mutex<States>>,
}

impl Calibrations {
    pub fn new(retry: Retry, settings: CalibrationSettings) -> Self {
        let settings = CalibrationSettings { sample: settings.sample.max(1), ..settings };
        Calibrations { retry, settings, states: Arc::default() }
    }

    fn states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many vectors the sample holds so far.
    #[cfg(test)]
    pub(super) fn sampled(&self, fingerprint: &str, dimensions: usize) -> usize {
        match self.states().get(&(fingerprint.to_owned(), dimensions)) {
            Some(State::Learning { sample, .. }) => sample.len(),
            _ => 0,
        }
    }

    /// Takes vectors of one length into the version's sample until it is full.
    pub fn observe(&self, fingerprint: &str, vectors: &[Vec<f32>]) {
        let Some(first) = vectors.first() else { return };
        let key = (fingerprint.to_owned(), first.len());
        let mut states = self.states();
        let state = states
            .entry(key.clone())
            .or_insert_with(|| State::Learning { sample: Vec::new(), asked: false });
        let State::Learning { sample, .. } = state else { return };
        let room = self.settings.sample - sample.len();
        let fits = vectors.iter().filter(|vector| vector.len() == key.1).take(room);
        sample.extend(fits.cloned());
        if sample.len() < self.settings.sample {
            return;
        }
        let sample = std::mem::take(sample);
        *state = State::Storing;
        drop(states);
        tokio::spawn(self.clone().freeze(key, sample));
    }

    /// The ranges of a version's vectors of this length, from the store when this node has not
    /// read them yet; none while they are being learnt.
    pub async fn find(&self, fingerprint: &str, dimensions: usize) -> Option<Arc<Learnt>> {
        let key = (fingerprint.to_owned(), dimensions);
        match self.states().get(&key) {
            Some(State::Stands(learnt)) => return Some(Arc::clone(learnt)),
            Some(State::Storing | State::Learning { asked: true, .. }) => return None,
            Some(State::Learning { asked: false, .. }) | None => {}
        }
        let read = timeout(Duration::from_millis(READ_MS), self.read(&key)).await.ok()?;
        let found = read.inspect_err(|error| warn(&key, error)).ok()?;
        let mut states = self.states();
        if let Some(learnt) = found {
            let learnt = Arc::new(learnt);
            states.insert(key, State::Stands(Arc::clone(&learnt)));
            return Some(learnt);
        }
        let state =
            states.entry(key).or_insert(State::Learning { sample: Vec::new(), asked: true });
        if let State::Learning { asked, .. } = state {
            *asked = true;
        }
        None
    }

    async fn read(&self, key: &(String, usize)) -> Result<Option<Learnt>, StoreError> {
        let row_key = row_key(key);
        let row = self
            .retry
            .read(|transaction| {
                let row_key = row_key.clone();
                Box::pin(async move { transaction.get(&row_key, ReadMode::Serializable).await })
            })
            .await?;
        row.map(|row| codec::decode::<CalibrationRecord>(CALIBRATION_RECORD, &row)?.learnt())
            .transpose()
    }

    /// Writes the sample's ranges, or finds those that another node wrote first.
    async fn freeze(self, key: (String, usize), sample: Vec<Vec<f32>>) {
        let stands = self.write(&key, sample).await;
        let stands = stands.inspect_err(|error| warn(&key, error));
        // After a failure it begins anew: the store may be back by then.
        let state = stands.map_or_else(
            |_| State::Learning { sample: Vec::new(), asked: false },
            |learnt| State::Stands(Arc::new(learnt)),
        );
        self.states().insert(key, state);
    }

    async fn write(
        &self,
        key: &(String, usize),
        sample: Vec<Vec<f32>>,
    ) -> Result<Learnt, StoreError> {
        let (sampled, cut) = (sample.len() as u64, self.settings.cut);
        // Sorting each component takes long enough to keep it off the async threads.
        let fitted = tokio::task::spawn_blocking(move || Calibration::fit(&sample, cut)).await;
        let fitted = fitted.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let fitted = fitted.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let (low, high) = (fitted.low().to_vec(), fitted.high().to_vec());
        let record = CalibrationRecord { low, high, sampled };
        let row_key = row_key(key);
        // Repeating it is harmless: whoever finds a row takes it.
        let stands = self
            .retry
            .write_idempotent(|transaction| {
                let (row_key, record) = (row_key.clone(), record.clone());
                Box::pin(async move {
                    let row = transaction.get(&row_key, ReadMode::Serializable).await?;
                    if let Some(row) = row {
                        return codec::decode(CALIBRATION_RECORD, &row);
                    }
                    transaction.set(&row_key, &codec::encode(CALIBRATION_RECORD, &record)?)?;
                    Ok(record)
                })
            })
            .await?;
        stands.learnt()
    }
}

fn row_key((fingerprint, dimensions): &(String, usize)) -> Vec<u8> {
    let dimensions = u32::try_from(*dimensions).unwrap_or(u32::MAX);
    tuple::pack(&[
        "embedding".into(),
        "calibration".into(),
        fingerprint.as_str().into(),
        dimensions.into(),
    ])
}

fn warn((fingerprint, dimensions): &(String, usize), error: &StoreError) {
    tracing::warn!(fingerprint, dimensions, %error, "a calibration was not read or written");
}
