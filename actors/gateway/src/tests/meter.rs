//! What answers have used.

use headwater_models::chat::{ChatEvent, ChatRequest, Finish, Image, Message, Part, Role, Usage};

use crate::{Meter, input_tokens};

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: text.to_owned() }
}

fn usage(input: u64, output: u64) -> ChatEvent {
    ChatEvent::Usage(Usage { input, output, ..Usage::default() })
}

const END: ChatEvent = ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop: None };

/// Input, output and whether they are estimated.
fn used(events: &[ChatEvent]) -> (u64, u64, bool) {
    let mut meter = Meter::new(50);
    events.iter().for_each(|event| meter.see(event));
    let used = meter.used();
    (used.usage.input, used.usage.output, used.is_estimated)
}

#[test]
fn the_providers_word_counts_and_the_rest_is_estimated() {
    for (events, expected) in [
        (vec![], (50, 0, true)),
        (vec![text("a "), text("b "), END, usage(7, 2)], (7, 2, false)),
        // Told ahead of the end, as one protocol does.
        (vec![usage(7, 1), text("a "), text("b "), usage(7, 2), END], (7, 2, false)),
        // Told with every part: exact wherever it is cut.
        (vec![text("a "), usage(7, 1), text("b "), usage(7, 2)], (7, 2, false)),
        // Cut behind what was told: the input stands, the output is counted by parts.
        (vec![usage(7, 1), text("a "), text("b "), text("c ")], (7, 3, true)),
        // Told with every part, but for the output.
        (vec![text("a "), usage(7, 0), text("b "), usage(7, 0)], (7, 2, true)),
        // Or by bytes, when parts are long.
        (vec![text(&"word ".repeat(100))], (50, 125, true)),
        (vec![text("")], (50, 0, true)),
    ] {
        assert_eq!(used(&events), expected, "{events:?}");
    }
}

#[test]
fn an_answer_is_whole_when_every_choice_has_ended() {
    let mut meter = Meter::new(1);
    assert!(!meter.is_whole());
    meter.see(&text("a"));
    meter.see(&ChatEvent::Text { choice: 1, text: "b".to_owned() });
    meter.see(&END);
    meter.see(&END);
    assert!(!meter.is_whole());
    meter.see(&ChatEvent::Finished { choice: 1, reason: Finish::Length, stop: None });
    assert!(meter.is_whole());
    let mut silent = Meter::new(1);
    silent.see(&END);
    assert!(silent.is_whole());
}

#[test]
fn the_estimate_of_the_input_is_above_what_models_count() {
    let message = |text: &str| ChatRequest::new("m", vec![Message::text(Role::User, text)]);
    // Words of English are about 1.3 tokens each.
    assert!(input_tokens(&message(&"word ".repeat(1_000))) >= 1_300);
    // Japanese has about a token for each character of three bytes.
    assert!(input_tokens(&message(&"湖".repeat(500))) >= 500);
    let image = Part::Image(Image::Url("https://example.com/a.png".to_owned()));
    let picture = ChatRequest::new("m", vec![Message { role: Role::User, parts: vec![image] }]);
    assert!(input_tokens(&picture) > 1_000);
    assert!(input_tokens(&ChatRequest::new("m", vec![])) < 10);
}
