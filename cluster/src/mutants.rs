//! Planted defects: what the simulation must be able to find. Without the feature `mutants`
//! none is compiled in.

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A lease that still runs is granted to whoever asks.
    RunningLeaseGranted = 1,
    /// A new grant carries the epoch of the one before.
    EpochReused,
    /// A holder does not stop before its time on account of other clocks.
    SkewIgnored,
    /// A lease that another holds is renewed all the same.
    LostLeaseRenewed,
    /// The receiver admits a stale epoch.
    StaleEpochAdmitted,
    /// The holder counts its time from the answer and not from the question.
    TimeFromAnswer,
    /// The holder goes on after it has handed a lease over.
    HandOverKeepsServing,
    /// A transaction does not look at the lease under which it writes.
    LeaseNotChecked,
}

impl Mutant {
    pub const ALL: [Mutant; 8] = [
        Mutant::RunningLeaseGranted,
        Mutant::EpochReused,
        Mutant::SkewIgnored,
        Mutant::LostLeaseRenewed,
        Mutant::StaleEpochAdmitted,
        Mutant::TimeFromAnswer,
        Mutant::HandOverKeepsServing,
        Mutant::LeaseNotChecked,
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

    /// Whether this defect is planted.
    pub fn planted(mutant: super::Mutant) -> bool {
        PLANTED.load(Ordering::Relaxed) == mutant as u8
    }
}

#[cfg(feature = "mutants")]
pub use switch::{plant, planted};

/// Whether this defect is planted: never, in a build without the feature.
#[cfg(not(feature = "mutants"))]
pub const fn planted(_mutant: Mutant) -> bool {
    false
}
