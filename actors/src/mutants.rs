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
    /// An ingest worker works on after its hold has ended, and its writes do not prove the hold.
    NoFence,
    /// A later write of a document does not supersede an earlier one that waits.
    EarlierWriteRuns,
    /// Two writes of one document run at a time.
    DocumentNotLocked,
    /// A document's counts are added beside the transaction that ends it.
    CountsApart,
    /// A document ends before its vectors are written.
    EndsBeforeVectors,
    /// A document ends before its chunks are in the store.
    EndsBeforeChunks,
    /// Each attempt counts a document's duplicates.
    AttemptsCountDuplicates,
    /// What a document's new version dropped stays in the sink.
    RemovedVectorsStay,
    /// A document goes on although a request for it may still arrive at the sink.
    LateRequestsForgotten,
    /// A build switches before all chunks are copied and checked.
    SwitchUnchecked,
    /// A build's switch proves neither its lease nor that it is still that build.
    SwitchUnfenced,
    /// Documents are written into the serving version alone.
    OnlyServingWritten,
    /// Queries are embedded with the version being built and looked up in the serving one.
    QueryOfNewModel,
    /// An answer that breaks off ends as if it were whole.
    CutLooksWhole,
    /// A client that leaves pays nothing.
    LeaverPaysNothing,
    /// A client that leaves pays all that was reserved.
    LeaverPaysAll,
    /// A request whose tries all failed is charged what was reserved.
    FailedTryCharged,
    /// An answer that breaks off is given again.
    CutAnswerKept,
    /// An answer that is given again is charged as the first one was.
    KeptAnswerCharged,
    /// A node vouches for keys however long it has not heard from the store.
    StaleKeysServed,
    /// A request whose client left has no audit record.
    LeaverNotRecorded,
    /// Audit records whose append failed are not appended again.
    FailedAppendForgotten,
    /// What was used is told to the ledger and not to the audit.
    RecordWithoutUse,
    /// Redaction leaves the last message of a request as it came.
    LastMessageNotRedacted,
    /// What was reserved from others stays reserved when one of those who pay refuses.
    RefusalKeepsShares,
    /// The team is charged, and its project and user get their shares back.
    TeamAloneSettles,
    /// A notice is struck out before it is sent.
    StruckOutBeforeSent,
    /// Any question is near enough.
    FarQuestionIsNear,
    /// Questions in other words are compared whatever stands around them.
    FrameIsNotCompared,
    /// An older state of a prompt takes a newer one's place.
    OlderSlotReplaces,
    /// A change of a prompt is told to no other node.
    ChangeNotTold,
    /// Whoever asks for nothing older is not made to read.
    RefreshDoesNotRead,
    /// A user of an experiment is drawn anew for each request.
    VariantsDrawnAnew,
    /// A request gets some version that its slot holds.
    AnyVersionOfSlot,
    /// An experiment enters its layer by what its node has read before.
    LayerNotProved,
    /// A night that somebody else has counted is counted again.
    NightNotCounted,
    /// A tool is asked before the call's row stands.
    CallWithoutRow,
    /// A call reserves nothing from its session.
    CallNotReserved,
    /// A call whose last try was not done is free again, whatever an earlier one came to.
    DoubtForgotten,
    /// Whoever believes to hold an agent's run writes where it believes that its journal ends.
    RunNotFenced,
    /// A run that is asked for again is another one with the same id.
    RunBegunAnew,
    /// Each try of a run's call has an id of its own.
    CallOfRunDrawnAnew,
    /// A run goes on whatever becomes of the key that it was begun with.
    RunOutlivesItsKey,
}

impl Mutant {
    pub const ALL: [Mutant; 47] = [
        Mutant::SettleDoesNotWait,
        Mutant::DrainDoesNotWait,
        Mutant::LeaverKeepsShare,
        Mutant::EpochNotCompared,
        Mutant::NoFence,
        Mutant::EarlierWriteRuns,
        Mutant::DocumentNotLocked,
        Mutant::CountsApart,
        Mutant::EndsBeforeVectors,
        Mutant::EndsBeforeChunks,
        Mutant::AttemptsCountDuplicates,
        Mutant::RemovedVectorsStay,
        Mutant::LateRequestsForgotten,
        Mutant::SwitchUnchecked,
        Mutant::SwitchUnfenced,
        Mutant::OnlyServingWritten,
        Mutant::QueryOfNewModel,
        Mutant::CutLooksWhole,
        Mutant::LeaverPaysNothing,
        Mutant::LeaverPaysAll,
        Mutant::FailedTryCharged,
        Mutant::CutAnswerKept,
        Mutant::KeptAnswerCharged,
        Mutant::StaleKeysServed,
        Mutant::LeaverNotRecorded,
        Mutant::FailedAppendForgotten,
        Mutant::RecordWithoutUse,
        Mutant::LastMessageNotRedacted,
        Mutant::RefusalKeepsShares,
        Mutant::TeamAloneSettles,
        Mutant::StruckOutBeforeSent,
        Mutant::FarQuestionIsNear,
        Mutant::FrameIsNotCompared,
        Mutant::OlderSlotReplaces,
        Mutant::ChangeNotTold,
        Mutant::RefreshDoesNotRead,
        Mutant::VariantsDrawnAnew,
        Mutant::AnyVersionOfSlot,
        Mutant::LayerNotProved,
        Mutant::NightNotCounted,
        Mutant::CallWithoutRow,
        Mutant::CallNotReserved,
        Mutant::DoubtForgotten,
        Mutant::RunNotFenced,
        Mutant::RunBegunAnew,
        Mutant::CallOfRunDrawnAnew,
        Mutant::RunOutlivesItsKey,
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
