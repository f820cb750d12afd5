//! Planted defects of the shells: what the simulation must be able to find. Without the feature
//! `mutants` none is compiled in.

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// Settling returns before the entry is written down.
    SettleDoesNotWait = 1,
    /// A node that leaves does not wait until its entries are written down.
    DrainDoesNotWait,
    /// A share that is dropped is not given back.
    LeaverKeepsShare,
    /// An owner's transaction proves who it is, and not in which epoch.
    EpochNotCompared,
    /// A build switches before all chunks are copied and checked.
    SwitchUnchecked,
    /// A build's switch proves neither its lease nor that it is still that build.
    SwitchUnfenced,
    /// Documents are written into the serving version alone.
    OnlyServingWritten,
    /// Queries are embedded with the version being built and looked up in the serving one.
    QueryOfNewModel,
}

impl Mutant {
    pub const ALL: [Mutant; 8] = [
        Mutant::SettleDoesNotWait,
        Mutant::DrainDoesNotWait,
        Mutant::LeaverKeepsShare,
        Mutant::EpochNotCompared,
        Mutant::SwitchUnchecked,
        Mutant::SwitchUnfenced,
        Mutant::OnlyServingWritten,
        Mutant::QueryOfNewModel,
    ];
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
