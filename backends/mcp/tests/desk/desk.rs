//! A small set of tools in memory, for the tests and the example.

use std::sync::Mutex;

use async_trait::async_trait;
use headwater_backends::{Content, Hints, Listed};
use headwater_backends_mcp::{Answered, Caller, Failure, Page, Progress, Served, ToolCall};
use serde_json::{Value, json};

/// Four tools, told two a page.
#[derive(Default)]
pub(crate) struct Desk {
    /// Ids of the calls that came.
    pub(crate) calls: Mutex<Vec<Option<String>>>,
    /// How many calls were given up.
    pub(crate) given_up: Mutex<u32>,
}

fn listed(name: &str, description: &str, input: Value, output: Option<Value>) -> Listed {
    Listed {
        name: name.to_owned(),
        title: None,
        description: description.to_owned(),
        input_schema: input,
        output_schema: output,
        hints: Hints { read_only: Some(name == "add"), ..Hints::default() },
        digest: format!("digest-of-{name}"),
    }
}

fn tools() -> Vec<Listed> {
    let numbers = json!({
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    });
    let sum = json!({
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
    });
    let nothing = || json!({"type": "object"});
    vec![
        listed("add", "Adds two numbers.", numbers, Some(sum)),
        listed("fail", "Fails.", nothing(), None),
        listed("pay", "Needs somebody's word.", nothing(), None),
        listed("wait", "Waits for ever.", nothing(), None),
    ]
}

struct Waiting<'a>(&'a Mutex<u32>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.0.lock().expect("not poisoned") += 1;
    }
}

#[async_trait]
impl Served for Desk {
    async fn list(&self, _: &Caller, cursor: Option<&str>) -> Result<Page, Failure> {
        let (from, next_cursor) = match cursor {
            None => (0, Some("second".to_owned())),
            Some("second") => (2, None),
            Some(_) => return Err(Failure::Cursor),
        };
        let tools = tools().into_iter().skip(from).take(2).collect();
        Ok(Page { tools, next_cursor, fresh_ms: 60_000 })
    }

    async fn call(
        &self,
        caller: &Caller,
        call: ToolCall,
        progress: &dyn Progress,
    ) -> Result<Answered, Failure> {
        self.calls.lock().expect("not poisoned").push(call.call.clone());
        let number = |name: &str| call.arguments.get(name).and_then(Value::as_i64);
        match call.name.as_str() {
            "add" => {
                progress.report(1.0, Some(2.0), Some("half")).await;
                let (Some(a), Some(b)) = (number("a"), number("b")) else {
                    let why = "`a` and `b` are whole numbers".to_owned();
                    return Err(Failure::Refused { why });
                };
                let content = Content::Json(json!({"sum": a + b}));
                Ok(Answered { content, is_error: false })
            }
            "fail" => Ok(Answered { content: Content::text("it broke"), is_error: true }),
            "pay" => match call.confirmation {
                None => Err(Failure::NeedsApproval {
                    approval: "approval-7".to_owned(),
                    question: "Pay?".to_owned(),
                }),
                Some(said) => {
                    let told = json!({"approval": said.approval, "approved": said.approved,
                        "revision": caller.revision});
                    Ok(Answered { content: Content::Json(told), is_error: false })
                }
            },
            "wait" => {
                let _waiting = Waiting(&self.given_up);
                std::future::pending().await
            }
            name => Err(Failure::UnknownTool { name: name.to_owned() }),
        }
    }
}
