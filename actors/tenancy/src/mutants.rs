//! Planted defects: what the simulation must be able to find. Without the feature `mutants`
//! none is compiled in.

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A part is handed out and the counters do not rise.
    AllowanceNotCounted = 1,
    /// A return counts again when it arrives again.
    ReturnTwice,
    /// A second report of the same entry is charged again.
    ChargeTwice,
    /// Settling gives the whole reservation back.
    RefundWhole,
    /// What was used above the reservation is not counted.
    OverageForgotten,
    /// The edge goes on using an allowance whose time is over.
    ExpiredAllowanceUsed,
    /// A request that does not fit any more is granted all the same.
    LastGrantTooLarge,
    /// Counters of an earlier window still count.
    WindowNeverEnds,
    /// In an outage the edge admits without a bound.
    OutageUnbounded,
    /// In an outage the edge admits for ever.
    OutageForever,
    /// What was admitted in an outage is not marked.
    OutageUnmarked,
    /// A failed report is dropped.
    ReportDropped,
    /// An acknowledged report clears what came in meanwhile, too.
    ReportClearsAll,
    /// An allowance is returned while a request still runs on it.
    ReturnedWhileOpen,
    /// Limits of a single model are not looked at.
    ModelLimitSkipped,
    /// The same ask granted twice counts twice.
    GrantTwice,
    /// The owner answers before its commit.
    AnswerBeforeCommit,
}

impl Mutant {
    pub const ALL: [Mutant; 17] = [
        Mutant::AllowanceNotCounted,
        Mutant::ReturnTwice,
        Mutant::ChargeTwice,
        Mutant::RefundWhole,
        Mutant::OverageForgotten,
        Mutant::ExpiredAllowanceUsed,
        Mutant::LastGrantTooLarge,
        Mutant::WindowNeverEnds,
        Mutant::OutageUnbounded,
        Mutant::OutageForever,
        Mutant::OutageUnmarked,
        Mutant::ReportDropped,
        Mutant::ReportClearsAll,
        Mutant::ReturnedWhileOpen,
        Mutant::ModelLimitSkipped,
        Mutant::GrantTwice,
        Mutant::AnswerBeforeCommit,
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
