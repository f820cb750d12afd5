//! What every document shall hold, who works on it, and what was acknowledged: the stand-in for
//! the queue of ingest jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::collection::{ChunkId, ChunkText};

use crate::world::World;

/// Longest pause between two changes of mind, in ms.
const PAUSE_MS: u64 = 1_500;
/// Most chunks of a document.
const CHUNKS: u64 = 6;

/// Numbers of texts, in order; none for no document.
pub(crate) type Content = Option<Vec<u64>>;

#[derive(Clone, Default)]
struct Document {
    wanted: Content,
    /// Counts the changes of mind.
    change: u64,
    /// The change that a worker finished last, untouched since.
    done: Option<(u64, Content)>,
    busy: bool,
}

/// Work on one document. Dropped with its process, it is another's to finish.
pub(crate) struct Order {
    board: Board,
    pub(crate) document: u64,
    pub(crate) content: Content,
    change: u64,
}

impl Order {
    /// The document is as it should be, vectors included.
    pub(crate) fn done(self) {
        let mut documents = self.board.lock();
        if let Some(document) = documents.get_mut(&self.document) {
            document.done = Some((self.change, self.content.clone()));
        }
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        if let Some(document) = self.board.lock().get_mut(&self.document) {
            document.busy = false;
        }
    }
}

/// The documents; cheap to clone.
#[derive(Clone)]
pub(crate) struct Board {
    world: World,
    texts: u64,
    documents: Arc<Mutex<BTreeMap<u64, Document>>>,
}

impl Board {
    pub(crate) fn new(world: &World, documents: u64, texts: u64) -> Board {
        let documents = (0..documents).map(|number| (number, Document::default())).collect();
        Board { world: world.clone(), texts, documents: Arc::new(Mutex::new(documents)) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Document>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn texts(&self) -> u64 {
        self.texts
    }

    /// Changes what documents shall hold until the world heals.
    pub(crate) async fn change_minds(self, until_ms: u64) {
        while self.world.now_ms() < until_ms {
            let last = self.lock().len() as u64 - 1;
            let number = self.world.between(0, last);
            let content = (!self.world.percent(25)).then(|| {
                let chunks = self.world.between(1, CHUNKS);
                (0..chunks).map(|_| self.world.between(0, self.texts - 1)).collect()
            });
            if let Some(document) = self.lock().get_mut(&number) {
                document.wanted = content;
                document.change += 1;
            }
            self.world.sleep(self.world.between(10, PAUSE_MS)).await;
        }
    }

    /// A document that is not as it should be and that nobody works on.
    pub(crate) fn take(&self) -> Option<Order> {
        let mut documents = self.lock();
        let open: Vec<u64> = documents
            .iter()
            .filter(|(_, document)| {
                let done = document.done.as_ref().map(|(change, _)| *change);
                !document.busy && document.change > 0 && done != Some(document.change)
            })
            .map(|(number, _)| *number)
            .collect();
        let last = (open.len() as u64).checked_sub(1)?;
        let number = open[self.world.between(0, last) as usize];
        let document = documents.get_mut(&number)?;
        document.busy = true;
        document.done = None;
        let (content, change) = (document.wanted.clone(), document.change);
        Some(Order { board: self.clone(), document: number, content, change })
    }

    /// Whether every document is as it should be.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().values().all(|document| {
            let done = document.done.as_ref().map(|(change, _)| *change);
            document.change == 0 || done == Some(document.change)
        })
    }

    /// The chunks of all documents that were acknowledged and that nobody touches now.
    pub(crate) fn acknowledged(&self) -> BTreeSet<ChunkId> {
        let documents = self.lock();
        let done = documents.values().filter_map(|document| document.done.as_ref());
        done.flat_map(|(_, content)| content.iter().flatten()).map(|text| id(*text)).collect()
    }
}

/// The text of this number.
pub(crate) fn text(number: u64) -> String {
    format!("text number {number}")
}

/// Stands for the SHA-256 of a text: spread, so that the order of ids is not that of numbers.
pub(crate) fn id(number: u64) -> ChunkId {
    let mut bytes = [0; 32];
    let spread = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[..8].copy_from_slice(&spread.to_be_bytes());
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    ChunkId(bytes)
}

/// A document's chunks.
pub(crate) fn chunks(content: &[u64]) -> Vec<ChunkText> {
    let mut start = 0;
    let chunk = |(ordinal, number): (u32, &u64)| {
        let text = text(*number);
        let range = start..start + text.len() as u64;
        start = range.end;
        ChunkText { id: id(*number), text, ordinal, range }
    };
    (0..).zip(content).map(chunk).collect()
}
