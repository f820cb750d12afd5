//! The name server of a way: names that the grant allows, and no question to anyone about others.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::event::{Asked, Kind};
use crate::host::HostName;
use crate::proxy::Way;
use crate::question::{Answer, NoQuestion, QUESTION_BYTES_MAX, Question, Wanted, malformed};
use crate::refusal::Refusal;

pub(crate) fn connection(way: &Arc<Way>, stream: UnixStream, tasks: &mut JoinSet<()>) {
    let way = Arc::clone(way);
    match way.meter.name_connection() {
        Ok(permit) => {
            tasks.spawn(async move {
                run(&way, stream).await;
                drop(permit);
            });
        }
        Err(refusal) => way.record(Kind::Connection, Asked::default()).refused(&refusal),
    }
}

/// Answers questions until the guest goes, breaks the form, or asks nothing for too long.
async fn run(way: &Way, mut stream: UnixStream) {
    let wait = Duration::from_millis(way.shared.settings.idle_ms);
    loop {
        let message = match timeout(wait, message(&mut stream)).await {
            Ok(Some(message)) => message,
            _ => return,
        };
        let answer = match Question::read(&message) {
            Ok(question) => question.answer(&answer(way, &question).await),
            Err(NoQuestion(id)) => {
                let why = Refusal::Malformed("it is no question of DNS");
                way.record(Kind::Name, Asked::default()).refused(&why);
                match id {
                    Some(id) => malformed(id),
                    None => return,
                }
            }
        };
        let mut framed = (answer.len() as u16).to_be_bytes().to_vec();
        framed.extend(answer);
        match timeout(wait, stream.write_all(&framed)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

async fn message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let len = usize::from(stream.read_u16().await.ok()?);
    if len > QUESTION_BYTES_MAX {
        return None;
    }
    let mut message = vec![0; len];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

async fn answer(way: &Way, question: &Question) -> Answer {
    let asked = Asked { host: question.name.clone(), ..Asked::default() };
    let record = way.record(Kind::Name, asked);
    match look_up(way, question).await {
        Ok(answer) => {
            record.reached(None, 0);
            record.whole();
            answer
        }
        Err(refusal) => {
            record.refused(&refusal);
            match refusal {
                Refusal::Host | Refusal::Unresolved => Answer::NoName,
                Refusal::Deadline(_) => Answer::Failed,
                _ => Answer::Refused,
            }
        }
    }
}

async fn look_up(way: &Way, question: &Question) -> Result<Answer, Refusal> {
    way.meter.name()?;
    let host = HostName::new(&question.name).map_err(|_| Refusal::Host)?;
    let named = host.address().is_none();
    let rule = way.grant.rules.iter().find(|rule| named && rule.host.matches(&host));
    let rule = rule.ok_or(Refusal::Host)?;
    match question.wanted {
        Wanted::Broad => Err(Refusal::Malformed("ask for one type of one name")),
        Wanted::Other => Ok(Answer::Addresses(Vec::new())),
        // The address of an internal service is the proxy's own business.
        Wanted::V4 | Wanted::V6 if rule.internal.is_some() => Ok(Answer::Addresses(Vec::new())),
        Wanted::V4 | Wanted::V6 => {
            let found = way.addresses(rule, &host, 0).await?;
            Ok(Answer::Addresses(found.into_iter().map(|address| address.ip()).collect()))
        }
    }
}
