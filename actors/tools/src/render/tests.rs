//! Tools in the words of others, and which schemas are strict.

use serde_json::{Value, json};

use crate::{
    Date, Definition, Tool, ToolVersion, anthropic_tool, mcp_tool, openai_chat_tool,
    openai_responses_tool, tool_called,
};

fn tool(fields: Value) -> Tool {
    let mut json = json!({
        "name": "web-search", "description": "Searches the web.", "owner": "search",
        "kind": "read_only", "input": closed(json!({"query": {"type": "string"}})),
        "backend": {"http": {"url": "https://api.example.com/search"}},
    });
    json.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Tool::new(Definition::read(&json).unwrap(), ToolVersion::new(2).unwrap(), 0)
}

/// An object that takes all of the properties and nothing else.
fn closed(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
    json!({"type": "object", "required": required, "properties": properties,
           "additionalProperties": false})
}

#[test]
fn each_interface_has_its_form() {
    let tool = tool(json!({"output": {"type": "object"}}));
    let input = closed(json!({"query": {"type": "string"}}));
    let (name, description) = ("web-search_v2", "Searches the web.");
    let function = json!({"name": name, "description": description, "parameters": input,
                          "strict": true});
    assert_eq!(openai_chat_tool(&tool), json!({"type": "function", "function": function}));
    assert_eq!(
        openai_responses_tool(&tool),
        json!({"type": "function", "name": name, "description": description, "parameters": input,
               "strict": true})
    );
    assert_eq!(
        anthropic_tool(&tool),
        json!({"name": name, "description": description, "input_schema": input})
    );
    let meta = json!({"headwater/tool": "web-search", "headwater/version": 2,
                      "headwater/hash": tool.hash.as_str()});
    assert_eq!(
        mcp_tool(&tool, 0),
        json!({"name": name, "description": description, "inputSchema": input,
               "outputSchema": {"type": "object"}, "_meta": meta,
               "annotations": {"readOnlyHint": true, "destructiveHint": false,
                               "idempotentHint": true, "openWorldHint": true}})
    );
    let called = tool_called(name).unwrap();
    assert_eq!((called.name.as_str(), called.version), ("web-search", Some(tool.version)));
}

#[test]
fn hints_of_mcp_tell_what_a_tool_does() {
    let code = json!({"code": {"image": "python", "source": "1"}});
    let egress = json!([{"host": "x.example"}]);
    let rows = [
        (json!({"kind": "stateful"}), [false, true, false, true]),
        (json!({"kind": "stateful", "idempotent": true}), [false, true, true, true]),
        (json!({"kind": "code", "backend": code}), [false, false, false, false]),
        (json!({"kind": "code", "backend": code, "egress": egress}), [false, false, false, true]),
        (json!({"backend": {"builtin": "sql_read", "database": "X"}}), [true, false, true, false]),
        (json!({"backend": {"builtin": "http_fetch"}}), [true, false, true, true]),
        (json!({"backend": {"mcp": {"server": "a", "tool": "b"}}}), [true, false, true, true]),
    ];
    for (fields, expected) in rows {
        let rendered = mcp_tool(&tool(fields.clone()), 0);
        let hints = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];
        let hints = hints.map(|hint| rendered["annotations"][hint].as_bool().unwrap());
        assert_eq!(hints, expected, "{fields}");
    }
    // What the protocol has no room for is left out; what goes away is told.
    let ends = json!({"since": "2027-03-01", "ends": "2027-03-31"});
    let tool = tool(json!({"output": {"type": "array"}, "deprecation": ends}));
    let now_ms = "2027-03-30".parse::<Date>().unwrap().begins_seconds() * 1_000;
    let rendered = mcp_tool(&tool, now_ms);
    assert!(rendered.get("outputSchema").is_none());
    assert_eq!(
        rendered["_meta"]["headwater/deprecation"],
        "tool web-search@2 is deprecated and ends in 1 day, on 2027-03-31; ask its owner what to \
         use instead"
    );
    assert!(mcp_tool(&tool, 0)["_meta"].get("headwater/deprecation").is_none());
}

#[test]
fn strict_is_said_where_the_schema_allows_it() {
    let a = |rule: Value| closed(json!({"a": rule}));
    let nested = |levels: usize| {
        (0..levels).fold(json!({"type": "string"}), |below, _| closed(json!({"a": below})))
    };
    let values: Vec<u32> = (0..1_001).collect();
    let rows = [
        (closed(json!({})), true),
        (a(json!({"type": ["string", "null"], "description": "x", "pattern": "^a"})), true),
        (a(json!({"type": "array", "items": closed(json!({"b": {"type": "integer"}}))})), true),
        (a(json!({"anyOf": [{"type": "string"}, closed(json!({}))]})), true),
        (a(json!({"enum": ["x", "y"]})), true),
        (a(json!({"type": "string", "format": "date"})), true),
        (nested(9), true),
        (nested(11), false),
        (json!({"type": "object"}), false),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false}),
            false,
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
            false,
        ),
        (a(json!({"type": "object"})), false),
        (a(json!({"type": "array", "items": {"type": "object"}})), false),
        (a(json!({"properties": {"b": {"type": "string"}}})), false),
        (a(json!({})), false),
        (a(json!(true)), false),
        (a(json!({"type": "string", "format": "uri"})), false),
        (a(json!({"type": "string", "maxLength": 3})), false),
        (a(json!({"allOf": [{"type": "string"}]})), false),
        (a(json!({"type": "string", "x-secret": true})), false),
        (a(json!({"enum": values})), false),
    ];
    for (input, is_strict) in rows {
        let rendered = openai_chat_tool(&tool(json!({"input": input})));
        assert_eq!(rendered["function"]["strict"], is_strict, "{input}");
    }
    let mut forms = closed(json!({}));
    forms["anyOf"] = json!([closed(json!({}))]);
    assert_eq!(openai_responses_tool(&tool(json!({"input": forms})))["strict"], false);
}
