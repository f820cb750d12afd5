//! The double: an engine in memory, whose guests follow a script of a few words, with faults on
//! demand. For tests and the simulation; it isolates nothing, and its probe says so.
//!
//! A script is lines of one word and, behind a space, its argument: `print TEXT` writes a line,
//! `cat` writes the standard input, `exit N` ends, `sleep MS` waits, `keep NAME` leaves a file in
//! the working folder, `need NAME` ends with status 2 unless that file is there, `crash` loses the
//! slot, `dirty` leaves something behind, `violate` asks for what is not allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::engine::{Abilities, Engine, Probe, Slot, SlotSpec, Swept, Way};
use crate::error::EngineError;
use crate::execution::{Channel, Execution, Listener};
use crate::image::Image;
use crate::isolation::Isolation;
use crate::outcome::{Ended, FileEntry, GuestFile, Outcome, Usage};
use crate::path::GuestPath;

type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Fails the next calls of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The next slot does not start.
    StartFails,
    /// The next call loses its slot before the guest has run.
    RunLosesSlot,
}

/// What the double has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    pub started: u64,
    /// Slots that are open, by name.
    pub open: BTreeSet<String>,
    /// Ended calls.
    pub runs: u64,
    pub recycled: u64,
}

#[derive(Default)]
struct State {
    counts: Counts,
    faults: Vec<Fault>,
}

/// See the module; cheap to clone, and clones are one engine.
#[derive(Clone)]
pub struct DoubleEngine {
    abilities: Abilities,
    pause: Arc<dyn Fn(u64) -> Pause + Send + Sync>,
    state: Arc<Mutex<State>>,
}

impl DoubleEngine {
    pub const ABILITIES: Abilities = Abilities {
        name: "double",
        isolation: Isolation::Contained,
        recycles: true,
        sessions: true,
        pauses: true,
        egress: false,
        native_packages: false,
    };

    /// `pause` waits so many milliseconds.
    pub fn new(
        abilities: Abilities,
        pause: impl Fn(u64) -> Pause + Send + Sync + 'static,
    ) -> DoubleEngine {
        DoubleEngine { abilities, pause: Arc::new(pause), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call of the fault's kind fails; each fault once.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    fn take(&self, fault: Fault) -> bool {
        let mut state = self.state();
        let found = state.faults.iter().position(|one| *one == fault);
        found.map(|place| state.faults.remove(place)).is_some()
    }
}

#[async_trait]
impl Engine for DoubleEngine {
    fn abilities(&self) -> Abilities {
        self.abilities
    }

    async fn probe(&self, _image: &Image) -> Result<Probe, EngineError> {
        let warnings = vec!["a double for tests: it isolates nothing".to_owned()];
        Ok(Probe { version: "double".to_owned(), cold_us: 0, warnings })
    }

    async fn prepare(&self, _image: &Image) -> Result<(), EngineError> {
        Ok(())
    }

    async fn start(&self, spec: SlotSpec) -> Result<Box<dyn Slot>, EngineError> {
        spec.limits.check()?;
        if spec.way_out.is_some() && !self.abilities.egress {
            let what = "let guests out".to_owned();
            return Err(EngineError::Unsupported { engine: self.abilities.name, what });
        }
        if self.take(Fault::StartFails) {
            return Err(EngineError::Busy { why: "the double was told to fail".to_owned() });
        }
        (self.pause)(1).await;
        let mut state = self.state();
        state.counts.started += 1;
        state.counts.open.insert(spec.name.clone());
        let files = BTreeMap::new();
        Ok(Box::new(DoubleSlot { engine: self.clone(), spec, files, is_dirty: false, lost: false }))
    }

    async fn sweep(&self) -> Result<Swept, EngineError> {
        Ok(Swept::default())
    }
}

struct DoubleSlot {
    engine: DoubleEngine,
    spec: SlotSpec,
    files: BTreeMap<GuestPath, Vec<u8>>,
    is_dirty: bool,
    lost: bool,
}

/// How the script goes on after a line.
enum Next {
    Line,
    End(Ended),
    Lose,
}

impl DoubleSlot {
    fn lost() -> EngineError {
        EngineError::Lost { why: "the double's guest crashed".to_owned() }
    }

    fn session(&self) -> Result<(), EngineError> {
        match self.spec.way {
            Way::Session => Ok(()),
            Way::Single => {
                let what = "keep files of a slot for single calls".to_owned();
                Err(EngineError::Unsupported { engine: self.engine.abilities.name, what })
            }
        }
    }

