//! One space's index, and how it catches up with the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use headwater_storage::StoreError;
use headwater_storage::retry::Retry;
use headwater_vectors::{NumberFormat, SinkError, Space};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::failure::of_store;
use crate::slab::Slab;
use crate::steps::{Change, Glance, Next, Step, calibration, step};

/// What a slot takes in the graph beside its numbers, roughly: its links.
#[cfg(feature = "usearch")]
const LINK_BYTES: usize = 200;
/// How often a reading may start over because the log was dropped beneath it.
const RESTARTS: usize = 3;

/// A space in memory, as it was at some version.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) slab: Slab,
    /// Over the slab's slots; goes when they change.
    #[cfg(feature = "usearch")]
    pub(crate) graph: Option<Arc<crate::graph::Graph>>,
    next: Next,
}

impl Index {
    fn new(space: &Space) -> Self {
        Index {
            slab: Slab::new(space, None),
            #[cfg(feature = "usearch")]
            graph: None,
            next: Next::START,
        }
    }

    /// Whether it holds all that was seen at the glance.
    fn has(&self, glance: &Glance) -> bool {
        let is_there = matches!(self.next, Next::Log { at } if at >= glance.last);
        is_there && !self.lacks_calibration(glance.known.is_calibrated)
    }

    fn lacks_calibration(&self, is_calibrated: bool) -> bool {
        let is_i8 = self.slab.space().format == NumberFormat::I8;
        is_i8 && is_calibrated && self.slab.calibration().is_none()
    }

    fn apply(&mut self, changes: Vec<Change>, next: Next) -> Result<(), StoreError> {
        for (id, kept) in changes {
            match kept {
                Some(kept) => self.slab.put(id, kept)?,
                None => self.slab.remove(&id),
            }
        }
        self.next = next;
        if self.slab.is_sparse() {
            self.drop_graph();
            self.slab.compact()?;
        }
        Ok(())
    }

    /// Memory that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        #[cfg(feature = "usearch")]
        let graph = self.in_graph() * (2 * self.slab.space().dimensions + LINK_BYTES);
        #[cfg(not(feature = "usearch"))]
        let graph = 0;
        self.slab.bytes() + graph
    }

    /// Slots that the graph covers.
    pub(crate) fn in_graph(&self) -> usize {
        #[cfg(feature = "usearch")]
        return self.graph.as_ref().map_or(0, |graph| graph.covered());
        #[cfg(not(feature = "usearch"))]
        0
    }

    /// Ahead of what changes the slots.
    fn drop_graph(&mut self) {
        #[cfg(feature = "usearch")]
        {
            self.graph = None;
        }
    }
}

/// The index of one space as it was created at one time.
#[derive(Debug)]
pub(crate) struct Open {
    name: String,
    pub(crate) incarnation: u64,
    pub(crate) index: Arc<RwLock<Index>>,
    /// Memory of the index when it was last looked at, and the number of the search that did.
    pub(crate) bytes: AtomicUsize,
    pub(crate) used: AtomicU64,
    /// Whether a task puts slots into the graph.
    #[cfg(feature = "usearch")]
    pub(crate) is_growing: std::sync::atomic::AtomicBool,
}

impl Open {
    pub(crate) fn new(space: &Space, incarnation: u64) -> Self {
        let index = Arc::new(RwLock::new(Index::new(space)));
        Open {
            name: space.name.clone(),
            incarnation,
            index,
            bytes: AtomicUsize::new(0),
            used: AtomicU64::new(0),
            #[cfg(feature = "usearch")]
            is_growing: Default::default(),
        }
    }

    /// The index with everything that was seen at the glance; `None` when the space is gone.
    /// One caller reads, the others wait for it. A caller that gives up leaves what it read.
    /// `fits` is told the index's bytes as it grows; where it refuses them, all are given back.
    pub(crate) async fn reach(
        &self,
        retry: &Retry,
        glance: &Glance,
        fits: impl Fn(usize) -> Result<(), SinkError>,
    ) -> Result<Option<OwnedRwLockReadGuard<Index>>, SinkError> {
        let index = Arc::clone(&self.index).read_owned().await;
        if index.has(glance) && fits(index.bytes()).is_ok() {
            return Ok(Some(index));
        }
        drop(index);
        let mut index = Arc::clone(&self.index).write_owned().await;
        let mut restarts = 0;
        loop {
            if let Err(too_large) = fits(index.bytes()) {
                *index = Index::new(&glance.known.space);
                return Err(too_large);
            }
            if index.has(glance) {
                return Ok(Some(index.downgrade()));
            }
            let step = step(retry, &self.name, self.incarnation, index.next);
            match step.await.map_err(of_store)? {
                Step::Gone => return Ok(None),
                Step::Behind if restarts == RESTARTS => {
                    return Err(SinkError::Unavailable(format!(
                        "space '{}' is written faster than it is read; keep more marks of its log",
                        self.name
                    )));
                }
                Step::Behind => {
                    restarts += 1;
                    *index = Index::new(&glance.known.space);
                }
                Step::Read { known, changes, next } => {
                    if index.lacks_calibration(known.is_calibrated) {
                        let calibration = calibration(retry, &self.name).await;
                        index.drop_graph();
                        index.slab.calibrate(calibration.map_err(of_store)?).map_err(of_store)?;
                    }
                    index.apply(changes, next).map_err(of_store)?;
                }
            }
        }
    }
}
