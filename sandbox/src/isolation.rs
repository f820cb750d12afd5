//! How strong the wall between a guest and its host is.

/// The classes of isolation, the weakest first; a later one holds all that an earlier one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// Namespaces, a list of allowed system calls, landlock, no capabilities: the guest shares the
    /// host's kernel. For code of people who are trusted, and contained all the same.
    Contained,
    /// A kernel of the guest's own in user space stands between it and the host's: for tenants of
    /// one organisation.
    UserKernel,
    /// The guest's machine is a virtual one without a kernel (WebAssembly) or with a kernel behind
    /// hardware virtualisation: for tenants who may be hostile.
    Machine,
}

impl Isolation {
    pub const ALL: [Self; 3] = [Self::Contained, Self::UserKernel, Self::Machine];

    /// The word of settings and answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Contained => "contained",
            Self::UserKernel => "user_kernel",
            Self::Machine => "machine",
        }
    }

    /// The class that a word names.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }
}
