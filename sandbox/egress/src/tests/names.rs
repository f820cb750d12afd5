//! The name server: allowed names, and labels that carry nothing out.

use super::world::{PUBLIC, open, usual_rules};
use crate::question::{Answer, Question};
use crate::{GrantLimits, Kind, Refusal, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

#[tokio::test]
async fn only_allowed_names_are_looked_up() {
    // Name, type, code of the answer, answers in it, whether anyone was asked.
    let rows = [
        ("good.example.org", 1, 0, 1, true),
        ("GOOD.example.org", 1, 0, 1, true),
        ("good.example.org", 28, 0, 0, true),
        ("good.example.org", 16, 0, 0, false),
        ("good.example.org", 255, 5, 0, false),
        ("evil.example.org", 1, 3, 0, false),
        ("c2VjcmV0LWRhdGE.good.example.org", 1, 3, 0, false),
        ("c2VjcmV0LWRhdGE.evil.org", 16, 3, 0, false),
        ("missing.example.org", 1, 3, 0, true),
        ("inside.wide.example.org", 1, 5, 0, true),
    ];
    let world = open(usual_rules(), GrantLimits::default(), |_| {});
    world.names.set("inside.wide.example.org", &[&["10.0.0.7"]]);
    let mut stream = UnixStream::connect(world.way.names()).await.unwrap();
    for (name, kind, code, count, asked) in rows {
        world.names.asked.lock().unwrap().clear();
        let message = question(name, kind);
        stream.write_u16(message.len() as u16).await.unwrap();
        stream.write_all(&message).await.unwrap();
        let len = stream.read_u16().await.unwrap();
        let mut answer = vec![0; usize::from(len)];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[..2], [0xab, 0xcd], "{name}");
        assert_eq!((answer[3] & 15, answer[7]), (code, count), "{name} {kind}");
        assert_eq!(!world.names.asked.lock().unwrap().is_empty(), asked, "{name} {kind}");
        if count == 1 {
            assert!(answer.ends_with(&[93, 184, 215, 14]), "{name} {PUBLIC}");
        }
    }
    let events = world.events.lock().unwrap();
    assert_eq!(events.len(), rows.len());
    let leak = events.iter().find(|event| event.asked.host.ends_with("evil.org")).unwrap();
    assert_eq!((leak.kind, &leak.verdict), (Kind::Name, &Verdict::Refused(Refusal::Host)));
}

#[test]
fn broken_questions_are_no_questions() {
    let whole = question("good.example.org", 1);
    assert!(Question::read(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(Question::read(&whole[..end]).is_err(), "{end}");
    }
    // Every byte in every place: an answer or none, never a panic.
    for at in 0..whole.len() {
        for byte in 0..=255 {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            if let Ok(question) = Question::read(&bytes) {
                assert!(question.name.len() <= 253);
                assert!(question.answer(&Answer::NoName).len() <= bytes.len());
            }
        }
    }
    let mut pointer = whole.clone();
    pointer[12] = 0xc0;
    assert!(Question::read(&pointer).is_err());
}
