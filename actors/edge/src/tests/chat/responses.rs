//! Clients of OpenAI's newer form.

use headwater_actors::gateway::{ChatError, Chunk, Finish, Message, Part, Role};
use headwater_models::chat::double::ScriptedChat;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{CHAT, events, everything, finished, json_of, saying, started, stream_of, text};

const PATH: &str = "/v1/responses";

fn ask(field: &str, value: Value) -> Value {
    let mut body = json!({"model": CHAT, "input": "hi"});
    body[field] = value;
    body
}

#[tokio::test]
async fn events_become_items() {
    let (world, _) = saying(everything()).await;
    let answer = world.post(PATH, &ask("store", json!(false))).await.ok();
    assert_eq!((&answer["object"], &answer["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(answer["usage"]["output_tokens_details"]["reasoning_tokens"], 3);
    let output = answer["output"].as_array().expect("items");
    assert_eq!(output[0]["summary"], json!([{"type": "summary_text", "text": "so then"}]));
    let words = json!([{"type": "output_text", "text": "Hello", "annotations": []}]);
    assert_eq!(output[1]["content"], words);
    assert_eq!(
        (&output[2]["call_id"], &output[2]["name"]),
        (&json!("call-weather"), &json!("weather"))
    );
    assert_eq!((&output[3]["arguments"], output.len()), (&json!("{}"), 4));

    // The stream tells the same items, part by part and whole.
    let stream = stream_of(&world.post(PATH, &ask("stream", json!(true))).await.text());
    let told: Vec<Value> = stream.iter().map(|(_, data)| json_of(data)).collect();
    for (at, (name, _)) in stream.iter().enumerate() {
        assert_eq!(name.as_deref(), told[at]["type"].as_str());
        assert_eq!(told[at]["sequence_number"], at);
    }
    let of = |kind: &str| told.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    assert_eq!(
        (&told[0]["type"], &told[1]["type"]),
        (&json!("response.created"), &json!("response.in_progress"))
    );
    let deltas: Vec<_> =
        of("response.output_text.delta").iter().map(|event| event["delta"].clone()).collect();
    assert_eq!(deltas, ["Hell", "o"]);
    assert_eq!(of("response.output_text.done")[0]["text"], "Hello");
    let arguments: Vec<_> = of("response.function_call_arguments.done")
        .iter()
        .map(|event| event["arguments"].clone())
        .collect();
    assert_eq!(arguments, ["{\"at\":\"Ulm\"}", "{}"]);
    let last = told.last().expect("an end");
    assert_eq!(last["type"], "response.completed");
    let done: Vec<_> =
        of("response.output_item.done").iter().map(|event| event["item"].clone()).collect();
    assert_eq!(last["response"]["output"], json!(done));
    let plain = |items: &Value| {
        let mut items = items.as_array().expect("items").clone();
        items.iter_mut().for_each(|item| item["id"] = Value::Null);
        items
    };
    assert_eq!(plain(&last["response"]["output"]), plain(&answer["output"]));
    assert_eq!(last["response"]["usage"], answer["usage"]);
}

#[tokio::test]
async fn an_answer_that_met_its_limit_is_incomplete() {
    let script = events(vec![started(), text("a"), finished(Finish::Length)]);
    let (world, _) = saying(script).await;
    let answer = world.post(PATH, &ask("max_output_tokens", json!(1))).await.ok();
    assert_eq!(answer["status"], "incomplete");
    assert_eq!(answer["incomplete_details"]["reason"], "max_output_tokens");
    let stream = stream_of(&world.post(PATH, &ask("stream", json!(true))).await.text());
    assert_eq!(stream.last().and_then(|(name, _)| name.as_deref()), Some("response.incomplete"));
}

#[tokio::test]
async fn a_cut_response_is_no_clean_end() {
    let cut = ChatError::Cut { reason: "gone".to_owned() };
    let (world, _) = saying(Ok(vec![Ok(Chunk::of(vec![text("a")])), Err(cut)])).await;
    let request = world.request("POST", PATH, ask("stream", json!(true)).to_string());
    let mut body = world.router.clone().oneshot(request).await.expect("never fails").into_body();
    let (mut told, mut broken) = (String::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => told
                .push_str(std::str::from_utf8(&frame.into_data().expect("data")).expect("UTF-8")),
            Err(_) => broken = true,
        }
    }
    let (name, data) = stream_of(&told).pop().expect("an event");
    assert_eq!((name.as_deref(), &json_of(&data)["code"]), (Some("error"), &json!("answer_cut")));
    assert!(broken && !told.contains("response.completed"), "{told}");
}

#[tokio::test]
async fn calls_made_at_once_are_one_message() {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    let call =
        |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "dry"});
    let mut body = ask("instructions", json!("be kind"));
    body["input"] =
        json!([{"role": "user", "content": "hi"}, call("a"), call("b"), output("a"), output("b")]);
    world.post(PATH, &body).await.ok();
    let asked = model.asked().remove(0);
    let calls = asked.messages.iter().find(|message| message.role == Role::Assistant);
    assert_eq!(calls.expect("the model's message").parts.len(), 2);
}

#[tokio::test]
async fn input_arrives_as_messages() {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    let mut body = ask("instructions", json!("be kind"));
    body["input"] = json!([
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "dry"},
    ]);
    body["tools"] = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    world.post(PATH, &body).await.ok();
    let asked = model.asked().remove(0);
    let (id, name, arguments) = ("c1".to_owned(), "f".to_owned(), "{}".to_owned());
    let call = Part::ToolCall { id, name, arguments };
    let result =
        Part::ToolResult { call_id: "c1".to_owned(), text: "dry".to_owned(), is_error: false };
    let expected = [
        Message::text(Role::System, "be kind"),
        Message::text(Role::User, "hi"),
        Message { role: Role::Assistant, parts: vec![call] },
        Message { role: Role::User, parts: vec![result] },
    ];
    assert_eq!(asked.messages, expected);
    assert_eq!((asked.tools[0].name.as_str(), asked.body), ("f", None));
}

#[tokio::test]
async fn wrong_bodies_name_their_field() {
    let canary = "canary-7f3a9c";
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    for (field, value, place) in [
        ("input", json!(1), "input"),
        ("input", json!([]), "input"),
        ("input", json!([{"type": canary}]), "input[0].type"),
        ("input", json!([{"role": canary}]), "input[0].role"),
        (
            "input",
            json!([{"role": "user", "content": [{"type": canary}]}]),
            "input[0].content[0].type",
        ),
        ("previous_response_id", json!(canary), "previous_response_id"),
        ("background", json!(true), "background"),
        ("tools", json!([{"type": canary}]), "tools[0].type"),
        ("tool_choice", json!(canary), "tool_choice"),
        ("text", json!({"format": {"type": canary}}), "text.format.type"),
        ("max_output_tokens", json!(0), "max_output_tokens"),
    ] {
        let answer = world.post(PATH, &ask(field, value)).await;
        assert!(!answer.text().contains(canary), "{}", answer.text());
        answer.is_error(400, "invalid_field", Some(place), &[place]);
    }
    assert!(model.asked().is_empty());
}
