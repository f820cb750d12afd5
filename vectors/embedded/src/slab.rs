//! The vectors of a space in memory, one after the other, and the exact search among them.
//!
//! A slot is written once. A record that changes gets a new slot and its old one is dead, so
//! that a graph above the slots stays right; [`Slab::compact`] drops the dead ones.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use half::f16;
use headwater_storage::StoreError;
use headwater_vectors::products::dot;
use headwater_vectors::quantise::{Calibration, QuantiseError, Scorer, Stored};
use headwater_vectors::{Filter, NumberFormat, Record, RecordId, Space, Value};

use crate::best::{Best, Found};
use crate::records::Kept;

/// Vectors scored together.
const BLOCK: usize = 256;
/// What a slot takes beside its vector and its document's texts, roughly: ids, squares and maps.
const SLOT_BYTES: usize = 150;
/// What a field takes beside its texts, roughly.
const FIELD_BYTES: usize = 64;
/// Dead slots that are no reason to compact.
const DEAD_FEW: usize = 1_024;

#[derive(Debug)]
enum Vectors {
    F32(Vec<f32>),
    F16(Vec<f16>),
    I8(Vec<i8>),
    Binary(Vec<u8>),
}

/// What stands beside a vector.
#[derive(Debug, Clone)]
struct Document {
    model: Option<Box<str>>,
    source: Box<str>,
    fields: BTreeMap<String, Value>,
}

impl Document {
    fn bytes(&self) -> usize {
        let field = |(name, value): (&String, &Value)| {
            let text = if let Value::Text(text) = value { text.len() } else { 0 };
            FIELD_BYTES + name.len() + text
        };
        let model = self.model.as_ref().map_or(0, |model| model.len());
        model + self.source.len() + self.fields.iter().map(field).sum::<usize>()
    }
}

/// The vectors, and all that a hit tells of them.
#[derive(Debug)]
pub(crate) struct Slab {
    space: Space,
    calibration: Option<Calibration>,
    /// Numbers of the vectors' own type for each slot.
    width: usize,
    vectors: Vectors,
    /// The product of each vector with itself, as it is kept.
    squares: Vec<f32>,
    ids: Vec<RecordId>,
    /// `None` for a dead slot.
    documents: Vec<Option<Document>>,
    places: HashMap<RecordId, u32>,
    /// Of all documents that are there.
    document_bytes: usize,
}

impl Slab {
    pub(crate) fn new(space: &Space, calibration: Option<Calibration>) -> Self {
        let (width, vectors) = match space.format {
            NumberFormat::I8 if calibration.is_some() => {
                (space.dimensions, Vectors::I8(Vec::new()))
            }
            NumberFormat::F32 | NumberFormat::I8 => (space.dimensions, Vectors::F32(Vec::new())),
            NumberFormat::F16 => (space.dimensions, Vectors::F16(Vec::new())),
            NumberFormat::Binary => {
                (NumberFormat::Binary.bytes(space.dimensions), Vectors::Binary(Vec::new()))
            }
        };
        Slab {
            space: space.clone(),
            calibration,
            width,
            vectors,
            squares: Vec::new(),
            ids: Vec::new(),
            documents: Vec::new(),
            places: HashMap::new(),
            document_bytes: 0,
        }
    }