    async fn line(
        &mut self,
        line: &str,
        execution: &Execution,
        said: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Next {
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        let named = || GuestPath::new(argument);
        match word {
            "" => {}
            "print" => said(format!("{argument}\n").as_bytes()),
            "cat" => said(&execution.input),
            "exit" => return Next::End(Ended::Exit(argument.parse().unwrap_or(1))),
            "sleep" => {
                let ms: u64 = argument.parse().unwrap_or(0);
                let wall_ms = execution.limits.wall_ms;
                (self.engine.pause)(ms.min(wall_ms)).await;
                if ms >= wall_ms {
                    return Next::End(Ended::WallTime);
                }
            }
            "keep" => {
                if let Ok(path) = named() {
                    self.files.insert(path, argument.as_bytes().to_vec());
                }
            }
            "need" => {
                if !named().is_ok_and(|path| self.files.contains_key(&path)) {
                    return Next::End(Ended::Exit(2));
                }
            }
            "crash" => return Next::Lose,
            "dirty" => self.is_dirty = true,
            "violate" => return Next::End(Ended::Violation),
            _ => return Next::End(Ended::Exit(127)),
        }
        Next::Line
    }
}

#[async_trait]
impl Slot for DoubleSlot {
    fn name(&self) -> &str {
        &self.spec.name
    }

    async fn run(
        &mut self,
        execution: &Execution,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        execution.limits.check()?;
        if self.lost || self.engine.take(Fault::RunLosesSlot) {
            self.lost = true;
            return Err(Self::lost());
        }
        if self.spec.way == Way::Single {
            self.files.clear();
        }
        for file in &execution.files {
            self.files.insert(file.path.clone(), file.bytes.clone());
        }
        let (mut ended, mut output) = (Ended::Exit(0), Vec::new());
        for line in execution.source.lines() {
            let mut said = |bytes: &[u8]| output.extend_from_slice(bytes);
            match self.line(line.trim(), execution, &mut said).await {
                Next::Line => {}
                Next::End(with) => {
                    ended = with;
                    break;
                }
                Next::Lose => {
                    self.lost = true;
                    return Err(Self::lost());
                }
            }
        }
        let most = usize::try_from(execution.limits.output_bytes).unwrap_or(usize::MAX);
        if output.len() > most {
            output.truncate(most);
            ended = Ended::Output;
        }
        listener.heard(Channel::Output, &output);
        self.engine.state().counts.runs += 1;
        let collect = execution.collect.iter();
        let kept = |path: &GuestPath| {
            let bytes = self.files.get(path)?.clone();
            Some(GuestFile { path: path.clone(), bytes })
        };
        Ok(Outcome {
            ended,
            wall_us: 1_000,
            cpu_us: 1_000,
            memory_peak_bytes: 1 << 20,
            output_bytes: output.len() as u64,
            files: collect.filter_map(kept).collect(),
        })
    }

    async fn write(&mut self, file: &GuestFile) -> Result<(), EngineError> {
        self.session()?;
        self.files.insert(file.path.clone(), file.bytes.clone());
        Ok(())
    }

    async fn read(&mut self, path: &GuestPath, bytes_max: u64) -> Result<GuestFile, EngineError> {
        self.session()?;
        let wrong = |why: String| EngineError::File { path: path.as_str().to_owned(), why };
        let bytes = self.files.get(path).ok_or_else(|| wrong("is not there".to_owned()))?;
        if bytes.len() as u64 > bytes_max {
            return Err(wrong(format!("has {} bytes, more than {bytes_max}", bytes.len())));
        }
        Ok(GuestFile { path: path.clone(), bytes: bytes.clone() })
    }

    async fn list(&mut self, entries_max: usize) -> Result<Vec<FileEntry>, EngineError> {
        self.session()?;
        let entry = |(path, bytes): (&GuestPath, &Vec<u8>)| FileEntry {
            path: path.clone(),
            bytes: bytes.len() as u64,
            folder: false,
        };
        Ok(self.files.iter().take(entries_max).map(entry).collect())
    }

    async fn pause(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn usage(&mut self) -> Result<Usage, EngineError> {
        Ok(Usage { memory_bytes: 1 << 20, processes: 1 })
    }

    async fn recycle(&mut self) -> Result<(), EngineError> {
        if !self.engine.abilities.recycles {
            let what = "recycle slots".to_owned();
            return Err(EngineError::Unsupported { engine: self.engine.abilities.name, what });
        }
        if self.lost || self.is_dirty || self.spec.way == Way::Session {
            return Err(EngineError::Dirty { what: "what the guest left".to_owned() });
        }
        self.files.clear();
        self.engine.state().counts.recycled += 1;
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), EngineError> {
        // Dropped with it, as its name says.
        Ok(())
    }
}

impl Drop for DoubleSlot {
    fn drop(&mut self) {
        let name = self.spec.name.clone();
        self.engine.state().counts.open.remove(&name);
    }
}
