//! What an answer may use at most.

use headwater_gateway::{Alias, Price, input_tokens};
use headwater_models::chat::ChatRequest;
use headwater_tenancy::Amounts;

use super::handle::GatewayHandle;

impl GatewayHandle {
    /// How many tokens an answer to it may have, and what both may cost in millionths of a US
    /// dollar, where its input has so many more tokens than it says; none for a model that is not
    /// served.
    pub fn dearest(&self, request: &ChatRequest, more: u64) -> Option<(u64, u64)> {
        let live = self.shared.live();
        let alias = live.config.alias(&request.model)?;
        let input = input_tokens(request).saturating_add(more);
        let most = estimate(alias, request, input);
        Some((most.tokens.saturating_sub(input), most.micro_usd))
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
