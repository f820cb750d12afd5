//! A job's life: what may be done to it when, and how its settings are checked.

/// What to do with chunks that resemble an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NearDuplicates {
    /// They are not looked for.
    Off,
    /// They are counted and embedded.
    #[default]
    Report,
    /// They are counted and left out.
    Skip,
}

impl NearDuplicates {
    pub const ALL: [NearDuplicates; 3] =
        [NearDuplicates::Off, NearDuplicates::Report, NearDuplicates::Skip];

    pub fn name(self) -> &'static str {
        match self {
            NearDuplicates::Off => "off",
            NearDuplicates::Report => "report",
            NearDuplicates::Skip => "skip",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        NearDuplicates::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// A setting outside what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem {
    /// The field's name as clients write it.
    pub field: &'static str,
    /// What is allowed.
    pub allowed: &'static str,
}

/// Longest name of a collection or job, in characters.
const NAME_LENGTH: usize = 64;

/// Checks the name of a job or collection: `[A-Za-z0-9._-]`, 1 to 64 long.
///
/// # Errors
/// [`SpecProblem`] naming the field.
pub fn check_name(field: &'static str, name: &str) -> Result<(), SpecProblem> {
    let letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.is_empty() && name.len() <= NAME_LENGTH && name.chars().all(letter) {
        return Ok(());
    }
    Err(SpecProblem { field, allowed: "1 to 64 of the characters A-Z a-z 0-9 . _ -" })
}

/// Where a job stands; times in ms of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobState {
    pub created_ms: u64,
    /// No document comes in any more.
    pub sealed: bool,
    pub paused_since_ms: Option<u64>,
    /// How long it was paused before that.
    pub paused_ms: u64,
    pub cancelled: bool,
    pub ended_ms: Option<u64>,
}

/// The state as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Receiving,
    Running,
    Paused,
    /// What began is ended, what did not begin is dropped.
    Cancelling,
    Cancelled,
    Done,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Receiving => "receiving",
            Standing::Running => "running",
            Standing::Paused => "paused",
            Standing::Cancelling => "cancelling",
            Standing::Cancelled => "cancelled",
            Standing::Done => "done",
        }
    }
}

/// The job cannot do this where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub Standing);

impl JobState {
    pub fn standing(&self) -> Standing {
        match self {
            JobState { ended_ms: Some(_), cancelled: true, .. } => Standing::Cancelled,
            JobState { ended_ms: Some(_), .. } => Standing::Done,
            JobState { cancelled: true, .. } => Standing::Cancelling,
            JobState { paused_since_ms: Some(_), .. } => Standing::Paused,
            JobState { sealed: false, .. } => Standing::Receiving,
            JobState { .. } => Standing::Running,
        }
    }

    /// Whether a worker may begin a document. One that began is ended in every state.
    pub fn may_begin(&self) -> bool {
        matches!(self.standing(), Standing::Receiving | Standing::Running)
    }

    /// Whether documents that have not begun are dropped.
    pub fn drops(&self) -> bool {
        self.cancelled
    }

    /// Whether documents may come in.
    pub fn may_receive(&self) -> bool {
        !self.sealed && !self.cancelled && self.ended_ms.is_none()
    }

    /// Whether the job is over once nothing waits.
    pub fn may_end(&self) -> bool {
        self.ended_ms.is_none() && (self.sealed || self.cancelled)
    }

    /// # Errors
    /// [`Refusal`] when the job is cancelled or over.
    pub fn pause(&mut self, now_ms: u64) -> Result<(), Refusal> {
        self.must_live()?;
        self.paused_since_ms.get_or_insert(now_ms);
        Ok(())
    }

    /// # Errors
    /// [`Refusal`] when the job is cancelled or over.
    pub fn resume(&mut self, now_ms: u64) -> Result<(), Refusal> {
        self.must_live()?;
        if let Some(since_ms) = self.paused_since_ms.take() {
            self.paused_ms += now_ms.saturating_sub(since_ms);
        }
        Ok(())
    }

    /// Cancelling twice is as good as once.
    ///
    /// # Errors
    /// [`Refusal`] when the job is done.
    pub fn cancel(&mut self) -> Result<(), Refusal> {
        match self.standing() {
            Standing::Done => Err(Refusal(Standing::Done)),
            _ => {
                self.cancelled = true;
                Ok(())
            }
        }
    }

    /// A job that is done goes on with its dead letters.
    ///
    /// # Errors
    /// [`Refusal`] when the job is cancelled.
    pub fn revive(&mut self) -> Result<(), Refusal> {
        if self.cancelled {
            return Err(Refusal(self.standing()));
        }
        self.ended_ms = None;
        Ok(())
    }

    /// How long the job worked, pauses left out.
    pub fn worked_ms(&self, now_ms: u64) -> u64 {
        let until_ms = self.ended_ms.or(self.paused_since_ms).unwrap_or(now_ms);
        until_ms.saturating_sub(self.created_ms).saturating_sub(self.paused_ms)
    }

    fn must_live(&self) -> Result<(), Refusal> {
        if self.cancelled || self.ended_ms.is_some() {
            return Err(Refusal(self.standing()));
        }
        Ok(())
    }
}
