//! Errors as clients see them: OpenAI's shape, TEI's on TEI's routes, Anthropic's on its own.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headwater_actors::embedding::{ChangeError, EmbedError, InputProblem};
use headwater_actors::tenancy::{Amounts, Exhausted, Refusal, Standing, Subject, TenancyError};
use serde_json::{Value, json};

use crate::standing::{name_standing, of_exhausted};

/// The error shape of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `{"error": {"message", "type", "param", "code"}}`
    OpenAi,
    /// `{"error": "message", "error_type": "type"}`
    Tei,
    /// `{"type": "error", "error": {"type", "message"}, "request_id"}`
    Anthropic,
}

/// The body of an error in Anthropic's shape, for whoever knows the request's id to complete.
#[derive(Clone)]
struct Unnamed(Value);

/// Puts the request's id into an error in Anthropic's shape; leaves all other answers alone.
pub(crate) fn name_request(response: &mut Response, request_id: &HeaderValue) {
    let Some(Unnamed(mut body)) = response.extensions_mut().remove::<Unnamed>() else { return };
    body["request_id"] = Value::from(request_id.to_str().unwrap_or("-"));
    let named = body.to_string();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(named);
}

/// One refusal, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// OpenAI's `type`.
    kind: &'static str,
    /// OpenAI's `code`, stable for programs.
    code: Cow<'static, str>,
    /// The field at fault.
    param: Option<String>,
    message: String,
    retry_after_s: Option<u64>,
    /// The limit that is in the way.
    standing: Option<Standing>,
}

pub(crate) const INVALID: &str = "invalid_request_error";
pub(crate) const UNAVAILABLE: &str = "service_unavailable";

