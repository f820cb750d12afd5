//! The audit record of a request to an encoder: who asked which model, and what that took. The
//! texts are not kept.

use axum::http::StatusCode;
use headwater_actors::embedding::Embedded;
use headwater_actors::gateway::{AuditOutcome, AuditRecord, OpenRecord};
use uuid::Uuid;

use super::Asked;
use crate::error::ApiError;
use crate::identity::Grant;
use crate::router::Edge;

/// Who answered: an encoder of this cluster.
const BACKEND: &str = "encoders";

/// A request begins; none on a node that keeps no records of encoders.
pub(crate) fn begin(
    edge: &Edge,
    grant: &Grant,
    asked: Asked<'_>,
    served: &str,
) -> Option<OpenRecord> {
    let audit = edge.audit.as_ref().filter(|_| edge.settings.audits_encoders)?;
    let id = Uuid::now_v7().to_string();
    Some(audit.begin(AuditRecord {
        project: grant.project.clone(),
        user: grant.user.clone(),
        key_id: grant.key_id.clone(),
        route: asked.route.to_owned(),
        protocol: "embedding".to_owned(),
        model_asked: asked.model.to_owned(),
        trace_parent: asked.trace_parent,
        model_served: served.to_owned(),
        ..AuditRecord::new(id, &grant.tenant, AuditOutcome::Left)
    }))
}

/// It was answered, by an encoder if one was needed, or refused.
pub(crate) fn end(mut record: OpenRecord, answer: Result<Option<&Embedded>, &ApiError>) {
    let took_ms = record.took_ms();
    match answer {
        Ok(embedded) => {
            record.tell(|record| {
                record.ttft_ms = Some(took_ms);
                if let Some(embedded) = embedded {
                    record.backend = BACKEND.to_owned();
                    record.tokens_in = embedded.tokens.iter().sum::<usize>() as u64;
                    record.cache_hit = embedded.cached == embedded.tokens.len();
                }
            });
            record.end(AuditOutcome::Whole);
        }
        Err(error) => {
            record.tell(|record| record.model_served.clear());
            record.end(outcome_of(error.status));
        }
    }
}

fn outcome_of(status: StatusCode) -> AuditOutcome {
    match status {
        StatusCode::TOO_MANY_REQUESTS => AuditOutcome::OverQuota,
        StatusCode::GATEWAY_TIMEOUT => AuditOutcome::TimedOut,
        status if status.is_client_error() => AuditOutcome::Refused,
        _ => AuditOutcome::Unavailable,
    }
}
