//! Wrong bodies of chats: each error names its field and what is allowed, and repeats nothing.

use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::{CHAT, saying};

/// What a client might send anywhere, and must not find again.
const CANARY: &str = "canary-7f3a9c";

/// A field to set in a good body, and the place and words of the error.
type Case = (&'static str, Value, &'static str, &'static str);

async fn check(path: &str, good: &Value, cases: Vec<Case>) {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    world.post(path, good).await.ok();
    for (field, value, place, words) in cases {
        let mut body = good.clone();
        body[field] = value;
        let answer = world.post(path, &body).await;
        let text = answer.text();
        println!("{field} {body} -> {} {text}", answer.status);
        assert!(!text.contains(CANARY), "{text}");
        if path == "/v1/messages" {
            let told = answer.json();
            assert_eq!(answer.status, 400);
            assert_eq!(told["type"], "error");
            assert_eq!(told["error"]["type"], "invalid_request_error");
            assert_eq!(told["request_id"].as_str(), answer.header("x-request-id"));
            let message = told["error"]["message"].as_str().expect("a message");
            assert!(message.starts_with(place) && message.contains(words), "{message}");
        } else {
            let code =
                if words.starts_with("is missing") { "missing_field" } else { "invalid_field" };
            answer.is_error(400, code, Some(place), &[place, words]);
        }
    }
    assert_eq!(model.asked().len(), 1, "a bad body reached the model");
}

fn message(message: Value) -> Value {
    json!([{"role": "user", "content": "hi"}, message])
}

fn part(part: Value) -> Value {
    message(json!({"role": "user", "content": [{"type": "text", "text": "a"}, part]}))
}

fn assistant(field: &str, value: Value) -> Value {
    let mut told = json!({"role": "assistant"});
    told[field] = value;
    message(told)
}

fn openai() -> Value {
    json!({"model": CHAT, "messages": [{"role": "user", "content": "hi"}]})
}

fn anthropic() -> Value {
    json!({"model": CHAT, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
}

#[tokio::test]
async fn messages_of_openai() {
    let url = |url: &str| part(json!({"type": "image_url", "image_url": {"url": url}}));
    let field = "messages";
    check(
        "/v1/chat/completions",
        &openai(),
        vec![
            (field, Value::Null, "messages", "is missing"),
            (field, json!([]), "messages", "at least one"),
            (field, json!(CANARY), "messages", "a list"),
            (field, json!([CANARY]), "messages[0]", "an object"),
            (field, message(json!({})), "messages[1].role", "is missing"),
            (field, message(json!({"role": CANARY})), "messages[1].role", "developer"),
            (field, message(json!({"role": "user"})), "messages[1].content", "is missing"),
            (field, message(json!({"role": "user", "content": 1})), "messages[1].content", "list"),
            (field, message(json!({"role": "user", "content": []})), "messages[1].content", "one"),
            (field, part(json!(CANARY)), "messages[1].content[1]", "an object"),
            (field, part(json!({})), "messages[1].content[1].type", "is missing"),
            (field, part(json!({"type": CANARY})), "messages[1].content[1].type", "image_url"),
            (field, part(json!({"type": "text"})), "messages[1].content[1].text", "is missing"),
            (field, url(CANARY), "messages[1].content[1].image_url.url", "https"),
            (
                field,
                url("data:text/plain;base64,QQ"),
                "messages[1].content[1].image_url.url",
                "data:",
            ),
            (field, url("data:image/png;base64,"), "messages[1].content[1].image_url.url", "data:"),
            (
                field,
                url("data:image/png;base64,Q Q"),
                "messages[1].content[1].image_url.url",
                "data:",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn calls_and_results_of_openai() {
    let call = |call: Value| assistant("tool_calls", json!([call]));
    let function =
        |function: Value| call(json!({"id": "a", "type": "function", "function": function}));
    let field = "messages";
    check(
        "/v1/chat/completions",
        &openai(),
        vec![
            (
                field,
                message(json!({"role": "tool", "content": "a"})),
                "messages[1].tool_call_id",
                "is missing",
            ),
            (
                field,
                message(json!({"role": "function", "content": "a"})),
                "messages[1].name",
                "is missing",
            ),
            (field, message(json!({"role": "assistant"})), "messages[1].content", "is missing"),
            (field, assistant("tool_calls", json!(CANARY)), "messages[1].tool_calls", "a list"),
            (field, call(json!({"type": CANARY})), "messages[1].tool_calls[0].type", "function"),
            (
                field,
                call(json!({"type": "function"})),
                "messages[1].tool_calls[0].id",
                "is missing",
            ),
            (
                field,
                function(json!({"name": ""})),
                "messages[1].tool_calls[0].function.name",
                "not empty",
            ),
            (
                field,
                function(json!({"name": "f", "arguments": {CANARY: 1}})),
                "messages[1].tool_calls[0].function.arguments",
                "a string",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn settings_of_openai() {
    let tool = |tool: Value| json!([tool]);
    let function = |function: Value| tool(json!({"type": "function", "function": function}));
    let named = json!({"type": "function", "function": {"name": CANARY}});
    let schema = |schema: Value| json!({"type": "json_schema", "json_schema": schema});
    check(
        "/v1/chat/completions",
        &openai(),
        vec![
            ("model", Value::Null, "model", "is missing"),
            ("model", json!(7), "model", "a string"),
            ("model", json!(""), "model", "not empty"),
            ("temperature", json!(2.1), "temperature", "0 to 2"),
            ("temperature", json!(CANARY), "temperature", "a number"),
            ("top_p", json!(-0.1), "top_p", "0 to 1"),
            ("n", json!(0), "n", "1 to 128"),
            ("n", json!(1.5), "n", "1 to 128"),
            ("stop", json!(""), "stop", "not empty"),
            ("stop", json!({CANARY: 1}), "stop", "at most 16"),
            ("stop", json!(vec!["a"; 17]), "stop", "at most 16"),
            ("stop", json!(["a", 1]), "stop[1]", "a string"),
            ("max_tokens", json!(0), "max_tokens", "at least 1"),
            ("max_completion_tokens", json!(-1), "max_completion_tokens", "at least 1"),
            ("presence_penalty", json!(3), "presence_penalty", "-2 to 2"),
            ("frequency_penalty", json!(-3), "frequency_penalty", "-2 to 2"),
            ("seed", json!(1.5), "seed", "whole number"),
            ("logprobs", json!(CANARY), "logprobs", "true or false"),
            ("top_logprobs", json!(21), "top_logprobs", "0 to 20"),
            ("top_logprobs", json!(2), "top_logprobs", "logprobs is true"),
            ("stream", json!(CANARY), "stream", "true or false"),
            ("stream_options", json!(CANARY), "stream_options", "an object"),
            ("stream_options", json!({"include_usage": 1}), "stream_options.include_usage", "true"),
            ("user", json!([CANARY]), "user", "a string"),
            ("parallel_tool_calls", json!(1), "parallel_tool_calls", "true or false"),
            ("tools", json!({}), "tools", "a list"),
            ("tools", tool(json!({"type": CANARY})), "tools[0].type", "function"),
            ("tools", tool(json!({"type": "function"})), "tools[0].function", "is missing"),
            ("tools", function(json!({})), "tools[0].function.name", "is missing"),
            ("tools", function(json!({"parameters": 1})), "tools[0].function.parameters", "object"),
            ("tool_choice", json!(CANARY), "tool_choice", "required"),
            ("tool_choice", json!(1), "tool_choice", "required"),
            ("tool_choice", named, "tool_choice.function.name", "one of the tools"),
            ("response_format", json!({"type": CANARY}), "response_format.type", "json_object"),
            (
                "response_format",
                schema(json!({})),
                "response_format.json_schema.schema",
                "is missing",
            ),
            (
                "response_format",
                schema(json!({"schema": 1})),
                "response_format.json_schema.schema",
                "a JSON schema",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn messages_of_anthropic() {
    let source = |source: Value| part(json!({"type": "image", "source": source}));
    let block = |block: Value| assistant("content", json!([block]));
    let result = |content: Value| {
        part(json!({"type": "tool_result", "tool_use_id": "a", "content": content}))
    };
    let field = "messages";
    check(
        "/v1/messages",
        &anthropic(),
        vec![
            (field, Value::Null, "messages", "is missing"),
            (field, json!([]), "messages", "at least one"),
            (field, message(json!({"role": "system"})), "messages[1].role", "user, assistant"),
            (field, message(json!({"role": "user"})), "messages[1].content", "is missing"),
            (field, part(json!({"type": CANARY})), "messages[1].content[1].type", "tool_result"),
            (field, part(json!({"type": "tool_use"})), "messages[1].content[1].type", "image"),
            (field, block(json!({"type": "image"})), "messages[1].content[0].type", "tool_use"),
            (
                field,
                block(json!({"type": "thinking"})),
                "messages[1].content[0].thinking",
                "is missing",
            ),
            (
                field,
                block(json!({"type": "tool_use", "input": CANARY})),
                "messages[1].content[0].input",
                "an object",
            ),
            (
                field,
                block(json!({"type": "tool_use", "input": {}})),
                "messages[1].content[0].id",
                "is missing",
            ),
            (
                field,
                source(json!({"type": CANARY})),
                "messages[1].content[1].source.type",
                "base64, url",
            ),
            (
                field,
                source(json!({"type": "url", "url": CANARY})),
                "messages[1].content[1].source.url",
                "https",
            ),
            (
                field,
                source(json!({"type": "base64"})),
                "messages[1].content[1].source.media_type",
                "is missing",
            ),
            (
                field,
                result(json!([{"type": CANARY}])),
                "messages[1].content[1].content[0].type",
                "text, image",
            ),
            (
                field,
                part(json!({"type": "tool_result"})),
                "messages[1].content[1].tool_use_id",
                "is missing",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn settings_of_anthropic() {
    check(
        "/v1/messages",
        &anthropic(),
        vec![
            ("model", Value::Null, "model", "is missing"),
            ("max_tokens", Value::Null, "max_tokens", "is missing"),
            ("max_tokens", json!(0), "max_tokens", "at least 1"),
            ("system", json!(1), "system", "a string"),
            ("system", json!([{"type": "image"}]), "system[0].type", "text"),
            ("tools", json!([{"type": CANARY}]), "tools[0].type", "custom"),
            ("tools", json!([{"name": "f"}]), "tools[0].input_schema", "is missing"),
            ("tool_choice", json!(CANARY), "tool_choice", "an object"),
            ("tool_choice", json!({"type": CANARY}), "tool_choice.type", "auto, any, tool, none"),
            ("tool_choice", json!({"type": "tool", "name": CANARY}), "tool_choice.name", "tools"),
            ("stop_sequences", json!(CANARY), "stop_sequences", "a list"),
            ("temperature", json!(1.1), "temperature", "0 to 1"),
            ("top_p", json!(2), "top_p", "0 to 1"),
            ("top_k", json!(-1), "top_k", "a whole number"),
            ("metadata", json!({"user_id": 1}), "metadata.user_id", "a string"),
            ("thinking", json!(CANARY), "thinking", "an object"),
            ("stream", json!(CANARY), "stream", "true or false"),
        ],
    )
    .await;
}

#[tokio::test]
async fn bodies_that_are_no_objects() {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"] {
        for body in [format!("[\"{CANARY}\"]"), format!("\"{CANARY}\""), CANARY.to_owned()] {
            let answer = world.send(world.request("POST", path, body)).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
            assert!(!answer.text().contains(CANARY), "{}", answer.text());
        }
        let large = world.send(world.request("POST", path, " ".repeat(5000))).await;
        assert_eq!(large.status, 413);
    }
    assert!(model.asked().is_empty());
}
