//! Moves a call's streams, and stops its guest at the first limit.

use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use headwater_sandbox::{Channel, Ended, EngineError, Execution, Limits, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::{sleep_until, timeout};

use super::keeper::{Keeper, Reply};
use super::{GONE, KILL, Message, Place, STOP, lost};
use crate::cgroup::Group;
use crate::control::FAILED;
use crate::wire::Request;

/// How often a guest that may be near its processor time is looked at, at most.
const LOOK: Duration = Duration::from_millis(10);

/// What a guest writes, up to its limit.
struct Streams {
    output: Option<Receiver>,
    errors: Option<Receiver>,
    heard_bytes: u64,
    most_bytes: u64,
}

impl Streams {
    /// Tells the listener what was read. True where it was more than the guest may write.
    fn hear(&mut self, channel: Channel, bytes: &[u8], listener: &mut dyn Listener) -> bool {
        let left = self.most_bytes - self.heard_bytes;
        let told = (bytes.len() as u64).min(left) as usize;
        if told > 0 {
            listener.heard(channel, &bytes[..told]);
        }
        self.heard_bytes += told as u64;
        if bytes.is_empty() {
            match channel {
                Channel::Output => self.output = None,
                Channel::Error => self.errors = None,
            }
        }
        let is_over = told < bytes.len();
        if is_over {
            (self.output, self.errors) = (None, None);
        }
        is_over
    }

    /// Hears what the ended processes had written. True where it was too much.
    async fn drain(&mut self, listener: &mut dyn Listener) -> bool {
        let mut buffer = vec![0; 64 << 10];
        for (channel, stream) in
            [(Channel::Output, self.output.take()), (Channel::Error, self.errors.take())]
        {
            let Some(mut stream) = stream else { continue };
            // Nobody has the other end any more, so this comes to an end.
            while let Ok(Ok(count @ 1..)) = timeout(STOP, stream.read(&mut buffer)).await {
                if self.hear(channel, &buffer[..count], listener) {
                    return true;
                }
            }
        }
        false
    }
}

/// When a call is looked at next, and what for.
struct Times {
    /// The guest's time is over; once it was told so, the keeper's.
    wall: Instant,
    /// The guest may have used up its processor time.
    look: Instant,
    /// The group's processor time before the call; none where nobody counts it.
    cpu_began_us: Option<u64>,
    /// How often the keeper was killed.
    kills: u32,
}

impl Times {
    fn new(limits: &Limits, began: Instant, cpu_began_us: Option<u64>) -> Self {
        let wall = began + Duration::from_millis(limits.wall_ms);
        Self { wall, look: began + cpu_wait(limits, 0), cpu_began_us, kills: 0 }
    }

    /// Whether the guest's processor time is over.
    fn look(&mut self, limits: &Limits, group: &Group) -> bool {
        let now = group.cpu_us().unwrap_or_default();
        let used_us = now.saturating_sub(self.cpu_began_us.unwrap_or_default());
        self.look = Instant::now() + cpu_wait(limits, used_us);
        used_us >= limits.cpu_ms * 1_000
    }

    /// Kills a keeper that did not end its guest in time.
    async fn kill(&mut self, place: &Place<'_>, call: u64) -> Result<(), EngineError> {
        self.kills += 1;
        if self.kills > 2 {
            return Err(lost("the call does not end"));
        }
        self.wall = Instant::now() + GONE;
        place.control.send(Message::new(KILL, call), &[]).await.map_err(lost)
    }
}

pub(crate) struct Pump<'a> {
    keeper: Keeper,
    input: Option<Sender>,
    streams: Streams,
    limits: &'a Limits,
    group: Group,
    /// Why the guest was stopped.
    pub(crate) stopped: Option<Ended>,
    pub(crate) reply: Option<io::Result<Reply>>,
}

/// A request and the program that goes with it.
type Asked<'a> = (&'a Request<'a>, &'a [u8]);

/// What happened next.
enum Event {
    Heard(Channel, io::Result<usize>),
    Fed,
    Replied(io::Result<Reply>),
    Wall,
    Cpu,
    Done(Result<Message, EngineError>),
}

impl<'a> Pump<'a> {
    pub(crate) fn new(
        keeper: UnixStream,
        input: Sender,
        output: Receiver,
        errors: Receiver,
        limits: &'a Limits,
        group: &Group,
    ) -> Self {
        let (output, errors) = (Some(output), Some(errors));
        Self {
            keeper: Keeper::new(keeper),
            input: Some(input),
            streams: Streams { output, errors, heard_bytes: 0, most_bytes: limits.output_bytes },
            limits,
            group: group.clone(),
            stopped: None,
            reply: None,
        }
    }

    pub(crate) fn heard_bytes(&self) -> u64 {
        self.streams.heard_bytes
    }

