//! Planted defects: what the simulation must be able to find. Without the feature `mutants`
//! none is compiled in.

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// Borrowed ingest takes reserved replicas, too.
    IngestTakesReserved = 1,
    /// Borrowed ingest takes an idle replica while a query waits for company.
    IngestOvertakes,
    /// A replica that ends a batch looks for queries alone.
    IngestForgotten,
}

impl Mutant {
    pub const ALL: [Mutant; 3] =
        [Mutant::IngestTakesReserved, Mutant::IngestOvertakes, Mutant::IngestForgotten];
}

#[cfg(feature = "mutants")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants one defect in this process, in place of the one before; `None` removes it.
    pub fn plant(mutant: Option<super::Mutant>) {
        PLANTED.store(mutant.map_or(0, |mutant| mutant as u8), Ordering::SeqCst);
    }

    pub(crate) fn planted(mutant: super::Mutant) -> bool {
        PLANTED.load(Ordering::Relaxed) == mutant as u8
    }
}

#[cfg(feature = "mutants")]
pub use switch::plant;
#[cfg(feature = "mutants")]
pub(crate) use switch::planted;

/// Whether this defect is planted: never, in a build without the feature.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn planted(_mutant: Mutant) -> bool {
    false
}
