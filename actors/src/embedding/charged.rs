//! Bulk work within the quota of the tenant that it is done for.

use async_trait::async_trait;
use headwater_models::{ModelCard, Piece};

use super::{EmbedCall, EmbedError, Embedder, EmbeddingFleet, FleetModel, Inputs, Pool, Purpose};
use crate::tenancy::{Amounts, Refusal, Share, TenancyHandle, Unit};

/// A fleet whose bulk work is charged: reserved before every request, and settled with the tokens
/// that were read as soon as its vectors are there. A request has an entry of its own in the
/// ledger, which writes it down once however often it is reported.
///
/// A request that fails, or is dropped because its partition or lease went to another worker,
/// costs nothing: whoever computes the vectors pays for them. A worker that dies between a
/// settlement and the writing of its vectors leaves them to be computed, and paid for, again.
#[derive(Clone)]
pub struct ChargedEmbedder {
    fleet: EmbeddingFleet,
    tenancy: TenancyHandle,
}

impl ChargedEmbedder {
    pub fn new(fleet: EmbeddingFleet, tenancy: TenancyHandle) -> ChargedEmbedder {
        ChargedEmbedder { fleet, tenancy }
    }

    /// A share for as many of the first texts as the quota covers, and these texts.
    async fn reserve(
        &self,
        tenant: &str,
        model: &FleetModel,
        texts: &[String],
    ) -> Result<(Share, EmbedCall), EmbedError> {
        let mut count = texts.len();
        loop {
            let call = call(texts.get(..count).unwrap_or(texts));
            let tokens = model.token_bound(&call);
            let estimate = Amounts { requests: 1, tokens, micro_usd: 0 };
            match self.tenancy.reserve(tenant, &model.card().name, estimate).await {
                Ok(share) => return Ok((share, call)),
                Err(Refusal::UsedUp { exhausted, .. })
                    if count > 1
                        && exhausted.limit.unit == Unit::Tokens
                        && fits(model, texts, exhausted.remaining) =>
                {
                    // Fewer each time: these needed more than remains.
                    count = (count / 2).max(1);
                }
                Err(refusal) => return Err(over_quota(&refusal, tokens)),
            }
        }
    }
}

fn call(texts: &[String]) -> EmbedCall {
    let inputs = Inputs::Texts(texts.to_vec());
    EmbedCall { inputs, purpose: Purpose::Passage, truncate: true, pool: Pool::Ingest }
}

/// Whether the first text alone needs no more than these tokens.
fn fits(model: &FleetModel, texts: &[String], tokens: u64) -> bool {
    model.token_bound(&call(texts.get(..1).unwrap_or(texts))) <= tokens
}

fn over_quota(refusal: &Refusal, tokens: u64) -> EmbedError {
    let (reason, retry_after_ms) = match refusal {
        Refusal::UsedUp { exhausted, retry_after_ms, .. } => {
            let limit = &exhausted.limit;
            let reason = format!(
                "the limit of {} {} per {} leaves {}, and up to {tokens} tokens are needed at \
                 once; it goes on by itself in a later window, or ask the operator for more",
                limit.amount,
                limit.unit.name(),
                limit.window.name(),
                exhausted.remaining,
            );
            (reason, *retry_after_ms)
        }
        Refusal::Unanswered { retry_after_ms } => {
            ("the tenant's quota cannot be checked now".to_owned(), *retry_after_ms)
        }
        Refusal::Overloaded { retry_after_ms } => {
            ("too many requests of this tenant wait already".to_owned(), *retry_after_ms)
        }
    };
    EmbedError::OverQuota { reason, retry_after_ms }
}

#[async_trait]
impl Embedder for ChargedEmbedder {
    fn card(&self, model: &str) -> Option<ModelCard> {
        self.fleet.card(model)
    }

    fn version(&self, fingerprint: &str) -> Option<ModelCard> {
        self.fleet.version(fingerprint)
    }

    async fn pieces(&self, fingerprint: &str, text: String) -> Result<Vec<Piece>, EmbedError> {
        self.fleet.pieces(fingerprint, text).await
    }

    async fn embed(
        &self,
        fingerprint: &str,
        texts: Vec<String>,
        purpose: Purpose,
        pool: Pool,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.fleet.embed(fingerprint, texts, purpose, pool).await
    }

    async fn embed_bulk(
        &self,
        tenant: &str,
        fingerprint: &str,
        texts: &[String],
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let model = self.fleet.of_version(fingerprint).ok_or(EmbedError::Unloading)?;
        // It does not begin: dropped before its vectors are there, the share goes back.
        let (share, call) = self.reserve(tenant, &model, texts).await?;
        let embedded = model.embed(call).await?;
        let tokens = embedded.tokens.iter().sum::<usize>() as u64;
        share.settle(Amounts { requests: 1, tokens, micro_usd: 0 }).await;
        Ok(embedded.vectors)
    }
}
