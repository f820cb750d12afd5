//! The model versions of one collection: which one serves, which one is being built, which one
//! a roll-back would return to.
//!
//! Documents are written into every live version, so each of them can serve at any time. Whoever
//! changes the state has read it in the same transaction; `epoch` grows with every change and
//! `generation` tells two builds of one model apart.

#[cfg(test)]
mod tests;

/// One model version of a collection, with a vector space of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The model's fingerprint.
    pub fingerprint: String,
    /// The model's name when the version was made, for people.
    pub model: String,
    /// Numbers the collection's versions from 1 on; never used twice, so that a space that is
    /// being dropped is never the space of a new version.
    pub generation: u64,
    /// Length of its vectors.
    pub dimensions: usize,
    /// How the sink keeps its vectors, by the sink's own name for it.
    pub format: String,
}

/// Which version a build makes, before it has a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    pub fingerprint: String,
    pub model: String,
    pub dimensions: usize,
    pub format: String,
}

impl NewVersion {
    fn numbered(self, generation: u64) -> Version {
        let NewVersion { fingerprint, model, dimensions, format } = self;
        Version { fingerprint, model, generation, dimensions, format }
    }
}

/// When the chunks that are there already are embedded by a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// At once, by a job over all chunks, which then switches.
    #[default]
    Eager,
    /// As searches find them, until somebody asks for the rest.
    Lazy,
}

impl Policy {
    pub const ALL: [Policy; 2] = [Policy::Eager, Policy::Lazy];

    /// The name in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Eager => "eager",
            Policy::Lazy => "lazy",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// A version on its way to serving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    pub version: Version,
    pub policy: Policy,
    pub paused: bool,
    /// Whether the job goes over all chunks and switches at its end: at once when eager, once
    /// asked for when lazy.
    pub sweeping: bool,
}

impl Build {
    /// Whether the job may work now.
    pub fn may_sweep(&self) -> bool {
        self.sweeping && !self.paused
    }
}

/// What a version is to its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Building,
    Serving,
    Previous,
}

impl Role {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Role::Building => "building",
            Role::Serving => "serving",
            Role::Previous => "previous",
        }
    }
}

/// Why a change of versions is not allowed now; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionProblem {
    /// The version to build is live already.
    Live {
        fingerprint: String,
        role: Role,
    },
    /// Another version is being built.
    Busy {
        fingerprint: String,
    },
    /// This version is not the one being built.
    NotBuilding {
        fingerprint: String,
    },
    AlreadyPaused {
        fingerprint: String,
    },
    NotPaused {
        fingerprint: String,
    },
    /// The job over all chunks was asked for already.
    AlreadySweeping {
        fingerprint: String,
    },
    /// The build may not switch now: it is paused, or nobody asked for the sweep.
    NotSweeping {
        fingerprint: String,
    },
    /// There is no previous version.
    NoPrevious,
}

impl std::error::Error for VersionProblem {}

impl std::fmt::Display for VersionProblem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VersionProblem::Live { fingerprint, role: Role::Previous } => write!(
                out,
                "version '{fingerprint}' is the previous one and complete; roll back to it \
                 instead of building it"
            ),
            VersionProblem::Live { fingerprint, role } => {
                write!(out, "version '{fingerprint}' is {} already", role.name())
            }
            VersionProblem::Busy { fingerprint } => write!(
                out,
                "version '{fingerprint}' is being built; wait for its end or cancel it first"
            ),
            VersionProblem::NotBuilding { fingerprint } => {
                write!(out, "version '{fingerprint}' is not being built; list the versions")
            }
            VersionProblem::AlreadyPaused { fingerprint } => {
                write!(out, "the build of version '{fingerprint}' is paused already")
            }
            VersionProblem::NotPaused { fingerprint } => {
                write!(out, "the build of version '{fingerprint}' is not paused")
            }
            VersionProblem::AlreadySweeping { fingerprint } => {
                write!(out, "version '{fingerprint}' is being completed already")
            }
            VersionProblem::NotSweeping { fingerprint } => write!(
                out,
                "version '{fingerprint}' is paused or waits for reads; resume or complete it first"
            ),
            VersionProblem::NoPrevious => {
                write!(out, "there is no previous version; only a finished build leaves one")
            }
        }
    }
}

/// The live versions of a collection: one, two or three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    pub serving: Version,
    pub building: Option<Build>,
    /// The one that served before; kept up to date until it is retired.
    pub previous: Option<Version>,
    /// Grows with every change.
    pub epoch: u64,
}

impl Versions {
    /// A new collection's: it serves at once, with nothing in it.
    pub fn first(version: NewVersion) -> Versions {
        Versions { serving: version.numbered(1), building: None, previous: None, epoch: 1 }
    }

    /// Every live version, those that are needed soonest first: building, serving, previous.
    pub fn live(&self) -> impl Iterator<Item = (Role, &Version)> {
        let building = self.building.iter().map(|build| (Role::Building, &build.version));
        let previous = self.previous.iter().map(|version| (Role::Previous, version));
        building.chain([(Role::Serving, &self.serving)]).chain(previous)
    }

    /// The live version of this fingerprint.
    pub fn find(&self, fingerprint: &str) -> Option<(Role, &Version)> {
        self.live().find(|(_, version)| version.fingerprint == fingerprint)
    }

