//! One call: what the agent is told, what it tells, and the limits that the host keeps itself.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use headwater_sandbox::{
    Channel, Ended, EngineError, Execution, GuestFile, Limits, Listener, Outcome,
};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::guest::{Machine, lost, text_of};
use crate::link::Link;
use crate::wire::{Frame, Kind, Order, frame, told};

/// How often the host looks at a call's memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The longest that the agent may take to kill what a call left, and to hand files back.
const END_WITHIN: Duration = Duration::from_secs(5);
/// The most bytes of a program and its standard input together.
const GIVEN_BYTES_MAX: usize = 64 << 20;
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Whether the engine takes a call, told before anything is sent.
pub(crate) fn check(
    engine: &'static str,
    execution: &Execution,
    most: &Limits,
) -> Result<(), EngineError> {
    execution.limits.check_within(most)?;
    let unsupported = |what: String| Err(EngineError::Unsupported { engine, what });
    let given = execution.source.len() + execution.input.len();
    if given > GIVEN_BYTES_MAX {
        return unsupported(format!(
            "take a program and an input of {given} bytes together; send at most {GIVEN_BYTES_MAX}, \
             or send a file"
        ));
    }
    for (name, value) in &execution.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return unsupported(format!(
                "take the environment variable {name:?}; a name has a character and no `=`, and \
                 neither it nor its value has a NUL"
            ));
        }
    }
    Ok(())
}

/// The frame that begins a call.
pub(crate) fn order(execution: &Execution, number: u32) -> Vec<u8> {
    let mut environment = BTreeMap::from([("PATH", PATH), ("HOME", "/work"), ("LANG", "C.UTF-8")]);
    for (name, value) in &execution.environment {
        environment.insert(name, value);
    }
    let limits = &execution.limits;
    let collect: Vec<&str> = execution.collect.iter().map(|path| path.as_str()).collect();
    let call = json!({
        "number": number,
        "source": execution.source,
        "arguments": execution.arguments,
        "environment": environment,
        "collect": collect,
        "collect_bytes_max": limits.disk_bytes,
        "limits": {
            "memory_bytes": limits.memory_bytes,
            "processes": limits.processes,
            "open_files": limits.open_files,
            "file_bytes": limits.file_bytes,
            "cpu_ms": limits.cpu_ms,
        },
    });
    told(Order::Call, &call, &execution.input)
}

/// A call under way.
pub(crate) struct Call<'a, M> {
    pub(crate) link: &'a mut Link,
    pub(crate) machine: &'a mut M,
    pub(crate) execution: &'a Execution,
    pub(crate) number: u32,
    pub(crate) began: Instant,
    /// What the guest held before the call, in bytes.
    pub(crate) idle_bytes: u64,
}

/// What the host has seen of a call.
#[derive(Default)]
struct Seen {
    /// Why the host ended it; the first reason counts.
    verdict: Option<Ended>,
    output_bytes: u64,
    peak_bytes: u64,
    end: Option<(Value, Duration)>,
    file: Option<(String, Vec<u8>)>,
    files: Vec<GuestFile>,
    files_bytes: u64,
}

impl Seen {
    fn ending(&self) -> bool {
        self.verdict.is_some() || self.end.is_some()
    }
}

/// A call's end, and whether the guest is still there.
pub(crate) struct Over {
    pub(crate) outcome: Outcome,
    pub(crate) alive: bool,
}

