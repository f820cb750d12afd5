//! Calibrating an i8 space by its first records, and bringing those into its format.

use std::sync::Arc;

use headwater_storage::{RangeRead, StoreError};
use headwater_vectors::quantise::{Calibration, Stored};
use headwater_vectors::{RecordId, SinkError};

use crate::failure::of_store;
use crate::keys::Keys;
use crate::records::{Kept, Known, encode_ends};
use crate::sink::EmbeddedSink;
use crate::steps::{known, page_records, read_page};

/// Nothing is left out at the ends: values beyond them are clamped later, which costs more.
const CUT: f64 = 0.0;

impl EmbeddedSink {
    /// Calibrates the space once it has enough records. Whoever comes first does it.
    pub(crate) async fn calibrate_when_due(&self, known: &Known) -> Result<(), SinkError> {
        let wanted = self.settings().calibration_records.max(1);
        let name = &known.space.name;
        let count = self.counted(name).await.map_err(of_store)?;
        if count.is_none_or(|count| count < wanted as u64) {
            return Ok(());
        }
        let sample = self.sample(known, wanted).await.map_err(of_store)?;
        if sample.is_empty() {
            return Ok(());
        }
        let calibration = Arc::new(Calibration::fit(&sample, CUT)?);
        if self.settle(known, &calibration).await.map_err(of_store)? {
            self.convert(known, &calibration).await.map_err(of_store)?;
        }
        Ok(())
    }

    /// The first vectors in the order of their ids, which are hashes: any vectors, that is.
    async fn sample(&self, known: &Known, wanted: usize) -> Result<Vec<Vec<f32>>, StoreError> {
        let (mut sample, mut after) = (Vec::new(), None);
        while sample.len() < wanted {
            let limit = page_records(&known.space).min(wanted - sample.len());
            let (keys, space) = (Keys::of(&known.space.name), known.space.clone());
            let page = self
                .retry()
                .read(move |transaction| {
                    let (keys, space) = (keys.clone(), space.clone());
                    Box::pin(
                        async move { read_page(transaction, &keys, &space, after, limit).await },
                    )
                })
                .await?;
            let is_last = page.len() < limit;
            after = page.last().map(|(id, _)| *id);
            sample.extend(page.into_iter().filter_map(|(_, kept)| match kept.vector {
                Stored::F32(components) => Some(components),
                _ => None,
            }));
            if is_last {
                break;
            }
        }
        Ok(sample)
    }

    /// Writes the calibration unless there is one; whether it did.
    async fn settle(
        &self,
        expected: &Known,
        calibration: &Arc<Calibration>,
    ) -> Result<bool, StoreError> {
        let (keys, expected) = (Keys::of(&expected.space.name), expected.clone());
        let calibration = Arc::clone(calibration);
        let (low, high) = (encode_ends(calibration.low())?, encode_ends(calibration.high())?);
        self.retry()
            .write_idempotent(move |transaction| {
                let (keys, expected) = (keys.clone(), expected.clone());
                let (low, high) = (low.clone(), high.clone());
                Box::pin(async move {
                    let known = known(transaction, &keys, &expected.space.name).await?;
                    let Some(mut known) = known.filter(|known| *known == expected) else {
                        return Ok(false);
                    };
                    known.is_calibrated = true;
                    transaction.set(&keys.space(), &known.encode()?)?;
                    transaction.set(&keys.calibration("low"), &low)?;
                    transaction.set(&keys.calibration("high"), &high)?;
                    Ok(true)
                })
            })
            .await
    }

    /// Rewrites the early records, page by page. It changes no record's value, since whoever
    /// reads an early one brings it into the format; so it may end half-way.
    async fn convert(
        &self,
        expected: &Known,
        calibration: &Arc<Calibration>,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let (keys, expected) = (Keys::of(&expected.space.name), expected.clone());
            let calibration = Arc::clone(calibration);
            let next = self.retry().write_idempotent(move |transaction| {
                let (keys, expected) = (keys.clone(), expected.clone());
                let calibration = Arc::clone(&calibration);
                Box::pin(async move {
                    let known = known(transaction, &keys, &expected.space.name).await?;
                    if known.is_none_or(|known| known.incarnation != expected.incarnation) {
                        return Ok(None);
                    }
                    let limit = page_records(&expected.space);
                    let read = RangeRead::all(keys.records(after.as_ref())).limit(limit);
                    let rows = transaction.range(read).await?;
                    let mut last: Option<RecordId> = None;
                    for (key, row) in &rows {
                        let mut kept = Kept::decode(&expected.space, row)?;
                        if matches!(kept.vector, Stored::F32(_)) {
                            kept.calibrate(&calibration);
                            transaction.set(key, &kept.encode()?)?;
                        }
                        last = Some(Keys::record_id(key)?);
                    }
                    Ok(last.filter(|_| rows.len() == limit))
                })
            });
            after = next.await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