    /// Whether the version of this generation is live.
    pub fn has(&self, generation: u64) -> bool {
        self.live().any(|(_, version)| version.generation == generation)
    }

    /// Begins to build a version; from now on documents are written into it too.
    ///
    /// # Errors
    /// [`VersionProblem::Live`] and [`VersionProblem::Busy`].
    pub fn start(&mut self, version: NewVersion, policy: Policy) -> Result<(), VersionProblem> {
        if let Some((role, live)) = self.find(&version.fingerprint) {
            return Err(VersionProblem::Live { fingerprint: live.fingerprint.clone(), role });
        }
        if let Some(build) = &self.building {
            return Err(VersionProblem::Busy { fingerprint: build.version.fingerprint.clone() });
        }
        self.epoch += 1;
        let version = version.numbered(self.epoch);
        let sweeping = policy == Policy::Eager;
        self.building = Some(Build { version, policy, paused: false, sweeping });
        Ok(())
    }

    /// Stops the job until it is resumed; documents are still written into the version.
    ///
    /// # Errors
    /// [`VersionProblem::NotBuilding`] and [`VersionProblem::AlreadyPaused`].
    pub fn pause(&mut self, fingerprint: &str) -> Result<(), VersionProblem> {
        let build = self.build_of(fingerprint)?;
        if build.paused {
            return Err(VersionProblem::AlreadyPaused { fingerprint: fingerprint.to_owned() });
        }
        build.paused = true;
        self.epoch += 1;
        Ok(())
    }

    /// # Errors
    /// [`VersionProblem::NotBuilding`] and [`VersionProblem::NotPaused`].
    pub fn resume(&mut self, fingerprint: &str) -> Result<(), VersionProblem> {
        let build = self.build_of(fingerprint)?;
        if !build.paused {
            return Err(VersionProblem::NotPaused { fingerprint: fingerprint.to_owned() });
        }
        build.paused = false;
        self.epoch += 1;
        Ok(())
    }

    /// Asks for all chunks of a lazy build, and the switch behind them.
    ///
    /// # Errors
    /// [`VersionProblem::NotBuilding`] and [`VersionProblem::AlreadySweeping`].
    pub fn complete(&mut self, fingerprint: &str) -> Result<(), VersionProblem> {
        let build = self.build_of(fingerprint)?;
        if build.sweeping {
            return Err(VersionProblem::AlreadySweeping { fingerprint: fingerprint.to_owned() });
        }
        build.sweeping = true;
        self.epoch += 1;
        Ok(())
    }

    /// Gives the build up; what it returns is to be dropped.
    ///
    /// # Errors
    /// [`VersionProblem::NotBuilding`].
    pub fn cancel(&mut self, fingerprint: &str) -> Result<Version, VersionProblem> {
        self.build_of(fingerprint)?;
        let build = self.building.take();
        self.epoch += 1;
        build
            .map(|build| build.version)
            .ok_or(VersionProblem::NotBuilding { fingerprint: fingerprint.to_owned() })
    }

    /// The build of this generation is complete and serves from now on. What served becomes the
    /// previous version; the one before that is returned, to be dropped.
    ///
    /// # Errors
    /// [`VersionProblem::NotBuilding`] when that build was cancelled or has switched already, and
    /// [`VersionProblem::NotSweeping`].
    pub fn switch(&mut self, built: &Version) -> Result<Option<Version>, VersionProblem> {
        let fingerprint = built.fingerprint.clone();
        match self.building.take() {
            Some(build) if build.version.generation != built.generation => {
                self.building = Some(build);
                Err(VersionProblem::NotBuilding { fingerprint })
            }
            Some(build) if !build.may_sweep() => {
                self.building = Some(build);
                Err(VersionProblem::NotSweeping { fingerprint })
            }
            Some(build) => {
                self.epoch += 1;
                let served = std::mem::replace(&mut self.serving, build.version);
                Ok(self.previous.replace(served))
            }
            None => Err(VersionProblem::NotBuilding { fingerprint }),
        }
    }

    /// The previous version serves again, and what served is the previous one: nothing is lost
    /// either way.
    ///
    /// # Errors
    /// [`VersionProblem::NoPrevious`].
    pub fn roll_back(&mut self) -> Result<(), VersionProblem> {
        let previous = self.previous.as_mut().ok_or(VersionProblem::NoPrevious)?;
        std::mem::swap(previous, &mut self.serving);
        self.epoch += 1;
        Ok(())
    }

    /// Gives up the way back; what it returns is to be dropped.
    ///
    /// # Errors
    /// [`VersionProblem::NoPrevious`].
    pub fn retire(&mut self) -> Result<Version, VersionProblem> {
        let previous = self.previous.take().ok_or(VersionProblem::NoPrevious)?;
        self.epoch += 1;
        Ok(previous)
    }

    fn build_of(&mut self, fingerprint: &str) -> Result<&mut Build, VersionProblem> {
        let named = |build: &&mut Build| build.version.fingerprint == fingerprint;
        self.building
            .as_mut()
            .filter(named)
            .ok_or_else(|| VersionProblem::NotBuilding { fingerprint: fingerprint.to_owned() })
    }
}