impl<M: Machine> Call<'_, M> {
    /// Follows a call to its end.
    pub(crate) async fn follow(self, listener: &mut dyn Listener) -> Result<Over, EngineError> {
        let kills = self.machine.memory_kills();
        let mut seen = Seen::default();
        let mut until = self.began + Duration::from_millis(self.execution.limits.wall_ms);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let before = seen.ending();
            let mut moved = false;
            tokio::select! {
                next = self.link.next() => match next {
                    Ok(frame) => {
                        let kind = frame.kind;
                        self.heard(frame, &mut seen, listener).map_err(|e| lost(e.to_string()))?;
                        if kind == Kind::Done {
                            return self.over(seen, true);
                        }
                        moved = kind == Kind::File;
                    }
                    Err(error) => return self.broken(seen, kills, &error).await,
                },
                // The agent did not kill: the guest goes with all that is in it.
                () = sleep_until(until) => match seen.ending() {
                    true => return self.over(seen, false),
                    false => self.stop(&mut seen, Ended::WallTime),
                },
                _ = looks.tick(), if seen.end.is_none() => self.look(&mut seen),
            }
            if moved || (seen.ending() && !before) {
                until = Instant::now() + END_WITHIN;
            }
        }
    }

    fn stop(&self, seen: &mut Seen, why: Ended) {
        if seen.verdict.is_none() && seen.end.is_none() {
            seen.verdict = Some(why);
            self.link.send(frame(Order::Kill, self.number, b""));
        }
    }

    fn look(&self, seen: &mut Seen) {
        let Some(bytes) = self.machine.held_bytes() else { return };
        let used = bytes.saturating_sub(self.idle_bytes);
        seen.peak_bytes = seen.peak_bytes.max(used);
        if used > self.execution.limits.memory_bytes {
            self.stop(seen, Ended::Memory);
        }
    }

    fn heard(&self, frame: Frame, seen: &mut Seen, listener: &mut dyn Listener) -> io::Result<()> {
        match frame.kind {
            Kind::Output => self.output(Channel::Output, &frame.body, seen, listener),
            Kind::Error => self.output(Channel::Error, &frame.body, seen, listener),
            Kind::End => {
                seen.end = Some((frame.told()?.0, self.began.elapsed()));
            }
            Kind::File => {
                let (told, part) = frame.told()?;
                self.file(&told, part, seen)?;
            }
            Kind::Done => {}
            _ => return Err(io::Error::other("the agent told what does not belong to a call")),
        }
        Ok(())
    }

    fn output(&self, channel: Channel, bytes: &[u8], seen: &mut Seen, listener: &mut dyn Listener) {
        let left = self.execution.limits.output_bytes - seen.output_bytes;
        let heard = &bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        if !heard.is_empty() {
            listener.heard(channel, heard);
            seen.output_bytes += heard.len() as u64;
        }
        if heard.len() < bytes.len() {
            self.stop(seen, Ended::Output);
        }
    }

    fn file(&self, told: &Value, part: &[u8], seen: &mut Seen) -> io::Result<()> {
        let path = text_of(told, "path");
        let wanted = self.execution.collect.iter().find(|wanted| wanted.as_str() == path);
        let wanted = wanted.ok_or_else(|| io::Error::other("a file came that nobody asked for"))?;
        seen.files_bytes += part.len() as u64;
        if seen.files_bytes > self.execution.limits.disk_bytes {
            return Err(io::Error::other("the files are larger than the guest's disk"));
        }
        let (before, bytes) = seen.file.get_or_insert_with(Default::default);
        if *before != path {
            // The file before could not be read to its end.
            path.clone_into(before);
            bytes.clear();
        }
        bytes.extend_from_slice(part);
        if told.get("more").and_then(Value::as_bool) == Some(false) {
            let bytes = std::mem::take(bytes);
            seen.file = None;
            seen.files.push(GuestFile { path: wanted.clone(), bytes });
        }
        Ok(())
    }

    /// The guest is gone. Killed for want of memory, it tells how the call ended.
    async fn broken(
        self,
        mut seen: Seen,
        kills: u64,
        error: &io::Error,
    ) -> Result<Over, EngineError> {
        if self.machine.memory_kills() > kills {
            seen.verdict.get_or_insert(Ended::Memory);
            return self.over(seen, false);
        }
        Err(self.machine.lost(error).await)
    }

    fn over(self, seen: Seen, alive: bool) -> Result<Over, EngineError> {
        let number = |told: &Value, field: &str| told.get(field).and_then(Value::as_u64);
        let (told, wall) = seen.end.unwrap_or((Value::Null, self.began.elapsed()));
        let ended = match seen.verdict {
            Some(verdict) => verdict,
            None => ended_of(&told).ok_or_else(|| lost("the agent told no end of the call"))?,
        };
        let outcome = Outcome {
            ended,
            wall_us: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
            cpu_us: number(&told, "cpu_us").unwrap_or(0),
            memory_peak_bytes: seen.peak_bytes.max(number(&told, "peak_bytes").unwrap_or(0)),
            output_bytes: seen.output_bytes,
            files: seen.files,
        };
        Ok(Over { outcome, alive })
    }
}

fn ended_of(told: &Value) -> Option<Ended> {
    let number = || i32::try_from(told.get("number")?.as_i64()?).ok();
    match told.get("ended")?.as_str()? {
        "exit" => Some(Ended::Exit(number()?)),
        "signal" => Some(Ended::Signal(number()?)),
        "cpu" => Some(Ended::CpuTime),
        "memory" => Some(Ended::Memory),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