/// An answer of a route that speaks OpenAI's shapes.
pub(crate) fn respond(answer: Result<Response, ApiError>) -> Response {
    answer.unwrap_or_else(|error| error.respond(Shape::OpenAi))
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        code: impl Into<Cow<'static, str>>,
        message: String,
    ) -> Self {
        let (code, param, retry_after_s, standing) = (code.into(), None, None, None);
        ApiError { status, kind, code, param, message, retry_after_s, standing }
    }

    pub(crate) fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn retry(mut self, after_ms: u64) -> Self {
        self.retry_after_s = Some(after_ms.div_ceil(1000).max(1));
        self
    }

    fn standing(mut self, exhausted: &Exhausted) -> Self {
        self.standing = Some(of_exhausted(exhausted));
        self
    }

    pub(crate) fn invalid(param: &str, code: &'static str, message: String) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, INVALID, code, message).at(param)
    }

    pub(crate) fn bad_body(message: String) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, INVALID, "invalid_body", message)
    }

    pub(crate) fn body_too_large(allowed_bytes: usize) -> Self {
        let message =
            format!("the request body is larger than {allowed_bytes} bytes; send less at once");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID, "body_too_large", message)
    }

    pub(crate) fn unknown_encoding(encoding: &str) -> Self {
        let message = format!("content-encoding is '{encoding}'; allowed are gzip and identity");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        ApiError::new(status, INVALID, "unsupported_encoding", message)
    }

    pub(crate) fn body_too_slow(timeout_ms: u64) -> Self {
        let message =
            format!("the request body did not arrive within {timeout_ms} ms; send it again");
        ApiError::new(StatusCode::REQUEST_TIMEOUT, INVALID, "body_timeout", message)
    }

    pub(crate) fn wrong_method(allowed: &str) -> Self {
        let message = format!("this route takes {allowed} only");
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, INVALID, "method_not_allowed", message)
    }

    pub(crate) fn unknown_route(path: &str) -> Self {
        let message = format!("there is no route {path}; see the README for the list of routes");
        ApiError::new(StatusCode::NOT_FOUND, INVALID, "unknown_route", message)
    }

    pub(crate) fn unreadable_path() -> Self {
        let message = "the model's name in the path is not percent-encoded UTF-8".to_owned();
        ApiError::new(StatusCode::BAD_REQUEST, INVALID, "invalid_path", message).at("model")
    }

    pub(crate) fn no_token() -> Self {
        let message = "no token was sent; send `Authorization: Bearer <token>` or `x-api-key: \
                       <token>`, made by `headwater token --tenant <name>`";
        let status = StatusCode::UNAUTHORIZED;
        ApiError::new(status, INVALID, "missing_api_key", message.to_owned())
    }

    pub(crate) fn bad_token(why: &str) -> Self {
        let message = format!("the token is not valid: {why}; ask the operator for a new one");
        ApiError::new(StatusCode::UNAUTHORIZED, INVALID, "invalid_api_key", message)
    }

    pub(crate) fn model_not_allowed(model: &str) -> Self {
        let message = format!("the token does not allow the model '{model}'");
        ApiError::new(StatusCode::FORBIDDEN, INVALID, "model_not_allowed", message).at("model")
    }

    pub(crate) fn unknown_model(model: &str, known: &[&str]) -> Self {
        let known = known.join(", ");
        let message = format!("the model '{model}' is not served here; served are: {known}");
        ApiError::new(StatusCode::NOT_FOUND, INVALID, "model_not_found", message).at("model")
    }

    /// A model that serves nobody yet.
    pub(crate) fn model_loading(message: &str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        ApiError::new(status, UNAVAILABLE, "model_loading", message.to_owned())
            .at("model")
            .retry(1000)
    }

    /// A model that serves nobody any more.
    pub(crate) fn model_unloading(message: &str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        ApiError::new(status, UNAVAILABLE, "model_unloading", message.to_owned()).at("model")
    }

    /// Why models or aliases cannot be changed as asked.
    pub(crate) fn from_change(error: ChangeError, param: &str) -> Self {
        let message = error.to_string();
        let (status, kind, code) = match error {
            ChangeError::Alias(_) => (StatusCode::BAD_REQUEST, INVALID, "invalid_targets"),
            ChangeError::UnknownModel(_) => (StatusCode::NOT_FOUND, INVALID, "model_not_found"),
            ChangeError::UnknownAlias(_) => (StatusCode::NOT_FOUND, INVALID, "alias_not_found"),
            ChangeError::NameTaken(_) => (StatusCode::CONFLICT, INVALID, "name_taken"),
            ChangeError::NotServing { .. } => (StatusCode::CONFLICT, INVALID, "not_serving"),
            ChangeError::IsTarget { .. } => (StatusCode::CONFLICT, INVALID, "is_target"),
            ChangeError::NeverWarm { .. } | ChangeError::NotOpened(..) => {
                (StatusCode::BAD_GATEWAY, UNAVAILABLE, "model_not_loaded")
            }
            ChangeError::Stopped => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "stopped"),
        };
        ApiError::new(status, kind, code, message).at(param)
    }

    pub(crate) fn draining() -> Self {
        let message = "this node is shutting down; try again on another one".to_owned();
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "draining", message).retry(1000)
    }

    pub(crate) fn not_ready() -> Self {
        let message = "the models are still being loaded; try again shortly".to_owned();
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "not_ready", message)
            .retry(1000)
    }

    pub(crate) fn operators_only() -> Self {
        let message = "this needs an operator's token; make one with `headwater token --tenant \
                       <name> --tier operator`";
        let status = StatusCode::FORBIDDEN;
        ApiError::new(status, INVALID, "operators_only", message.to_owned())
    }

    /// Why a tenant's request is not admitted. Only a limit that is used up is the tenant's own
    /// doing.
    pub(crate) fn from_refusal(refusal: Refusal, estimate: Amounts) -> Self {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match refusal {
            Refusal::UsedUp { tenant, exhausted, .. }
                if estimate.get(exhausted.limit.unit) > exhausted.limit.amount =>
            {
                let limit = &exhausted.limit;
                let message = format!(
                    "this request may use up to {} {}, and the limit is {} per {} for {}; split it \
                     or ask the operator for more",
                    estimate.get(limit.unit),
                    limit.unit.name(),
                    limit.amount,
                    limit.window.name(),
                    Subject::named(&tenant),
                );
                let status = StatusCode::TOO_MANY_REQUESTS;
                ApiError::new(status, "rate_limit_error", "request_above_quota", message)
                    .standing(&exhausted)
            }
            Refusal::UsedUp { tenant, exhausted, retry_after_ms } => {
                let limit = &exhausted.limit;
                let of = limit.model.as_deref().map_or(String::new(), |of| format!(" of '{of}'"));
                let message = format!(
                    "the limit of {} {} per {}{of} for {} leaves {}, too little for this request; \
                     try again in {} s or ask the operator for more",
                    limit.amount,
                    limit.unit.name(),
                    limit.window.name(),
                    Subject::named(&tenant),
                    exhausted.remaining,
                    retry_after_ms.div_ceil(1000),
                );
                let status = StatusCode::TOO_MANY_REQUESTS;
                ApiError::new(status, "rate_limit_error", "quota_exceeded", message)
                    .retry(retry_after_ms)
                    .standing(&exhausted)
            }
            Refusal::Unanswered { retry_after_ms } => {
                let message = "the tenant's quota cannot be checked now; try again later";
                ApiError::new(unavailable, UNAVAILABLE, "quota_unavailable", message.to_owned())
                    .retry(retry_after_ms)
            }
            Refusal::Overloaded { retry_after_ms } => {
                let message = "too many requests of this tenant wait already; try again later";
                ApiError::new(unavailable, UNAVAILABLE, "overloaded", message.to_owned())
                    .retry(retry_after_ms)
            }
        }
    }

    pub(crate) fn from_tenancy(error: &TenancyError) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        ApiError::new(status, UNAVAILABLE, "quota_unavailable", error.to_string()).retry(1000)
    }

    pub(crate) fn store_down() -> Self {
        let message = "the store does not answer; try again later".to_owned();
        let status = StatusCode::SERVICE_UNAVAILABLE;
        ApiError::new(status, UNAVAILABLE, "store_unavailable", message).retry(1000)
    }

    /// The handle's error, with `param` as the name of the field that holds the texts.
    pub(crate) fn from_embed(error: EmbedError, param: &str) -> Self {
        let message = error.to_string();
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            EmbedError::Input(problem) => ApiError::from_input(problem, param),
            EmbedError::Unreadable { index, error } => {
                let place = format!("{param}[{index}]");
                ApiError::invalid(&place, "unreadable_input", format!("{place}: {error}"))
            }
            EmbedError::Overloaded { retry_after_ms } => {
                ApiError::new(unavailable, UNAVAILABLE, "overloaded", message).retry(retry_after_ms)
            }
            EmbedError::Unavailable => {
                ApiError::new(unavailable, UNAVAILABLE, "replica_lost", message).retry(1000)
            }
            EmbedError::Unloading => ApiError::model_unloading(&message),
            EmbedError::TimedOut { .. } => {
                let status = StatusCode::GATEWAY_TIMEOUT;
                ApiError::new(status, UNAVAILABLE, "timeout", message).retry(1000)
            }
            EmbedError::Refused(_) => ApiError::invalid(param, "refused_input", message),
            EmbedError::OverQuota { retry_after_ms, .. } => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                ApiError::new(status, "rate_limit_error", "quota_exceeded", message)
                    .retry(retry_after_ms)
            }
        }
    }

    fn from_input(problem: InputProblem, param: &str) -> Self {
        match problem {
            InputProblem::NoTexts => {
                let message = format!("{param} is empty; send at least one text");
                ApiError::invalid(param, "empty_input", message)
            }
            InputProblem::TooManyTexts { given, allowed } => {
                let message = format!(
                    "{param} holds {given} texts; at most {allowed} are allowed in one request"
                );
                ApiError::invalid(param, "too_many_inputs", message)
            }
            InputProblem::TooLong { index, given_tokens, allowed_tokens } => {
                let message = format!(
                    "{param}[{index}] has {given_tokens} tokens; the model reads at most \
                     {allowed_tokens}; shorten it or send \"truncate\": true"
                );
                ApiError::invalid(&format!("{param}[{index}]"), "input_too_long", message)
            }
            InputProblem::TooManyTokens { given, allowed } => {
                let message = format!(
                    "{param} has {given} tokens in all; at most {allowed} are allowed in one \
                     request; split it"
                );
                ApiError::invalid(param, "too_many_tokens", message)
            }
            InputProblem::NoTokens { index } => {
                let message = format!("{param}[{index}] holds no tokens; send at least one");
                ApiError::invalid(&format!("{param}[{index}]"), "empty_input", message)
            }
        }
    }

    /// TEI's `error_type` for the same refusal.
    fn tei_type(&self) -> &'static str {
        match self.code.as_ref() {
            "empty_input" => "Empty",
            "unreadable_input" => "Tokenizer",
            "overloaded" | "draining" => "Overloaded",
            "replica_lost" | "timeout" | "refused_input" => "Backend",
            "not_ready" | "model_loading" | "model_unloading" => "Unhealthy",
            _ => "Validation",
        }
    }

    /// Anthropic's status and `type` for the same refusal. Its clients know 529 as the one for a
    /// model that has no room now.
    fn anthropic_form(&self) -> (StatusCode, &'static str) {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => INVALID,
            503 if matches!(self.code.as_ref(), "overloaded" | "backend_unavailable") => {
                let overloaded = StatusCode::from_u16(529).unwrap_or(self.status);
                return (overloaded, "overloaded_error");
            }
            504 => "timeout_error",
            _ => "api_error",
        };
        (self.status, kind)
    }

    /// What clients of the shape read.
    pub(crate) fn body(&self, shape: Shape) -> Value {
        match shape {
            Shape::OpenAi => json!({"error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }}),
            Shape::Tei => json!({"error": self.message, "error_type": self.tei_type()}),
            Shape::Anthropic => {
                let (_, kind) = self.anthropic_form();
                json!({"type": "error", "error": {"type": kind, "message": self.message}})
            }
        }
    }

    pub(crate) fn respond(self, shape: Shape) -> Response {
        let body = self.body(shape);
        let mut response = match shape {
            Shape::OpenAi | Shape::Tei => (self.status, axum::Json(body)).into_response(),
            Shape::Anthropic => {
                let (status, _) = self.anthropic_form();
                let mut response = (status, axum::Json(body.clone())).into_response();
                response.extensions_mut().insert(Unnamed(body));
                response
            }
        };
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        name_standing(response.headers_mut(), self.standing.as_slice());
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