    /// Memory that the slots take, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let number = match &self.vectors {
            Vectors::F32(_) => 4,
            Vectors::F16(_) => 2,
            Vectors::I8(_) | Vectors::Binary(_) => 1,
        };
        self.slots() * (number * self.width + SLOT_BYTES) + self.document_bytes
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    pub(crate) fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Slots, the dead ones included.
    pub(crate) fn slots(&self) -> usize {
        self.ids.len()
    }

    /// Records.
    pub(crate) fn live(&self) -> usize {
        self.places.len()
    }

    /// Puts a record in, or in the place of the one with its id.
    pub(crate) fn put(&mut self, id: RecordId, mut kept: Kept) -> Result<(), StoreError> {
        if let Some(calibration) = &self.calibration {
            kept.calibrate(calibration);
        }
        let document = Document { model: kept.model, source: kept.source, fields: kept.fields };
        self.document_bytes += document.bytes();
        if let Some(slot) = self.places.get(&id).copied() {
            self.forget_document(slot);
            if self.stored(slot) == kept.vector {
                self.documents[slot as usize] = Some(document);
                return Ok(());
            }
        }
        let components = kept.vector.components(self.space.dimensions, self.calibration.as_ref());
        let components = components.map_err(damaged)?;
        match (&mut self.vectors, &kept.vector) {
            (Vectors::F32(all), Stored::F32(one)) => all.extend_from_slice(one),
            (Vectors::F16(all), Stored::F16(one)) => all.extend_from_slice(one),
            (Vectors::I8(all), Stored::I8(one)) => all.extend_from_slice(one),
            (Vectors::Binary(all), Stored::Binary(one)) => all.extend_from_slice(one),
            (_, other) => {
                let (format, name) = (other.format().name(), &self.space.name);
                return Err(damaged(format!("a vector in {format} cannot stand in '{name}'")));
            }
        }
        self.places.insert(id, self.ids.len() as u32);
        self.squares.push(dot(&components, &components));
        self.ids.push(id);
        self.documents.push(Some(document));
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &RecordId) {
        if let Some(slot) = self.places.remove(id) {
            self.forget_document(slot);
        }
    }

    fn forget_document(&mut self, slot: u32) {
        let document = self.documents[slot as usize].take();
        self.document_bytes -= document.map_or(0, |document| document.bytes());
    }

    /// Whether so many slots are dead that [`Slab::compact`] is due.
    pub(crate) fn is_sparse(&self) -> bool {
        self.slots() - self.live() > self.live() / 2 + DEAD_FEW
    }

    /// The same records without dead slots. All slots change.
    pub(crate) fn compact(&mut self) -> Result<(), StoreError> {
        let calibration = self.calibration.clone();
        self.rebuild(calibration)
    }

    /// The same records in the space's own format. All slots change.
    pub(crate) fn calibrate(&mut self, calibration: Calibration) -> Result<(), StoreError> {
        self.rebuild(Some(calibration))
    }

    fn rebuild(&mut self, calibration: Option<Calibration>) -> Result<(), StoreError> {
        let mut slab = Slab::new(&self.space, calibration);
        for slot in 0..self.slots() as u32 {
            let vector = self.stored(slot);
            if let Some(document) = self.documents[slot as usize].take() {
                let Document { model, source, fields } = document;
                slab.put(self.ids[slot as usize], Kept { model, source, fields, vector })?;
            }
        }
        *self = slab;
        Ok(())
    }

    fn stored(&self, slot: u32) -> Stored {
        let range = slot as usize * self.width..(slot as usize + 1) * self.width;
        match &self.vectors {
            Vectors::F32(all) => Stored::F32(all[range].to_vec()),
            Vectors::F16(all) => Stored::F16(all[range].to_vec()),
            Vectors::I8(all) => Stored::I8(all[range].to_vec()),
            Vectors::Binary(all) => Stored::Binary(all[range].to_vec()),
        }
    }

    /// The components of a slot's vector as they are kept.
    #[cfg(feature = "usearch")]
    pub(crate) fn components(&self, slot: u32) -> Result<Vec<f32>, StoreError> {
        let stored = self.stored(slot);
        stored.components(self.space.dimensions, self.calibration.as_ref()).map_err(damaged)
    }

    /// The record in a slot; `None` when it is dead.
    pub(crate) fn record(&self, slot: u32) -> Result<Option<Record>, StoreError> {
        let Some(document) = self.documents[slot as usize].clone() else { return Ok(None) };
        let Document { model, source, fields } = document;
        let kept = Kept { model, source, fields, vector: self.stored(slot) };
        let id = self.ids[slot as usize];
        kept.into_record(id, &self.space, self.calibration.as_ref()).map(Some)
    }

    /// Whether the slot's record is there and passes.
    pub(crate) fn passes(&self, slot: u32, filter: Option<&Filter>) -> bool {
        self.documents.get(slot as usize).and_then(Option::as_ref).is_some_and(|document| {
            filter.is_none_or(|filter| filter.passes(&document.source, &document.fields))
        })
    }

    pub(crate) fn scorer(&self, query: &[f32]) -> Result<Scorer, QuantiseError> {
        Scorer::new(self.space.metric, query, self.calibration.as_ref())
    }

    /// Offers every record of some slots to `best`: by similarity, or by the negative Hamming
    /// distance in a binary space, whose few best are scored by [`Slab::found`] afterwards.
    pub(crate) fn scan(
        &self,
        slots: Range<usize>,
        scorer: &Scorer,
        filter: Option<&Filter>,
        best: &mut Best,
    ) -> Result<(), QuantiseError> {
        let (mut scores, mut distances) = ([0.0; BLOCK], [0; BLOCK]);
        let mut begin = slots.start;
        while begin < slots.end.min(self.slots()) {
            let end = slots.end.min(self.slots()).min(begin + BLOCK);
            let (squares, scores) = (&self.squares[begin..end], &mut scores[..end - begin]);
            let block = begin * self.width..end * self.width;
            match &self.vectors {
                Vectors::F32(all) => scorer.score_f32(&all[block], squares, scores),
                Vectors::F16(all) => scorer.score_f16(&all[block], squares, scores),
                Vectors::I8(all) => scorer.score_i8(&all[block], squares, scores)?,
                Vectors::Binary(all) => {
                    let distances = &mut distances[..end - begin];
                    scorer.distances(&all[block], distances);
                    let pairs = scores.iter_mut().zip(distances);
                    pairs.for_each(|(score, distance)| *score = -(*distance as f32));
                }
            }
            for (slot, score) in (begin..end).zip(scores) {
                let found = Found { score: *score, id: self.ids[slot], slot: slot as u32 };
                if best.would_keep(&found) && self.passes(found.slot, filter) {
                    best.keep(found);
                }
            }
            begin = end;
        }
        Ok(())
    }

    /// A slot with its exact score.
    pub(crate) fn found(&self, slot: u32, scorer: &Scorer) -> Result<Found, QuantiseError> {
        let score = scorer.score(&self.stored(slot))?;
        Ok(Found { score, id: self.ids[slot as usize], slot })
    }
}

fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}
