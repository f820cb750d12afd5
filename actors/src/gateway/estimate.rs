//! What an answer may use at most.

use headwater_gateway::{Alias, Price, input_tokens};
use headwater_models::chat::ChatRequest;
use headwater_tenancy::Amounts;

use super::handle::GatewayHandle;

impl GatewayHandle {
    /// What an answer to it may cost at most, in millionths of a US dollar; none for a model that
    /// is not served.
    pub fn dearest(&self, request: &ChatRequest) -> Option<u64> {
        let live = self.shared.live();
        let alias = live.config.alias(&request.model)?;
        Some(estimate(alias, request, input_tokens(request)).micro_usd)
    }
}

/// What a request may use at most, at the dearest target.
pub(super) fn estimate(alias: &Alias, request: &ChatRequest, input: u64) -> Amounts {
    let each = request.max_tokens.unwrap_or(alias.output_tokens);
    let output = each.saturating_mul(u64::from(request.choices));
    let bound = |price: &Price| price.bound(input, output);
    let micro_usd = alias.all().map(|target| bound(&target.price)).max().unwrap_or(0);
    Amounts { requests: 1, tokens: input.saturating_add(output), micro_usd }
}
