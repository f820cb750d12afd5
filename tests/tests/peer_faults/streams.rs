//! Streams: whole, in time, and never a cut one for a whole one.

use headwater_tests::node::HANG_TIMEOUT;
use headwater_tests::upstream::{Outcome, Record};
use serde_json::Value;

use super::world::{CHAT, GUARDED, MESSAGES, OTHER, World, body, events, said};

/// Every pair of what the client speaks and what the provider speaks.
const PAIRS: [(&str, &str); 4] =
    [(CHAT, "gpt"), (CHAT, "claude"), (MESSAGES, "gpt"), (MESSAGES, "claude")];
/// Nothing stands after it in a stream: to read up to the end.
const NOTHING: &str = "\u{0}";

/// The last request that a provider has of somebody who says this word.
fn last(world: &World, word: &str) -> Record {
    let said = |record: &Record| record.texts.iter().any(|text| text.contains(word));
    let asked = world.asked().into_iter().filter(said);
    asked.max_by_key(|record| record.ended_at).expect("the provider was asked")
}

pub(crate) fn guarded(world: &mut World) {
    let token = world.token(GUARDED);
    for (path, model) in PAIRS {
        let says = "fault:bytes write to ada@example.com today";
        let answer = world.ask(OTHER, path, &token, &body(path, model, says, true));
        assert_eq!(said(&answer.text()), says, "{path} {model}");
        let told = last(world, "today").texts.join(" ");
        assert!(told.contains("<EMAIL_1>") && !told.contains("ada@"), "{told}");
        // Nor does the guard wait for the end of the stream.
        let says = "fault:slow-tokens one two three four ada@example.com";
        flows(world, path, &token, &body(path, model, says, true));
    }
}

/// Input and output tokens that a stream tells its client.
fn told_usage(path: &str, stream: &str) -> (u64, u64) {
    let events = events(stream);
    let number = |event: &Value, place: &str| event.pointer(place).and_then(Value::as_u64);
    if path == CHAT {
        let with_usage: Vec<&Value> =
            events.iter().filter(|event| event["usage"].is_object()).collect();
        assert_eq!(with_usage.len(), 1, "usage is told once: {stream}");
        let input = number(with_usage[0], "/usage/prompt_tokens").unwrap();
        return (input, number(with_usage[0], "/usage/completion_tokens").unwrap());
    }
    // The last word on each counts: the first event may hold an estimate.
    let input = ["/message/usage/input_tokens", "/usage/input_tokens"];
    let output = ["/message/usage/output_tokens", "/usage/output_tokens"];
    let last = |places: [&str; 2]| {
        let all = events.iter().flat_map(|event| places.map(|place| number(event, place)));
        all.flatten().last().unwrap()
    };
    (last(input), last(output))
}

pub(crate) fn usage(world: &mut World) {
    let token = world.token("counter");
    let mut sum = 0;
    for (path, model) in PAIRS {
        for fault in ["", "fault:bytes", "fault:crlf", "fault:comments"] {
            let says = format!("words:7 {fault} counted");
            let answer = world.ask(OTHER, path, &token, &body(path, model, &says, true));
            let record = last(world, "counted");
            assert_eq!((record.outcome, record.output), (Outcome::Finished, 7));
            let told = told_usage(path, &answer.text());
            assert_eq!(told, (record.input, record.output), "{path} {model} {fault}");
            sum += record.input + record.output;
        }
    }
    assert_eq!(world.ledger("counter"), (16, sum));
}

/// The client has some words of the answer while the provider still speaks.
fn flows(world: &World, path: &str, token: &str, asked: &Value) {
    let mut connection = world.send(OTHER, path, token, asked);
    let first = connection.receive_until("three").unwrap();
    let running = world.providers.iter().flat_map(|provider| provider.records());
    let running = running.filter(|record| record.outcome == Outcome::Running).count();
    assert_eq!(running, 1, "the provider still speaks: {first}");
    drop(connection);
    world.asked();
}

pub(crate) fn not_buffered(world: &mut World) {
    let token = world.token("patient");
    for (path, model) in PAIRS {
        let says = "fault:slow-tokens one two three four five six seven eight nine ten";
        // The provider repeats the message: its own name of the fault comes first.
        flows(world, path, &token, &body(path, model, says, true));
    }
}

pub(crate) fn split_events(world: &mut World) {
    let token = world.token("splitter");
    for (path, model) in PAIRS {
        for fault in ["bytes", "crlf", "comments"] {
            let says =
                format!("fault:{fault} \u{fc}ber die Br\u{fc}cke \u{6c34}\u{304c} \u{1f30a}");
            let answer = world.ask(OTHER, path, &token, &body(path, model, &says, true));
            assert_eq!(said(&answer.text()), says, "{path} {model}");
        }
        // A word of a mebibyte in one event.
        let asked = body(path, model, "fault:huge words:3", true);
        let answer = world.ask(OTHER, path, &token, &asked);
        assert_eq!(said(&answer.text()).len(), (1 << 20) + " runs down".len(), "{path} {model}");
    }
}

pub(crate) fn cut(world: &mut World) {
    let token = world.token("cutter");
    for (path, model) in PAIRS {
        for fault in ["cut", "garbage", "error"] {
            let says = format!("fault:{fault} words:9");
            let asked = body(path, model, &says, true);
            let heard = world.send(OTHER, path, &token, &asked).receive_until(NOTHING).unwrap();
            let what = format!("{path} {model} {fault}: {heard}");
            assert!(heard.contains("water"), "what came before the cut is told, {what}");
            assert!(heard.contains("\"error\""), "{what}");
            for end in ["[DONE]", "message_stop", "\"finish_reason\":\"stop\"", "end_turn"] {
                assert!(!heard.contains(end), "{end}, {what}");
            }
            assert!(!heard.ends_with("0\r\n\r\n"), "the body does not end well: {what}");
            let asked = body(path, model, &says, false);
            let whole = world.ask(OTHER, path, &token, &asked);
            assert!(whole.status >= 500, "{path} {model} {fault}: {}", whole.text());
        }
    }
}

pub(crate) fn leaver(world: &mut World) {
    let token = world.token("leaver");
    let (mut least, mut most) = (0, 0);
    for (path, model) in PAIRS {
        let says = "fault:slow-tokens words:1000 leaving";
        let asked = body(path, model, says, true);
        let mut connection = world.send(OTHER, path, &token, &asked);
        connection.receive_until("runs").unwrap();
        drop(connection);
        let provider = &world.providers[usize::from(model == "claude")];
        provider.settled(HANG_TIMEOUT).expect("the provider's request ends with the client's");
        let record = last(world, "leaving");
        assert_eq!(record.outcome, Outcome::Cancelled, "{path} {model}");
        assert!(record.output < 1000, "{path} {model}: {} words", record.output);
        // The provider may have sent words that had not reached the gateway. One of OpenAI's
        // protocol tells its input at the end alone, so that it is an estimate by its bytes here.
        let input = if model == "gpt" { says.len() as u64 } else { record.input };
        least += record.input + 1;
        most += input + record.output;
    }
    let (requests, tokens) = world.ledger("leaver");
    assert_eq!(requests, 4);
    assert!((least..=most).contains(&tokens), "{tokens} of {least} to {most} tokens are charged");
}
