//! Questions to the person in front of a client: only the revision of 2026-07-28 can carry them
//! without a session.

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitationSchema, InputRequest,
    InputRequests, InputRequiredResult, ProtocolVersion,
};
use rmcp::service::RequestContext;
use serde_json::Value;

use super::served::Confirmation;

/// The question's name among the inputs that are asked for.
const INPUT: &str = "approval";
/// The field of the answer.
const FIELD: &str = "approve";

pub(super) fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    let current = context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
    let elicitation = context.client_capabilities().and_then(|can| can.elicitation);
    current && elicitation.is_some_and(|can| can.form.is_some() || can.url.is_none())
}

/// The question; the approval's id comes back with its answer.
pub(super) fn ask(approval: String, question: String) -> InputRequiredResult {
    let requested_schema = ElicitationSchema::builder().required_bool(FIELD).build_unchecked();
    let params = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question,
        requested_schema,
    };
    let asked = InputRequest::Elicitation(ElicitRequest::new(params));
    let requests = InputRequests::from([(INPUT.to_owned(), asked)]);
    InputRequiredResult::new(Some(requests), Some(approval))
}

/// The answer to an earlier question, where the call brings one.
pub(super) fn answered(params: &CallToolRequestParams) -> Option<Confirmation> {
    let answer = params.input_responses.as_ref()?.get(INPUT)?;
    let approval = params.request_state.clone()?;
    let accepted = answer.get("action").and_then(Value::as_str) == Some("accept");
    let approved = accepted && answer.pointer("/content/approve") == Some(&Value::Bool(true));
    Some(Confirmation { approval, approved })
}