    /// Until the keeper has answered, which it does behind the end of the guest's last process;
    /// its own end is waited for before the next call. Without an answer, to the keeper's end,
    /// which is returned.
    pub(crate) async fn run(
        &mut self,
        asked: Asked<'_>,
        execution: &Execution,
        began: Instant,
        place: &mut Place<'_>,
        call: u64,
        listener: &mut dyn Listener,
    ) -> Result<Option<Message>, EngineError> {
        let mut times = Times::new(self.limits, began, self.group.cpu_us());
        let mut feed = Box::pin(feed(self.input.take(), &execution.input));
        let (stop, stops) = tokio::sync::oneshot::channel::<()>();
        let mut stop = Some(stop);
        let mut talk = Box::pin(talk(&mut self.keeper, asked, &execution.files, stops));
        let (mut is_fed, mut heard) = (false, [vec![0; 64 << 10], vec![0; 64 << 10]]);
        loop {
            let [output, errors] = &mut heard;
            let event = tokio::select! {
                biased;
                count = read(&mut self.streams.output, output) => Event::Heard(Channel::Output, count),
                count = read(&mut self.streams.errors, errors) => Event::Heard(Channel::Error, count),
                () = &mut feed, if !is_fed => Event::Fed,
                reply = &mut talk, if self.reply.is_none() => Event::Replied(reply),
                message = place.ended(call) => Event::Done(message),
                () = sleep_until(times.wall.into()) => Event::Wall,
                () = sleep_until(times.look.into()), if times.cpu_began_us.is_some() => Event::Cpu,
            };
            let reason = match event {
                Event::Fed => {
                    is_fed = true;
                    None
                }
                Event::Replied(reply) => {
                    let is_whole = reply.is_ok();
                    self.reply = Some(reply);
                    if is_whole {
                        return Ok(None);
                    }
                    None
                }
                Event::Done(message) => {
                    let message = begun(message?)?;
                    if self.reply.is_none() {
                        // All of it is in the socket by now.
                        self.reply = timeout(STOP, &mut talk).await.ok();
                    }
                    return Ok(Some(message));
                }
                Event::Heard(channel, count) => {
                    let buffer = if channel == Channel::Output { &heard[0] } else { &heard[1] };
                    let bytes = &buffer[..count.unwrap_or(0)];
                    self.streams.hear(channel, bytes, listener).then_some(Ended::Output)
                }
                Event::Cpu => times.look(self.limits, &self.group).then_some(Ended::CpuTime),
                Event::Wall if stop.is_some() => Some(Ended::WallTime),
                Event::Wall => {
                    times.kill(place, call).await?;
                    None
                }
            };
            let Some(reason) = reason else { continue };
            self.stopped.get_or_insert(reason);
            if let Some(stop) = stop.take() {
                let _ = stop.send(());
                times.wall = Instant::now() + STOP;
            }
        }
    }

    /// What the ended processes had written and nobody has heard.
    pub(crate) async fn drain(&mut self, listener: &mut dyn Listener) {
        if self.streams.drain(listener).await {
            self.stopped = Some(Ended::Output);
        }
    }
}

/// A call that could not begin is for later.
fn begun(end: Message) -> Result<Message, EngineError> {
    if end.kind != FAILED {
        return Ok(end);
    }
    let error = io::Error::from_raw_os_error(end.value as i32);
    Err(EngineError::Busy { why: error.to_string() })
}

/// How long a guest cannot have used up its processor time.
fn cpu_wait(limits: &Limits, used_us: u64) -> Duration {
    let left_us = (limits.cpu_ms * 1_000).saturating_sub(used_us);
    let wait_us = left_us * 1_000 / u64::from(limits.cpu_milli).max(1_000);
    Duration::from_micros(wait_us).max(LOOK)
}

async fn read(stream: &mut Option<Receiver>, buffer: &mut [u8]) -> io::Result<usize> {
    match stream {
        Some(stream) => stream.read(buffer).await,
        None => pending().await,
    }
}

/// A guest need not read all of its input, or any.
async fn feed(stream: Option<Sender>, input: &[u8]) {
    if let Some(mut stream) = stream {
        let _ = stream.write_all(input).await;
    }
}

/// Asks, and hears the answer; in between the guest is stopped when the host says so.
async fn talk(
    keeper: &mut Keeper,
    (request, program): Asked<'_>,
    files: &[headwater_sandbox::GuestFile],
    stops: tokio::sync::oneshot::Receiver<()>,
) -> io::Result<Reply> {
    keeper.ask(request, program, files).await?;
    tokio::select! {
        biased;
        ready = keeper.readable() => ready?,
        Ok(()) = stops => keeper.stop(),
    }
    keeper.answer(request.collect_bytes).await
}
