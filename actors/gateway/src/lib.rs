//! The gateway's decisions: which target answers, when to try again and when not to, what an
//! answer has used and what it costs. Clocks and drawn numbers come in as arguments.

mod attempts;
mod breaker;
mod cache;
mod canary;
mod config;
mod estimate;
mod likeness;
mod meter;
mod price;
pub mod redaction;
mod route;
#[cfg(test)]
mod tests;
mod what_if;

pub use attempts::{Attempts, Failure, RetrySettings, Step};
pub use breaker::{Breaker, BreakerSettings};
pub use cache::{AnswerKey, CacheWish};
pub use canary::{CanaryWatch, Party};
pub use config::{Alias, Choice, GatewayConfig, GatewayProblem, GatewaySettings, Semantic, Target};
pub use estimate::input_tokens;
pub use likeness::Likeness;
pub use meter::{Meter, Used};
pub use price::Price;
pub use route::{Standing, order, prefix_key};
pub use what_if::{Portion, what_if};
