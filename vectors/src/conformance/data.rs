//! What the cases work with: spaces, records and queries drawn from a seed.

use std::sync::Mutex;

use super::{Outcome, told};
use crate::testing::Draw;
use crate::{
    Hit, Metric, NumberFormat, Record, RecordId, SearchQuery, Sink, Space, Value, similarity,
};

pub(super) const VERSION: &str = "version-1";
pub(super) const MODEL: &str = "model";
pub(super) const DIMENSIONS: usize = 64;

/// One case's place to work in.
pub(super) struct Case<'a> {
    pub(super) sink: &'a dyn Sink,
    prefix: String,
    seed: u64,
    created: Mutex<Vec<String>>,
}

impl<'a> Case<'a> {
    pub(super) fn new(sink: &'a dyn Sink, seed: u64, place: &str) -> Self {
        let prefix = format!("conformance/{seed:016x}/{place}");
        Case { sink, prefix, seed, created: Mutex::default() }
    }

    pub(super) fn draw(&self) -> Draw {
        Draw::new(self.seed)
    }

    pub(super) fn space(&self, name: &str, metric: Metric, format: NumberFormat) -> Space {
        Space {
            name: format!("{}/{name}", self.prefix),
            model: MODEL.to_owned(),
            version: VERSION.to_owned(),
            dimensions: DIMENSIONS,
            metric,
            format,
        }
    }

    /// Creates a space, to be dropped by [`Case::clear`].
    pub(super) async fn create(&self, space: &Space) -> Outcome {
        if let Ok(mut created) = self.created.lock() {
            created.push(space.name.clone());
        }
        self.sink.create(space).await.map_err(told("create"))
    }

    /// An f32 space of the cosine, created.
    pub(super) async fn plain(&self) -> Result<String, String> {
        let space = self.space("plain", Metric::Cosine, NumberFormat::F32);
        self.create(&space).await?;
        Ok(space.name)
    }

    pub(super) async fn clear(&self) -> Outcome {
        let created = self.created.lock().map(|mut names| std::mem::take(&mut *names));
        for name in created.unwrap_or_default() {
            self.sink.drop_space(&name).await.map_err(told("drop_space"))?;
        }
        Ok(())
    }

    pub(super) async fn upsert(&self, space: &str, records: &[Record]) -> Outcome {
        self.sink.upsert(space, records.to_vec()).await.map_err(told("upsert"))
    }

    pub(super) async fn search(
        &self,
        space: &str,
        query: &SearchQuery,
    ) -> Result<Vec<Hit>, String> {
        self.sink.search(space, query).await.map_err(told("search"))
    }

    pub(super) async fn count(&self, space: &str) -> Result<u64, String> {
        self.sink.count(space).await.map_err(told("count"))
    }

    /// All records, in pages of `limit`.
    pub(super) async fn all(&self, space: &str, limit: usize) -> Result<Vec<Record>, String> {
        let mut records: Vec<Record> = Vec::new();
        loop {
            let after = records.last().map(|record| record.id);
            let page = self.sink.page(space, after, limit).await.map_err(told("page"))?;
            if page.len() > limit {
                return Err(format!("a page has {} records, at most {limit} asked", page.len()));
            }
            let Some(first) = page.first() else { return Ok(records) };
            if after.is_some_and(|after| first.id <= after) {
                return Err("a page begins at or ahead of where it must begin behind".to_owned());
            }
            records.extend(page);
        }
    }
}

/// An id that is spread as a hash is.
pub(super) fn id(number: u64) -> RecordId {
    let mut draw = Draw::new(number);
    let mut bytes = [0; 32];
    for chunk in bytes.as_chunks_mut::<8>().0 {
        *chunk = draw.number().to_be_bytes();
    }
    RecordId(bytes)
}

pub(super) fn record(number: u64, vector: Vec<f32>) -> Record {
    let color = ["red", "green", "blue"][(number % 3) as usize];
    let fields = [
        ("number", Value::Number(number as f64)),
        ("color", Value::Text(color.to_owned())),
        ("even", Value::Bool(number.is_multiple_of(2))),
    ];
    let fields =
        fields.into_iter().filter(|(name, _)| *name != "color" || !number.is_multiple_of(7));
    Record {
        id: id(number),
        vector,
        model: MODEL.to_owned(),
        version: VERSION.to_owned(),
        source: format!("document-{}", number % 5),
        fields: fields.map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

pub(super) fn records(draw: &mut Draw, count: u64) -> Vec<Record> {
    (0..count).map(|number| record(number, draw.vector(DIMENSIONS))).collect()
}

pub(super) fn query(vector: &[f32], limit: usize) -> SearchQuery {
    SearchQuery { vector: vector.to_vec(), version: VERSION.to_owned(), limit, filter: None }
}

/// The ids of the nearest records by their own f32 vectors.
pub(super) fn nearest(
    metric: Metric,
    records: &[Record],
    vector: &[f32],
    limit: usize,
) -> Vec<RecordId> {
    let score = |record: &Record| similarity(metric, vector, &record.vector);
    let mut scored: Vec<(f32, RecordId)> =
        records.iter().map(|record| (score(record), record.id)).collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    scored.into_iter().take(limit).map(|(_, id)| id).collect()
}

pub(super) fn ids(records: &[Record]) -> Vec<RecordId> {
    records.iter().map(|record| record.id).collect()
}

/// A violation unless a component, drawn from ±1, came back as far as the format can keep it.
pub(super) fn check_kept(format: NumberFormat, found: &Record, written: &Record) -> Outcome {
    let fits = |is: f32, was: f32| match format {
        // A sink may keep length and direction apart.
        NumberFormat::F32 => (is - was).abs() <= 1e-6,
        NumberFormat::F16 => (is - was).abs() <= 1.0 / 2048.0,
        // Half a step, and what a calibration by a sample cuts off at the ends.
        NumberFormat::I8 => (is - was).abs() <= 1.0 / 255.0 + 0.03,
        NumberFormat::Binary => (is > 0.0) == (was > 0.0),
    };
    for (place, (is, was)) in found.vector.iter().zip(&written.vector).enumerate() {
        if !fits(*is, *was) {
            return Err(format!(
                "component {place} came back as {is} in {}, it was {was}",
                format.name()
            ));
        }
    }
    let mut found = found.clone();
    found.vector.clone_from(&written.vector);
    super::same("what stands beside the vector", &found, written)
}

/// A violation unless these records came back, in this order.
pub(super) fn check_all(what: &str, found: &[Record], written: &[Record]) -> Outcome {
    super::same(&format!("the ids of {what}"), ids(found), ids(written))?;
    for (found, written) in found.iter().zip(written) {
        check_kept(NumberFormat::F32, found, written)?;
    }
    Ok(())
}

/// Whether two vectors are the same but for rounding.
pub(super) fn is_near(left: &[f32], right: &[f32]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| (l - r).abs() <= 1e-6)
}
