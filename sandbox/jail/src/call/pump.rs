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

pub(crate) struct Pump<'a> {
    keeper: Keeper,
    input: Option<Sender>,
    output: Option<Receiver>,
    errors: Option<Receiver>,
    limits: &'a Limits,
    group: Group,
    /// Why the guest was stopped.
    pub(crate) stopped: Option<Ended>,
    pub(crate) heard_bytes: u64,
    pub(crate) reply: Option<io::Result<Reply>>,
}

/// What happened next.
enum Event {
    Heard(Channel, io::Result<usize>),
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
        Self {
            keeper: Keeper::new(keeper),
            input: Some(input),
            output: Some(output),
            errors: Some(errors),
            limits,
            group: group.clone(),
            stopped: None,
            heard_bytes: 0,
            reply: None,
        }
    }

    /// To the end of the call's last process.
    pub(crate) async fn run(
        &mut self,
        request: &Request<'_>,
        execution: &Execution,
        began: Instant,
        place: &mut Place<'_>,
        call: u64,
        listener: &mut dyn Listener,
    ) -> Result<Message, EngineError> {
        let wall = began + Duration::from_millis(self.limits.wall_ms);
        let cpu_began_us = self.group.cpu_us();
        let mut feed = Box::pin(feed(self.input.take(), &execution.input));
        let (stop, stops) = tokio::sync::oneshot::channel::<()>();
        let mut stop = Some(stop);
        let collect = request.collect_bytes;
        let mut talk = Box::pin(talk(&mut self.keeper, request, &execution.files, collect, stops));
        let (mut is_fed, mut heard) = (false, [vec![0; 64 << 10], vec![0; 64 << 10]]);
        let mut next_look = began + cpu_wait(self.limits, 0);
        let mut deadline = wall;
        let mut kills = 0;
        loop {
            let [output_buffer, errors_buffer] = &mut heard;
            let event = tokio::select! {
                biased;
                count = read(&mut self.output, output_buffer) => Event::Heard(Channel::Output, count),
                count = read(&mut self.errors, errors_buffer) => Event::Heard(Channel::Error, count),
                () = &mut feed, if !is_fed => { is_fed = true; continue },
                reply = &mut talk, if self.reply.is_none() => { self.reply = Some(reply); continue },
                message = place.ended(call) => Event::Done(message),
                () = sleep_until(deadline.into()) => Event::Wall,
                () = sleep_until(next_look.into()), if cpu_began_us.is_some() => Event::Cpu,
            };
            let mut reason = None;
            match event {
                Event::Done(message) => {
                    let message = message?;
                    if message.kind == FAILED {
                        let error = io::Error::from_raw_os_error(message.value as i32);
                        return Err(EngineError::Busy { why: error.to_string() });
                    }
                    if self.reply.is_none() {
                        // All of it is in the socket by now.
                        self.reply = timeout(STOP, &mut talk).await.ok();
                    }
                    return Ok(message);
                }
                Event::Heard(channel, count) => {
                    let (stream, buffer) = match channel {
                        Channel::Output => (&mut self.output, &heard[0]),
                        Channel::Error => (&mut self.errors, &heard[1]),
                    };
                    let count = count.unwrap_or(0);
                    if count == 0 {
                        *stream = None;
                    }
                    let left = self.limits.output_bytes - self.heard_bytes;
                    let told = (count as u64).min(left) as usize;
                    if told > 0 {
                        listener.heard(channel, &buffer[..told]);
                    }
                    self.heard_bytes += told as u64;
                    if told < count {
                        reason = Some(Ended::Output);
                        (self.output, self.errors) = (None, None);
                    }
                }
                Event::Cpu => {
                    let now = self.group.cpu_us().unwrap_or_default();
                    let used_us = now.saturating_sub(cpu_began_us.unwrap_or_default());
                    next_look = Instant::now() + cpu_wait(self.limits, used_us);
                    if used_us >= self.limits.cpu_ms * 1_000 {
                        reason = Some(Ended::CpuTime);
                    }
                }
                Event::Wall if stop.is_some() => reason = Some(Ended::WallTime),
                Event::Wall => {
                    // The keeper did not end its guest in time, so it is ended itself.
                    kills += 1;
                    if kills > 2 {
                        return Err(lost("the call does not end"));
                    }
                    deadline = Instant::now() + GONE;
                    place.control.send(Message::new(KILL, call), &[]).await.map_err(lost)?;
                }
            }
            if let Some(reason) = reason {
                self.stopped.get_or_insert(reason);
                if let Some(stop) = stop.take() {
                    let _ = stop.send(());
                    deadline = Instant::now() + STOP;
                }
            }
        }
    }

    /// What the ended processes had written and nobody has heard.
    pub(crate) async fn drain(&mut self, listener: &mut dyn Listener) {
        for (channel, stream) in
            [(Channel::Output, self.output.take()), (Channel::Error, self.errors.take())]
        {
            let Some(mut stream) = stream else { continue };
            let mut buffer = vec![0; 64 << 10];
            // Nobody has the other end any more, so this comes to an end.
            while let Ok(Ok(count)) = timeout(STOP, stream.read(&mut buffer)).await {
                let left = self.limits.output_bytes - self.heard_bytes;
                let told = (count as u64).min(left) as usize;
                if told > 0 {
                    listener.heard(channel, &buffer[..told]);
                }
                self.heard_bytes += told as u64;
                if told < count {
                    self.stopped = Some(Ended::Output);
                }
                if told < count || count == 0 {
                    break;
                }
            }
        }
    }
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
    request: &Request<'_>,
    files: &[headwater_sandbox::GuestFile],
    collect_bytes: u64,
    stops: tokio::sync::oneshot::Receiver<()>,
) -> io::Result<Reply> {
    keeper.ask(request, files).await?;
    tokio::select! {
        biased;
        ready = keeper.readable() => ready?,
        Ok(()) = stops => keeper.stop(),
    }
    keeper.answer(collect_bytes).await
}
