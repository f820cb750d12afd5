//! An in-memory source with faults, for tests and simulation.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::{SecretError, SecretName, SecretSource, SecretValue};

/// Makes a future that ends when a slow answer comes; the caller's clock is in it.
pub type Wait = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What is wrong with the source.
#[derive(Clone)]
pub enum Fault {
    /// Nobody answers.
    Unavailable { retry_after_ms: u64 },
    /// The source gives this node nothing.
    Denied,
    /// Each answer comes when its own wait has ended, and is what the source holds then.
    Slow(Wait),
}

/// Values in memory; nothing leaves them but through [`SecretSource`].
#[derive(Default)]
pub struct MemorySource {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    values: BTreeMap<(String, SecretName), SecretValue>,
    fault: Option<Fault>,
    asks: u64,
}

impl MemorySource {
    pub fn new() -> MemorySource {
        MemorySource::default()
    }

    /// Stores a value, in place of the one before.
    pub fn put(&self, team: &str, name: SecretName, value: &str) {
        let value = SecretValue::new(value.to_owned());
        self.state().values.insert((team.to_owned(), name), value);
    }

    pub fn remove(&self, team: &str, name: &SecretName) {
        self.state().values.remove(&(team.to_owned(), name.clone()));
    }

    /// From now on; `None` heals.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// How often it was asked so far.
    pub fn asks(&self) -> u64 {
        self.state().asks
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SecretSource for MemorySource {
    async fn get(&self, team: &str, name: &SecretName) -> Result<SecretValue, SecretError> {
        let fault = {
            let mut state = self.state();
            state.asks += 1;
            state.fault.clone()
        };
        match fault {
            None => {}
            Some(Fault::Unavailable { retry_after_ms }) => {
                return Err(SecretError::Unavailable { retry_after_ms });
            }
            Some(Fault::Denied) => return Err(SecretError::denied(team, name)),
            Some(Fault::Slow(wait)) => wait().await,
        }
        let value = self.state().values.get(&(team.to_owned(), name.clone())).cloned();
        value.ok_or_else(|| SecretError::unknown(team, name))
    }
}
