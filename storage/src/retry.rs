//! The retry loop: runs a transaction until it is known to have happened once.
//!
//! A commit whose result is unknown may have happened, and may happen yet. So every write
//! carries an [`OperationId`]: the loop reads that id's row and writes it in the same
//! transaction. If an earlier try did commit, the next one finds the row; if it commits
//! late, both touched the row and only one of them can win.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::tuple::{self, Element};
use crate::{Environment, KeyRange, ReadMode, Store, StoreError, Transaction, codec};

#[cfg(test)]
mod tests;

/// What the body of a transaction returns.
pub type BodyFuture<'t, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>;

const OPERATION_RECORD: u8 = 1;

/// How long to keep trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most tries, the first one counted.
    pub tries: u32,
    /// Longest pause after the first failure; it doubles with each further one.
    pub first_pause_ms: u64,
    /// Longest pause at all.
    pub longest_pause_ms: u64,
    /// No try begins later than this after the first.
    pub total_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { tries: 20, first_pause_ms: 5, longest_pause_ms: 1_000, total_ms: 15_000 }
    }
}

impl RetryPolicy {
    /// The pause after so many failed tries: a draw from the upper half of the bound, so
    /// that those who collided spread out but nobody spins.
    fn pause_ms(&self, failed: u32, draw: u64) -> u64 {
        let doubled = self.first_pause_ms.saturating_mul(1 << (failed - 1).min(20));
        let bound = doubled.clamp(1, self.longest_pause_ms.max(1));
        bound - draw % (bound / 2 + 1)
    }
}

/// Names one write for ever: two writes with the same id happen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId {
    /// Hours since 1970, so that old rows can be dropped together.
    pub created_hour: u32,
    pub nonce: u128,
}

impl OperationId {
    /// A new id, unique by its 128 drawn bits.
    pub fn draw(created_hour: u32, environment: &Environment) -> Self {
        let nonce = u128::from(environment.draw()) << 64 | u128::from(environment.draw());
        OperationId { created_hour, nonce }
    }

    fn key(&self) -> Vec<u8> {
        let nonce = Element::Bytes(self.nonce.to_be_bytes().to_vec());
        tuple::pack(&[OPERATIONS.into(), self.created_hour.into(), nonce])
    }
}

const OPERATIONS: &str = "operation";

/// A write that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied<T> {
    /// By this call; what the body returned.
    Now(T),
    /// By an earlier call with the same id; nothing was written again.
    Earlier,
}

/// A store with patience; cheap to clone.
#[derive(Clone)]
pub struct Retry {
    store: Arc<dyn Store>,
    environment: Environment,
    policy: RetryPolicy,
}

/// The tries of one call.
struct Tries<'a> {
    retry: &'a Retry,
    began_ms: u64,
    failed: u32,
}

impl Tries<'_> {
    /// Waits for the next try, or gives the last error back.
    async fn after(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.failed += 1;
        let Retry { environment, policy, .. } = self.retry;
        let pause_ms = policy.pause_ms(self.failed, environment.draw());
        let spent_ms = environment.now_ms().saturating_sub(self.began_ms);
        if self.failed >= policy.tries || spent_ms + pause_ms > policy.total_ms {
            return Err(error);
        }
        environment.pause(pause_ms).await;
        Ok(())
    }
}

impl Retry {
    pub fn new(store: Arc<dyn Store>, environment: Environment, policy: RetryPolicy) -> Self {
        Retry { store, environment, policy }
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    fn tries(&self) -> Tries<'_> {
        Tries { retry: self, began_ms: self.environment.now_ms(), failed: 0 }
    }

    /// Runs a transaction that only reads.
    ///
    /// # Errors
    /// The last retryable error when the policy's patience is at its end; any other at once.
    pub async fn read<T: Send>(
        &self,
        mut body: impl for<'t> FnMut(&'t mut dyn Transaction) -> BodyFuture<'t, T> + Send,
    ) -> Result<T, StoreError> {
        let mut tries = self.tries();
        loop {
            let outcome = match self.store.begin().await {
                Ok(mut transaction) => body(transaction.as_mut()).await,
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if error.is_retryable() => tries.after(error).await?,
                done => return done,
            }
        }
    }

    /// Runs a transaction that writes, so that it happens once whatever goes wrong.
    ///
    /// # Errors
    /// [`StoreError::CommitUnknown`] when patience ended and a try may have committed: call
    /// again with the same id to learn. Else the last retryable error, which says that
    /// nothing was written; any other at once.
    pub async fn write<T: Send>(
        &self,
        id: OperationId,
        mut body: impl for<'t> FnMut(&'t mut dyn Transaction) -> BodyFuture<'t, T> + Send,
    ) -> Result<Applied<T>, StoreError> {
        let call = self.environment.draw();
        let mut tries = self.tries();
        // Results of tries that may have committed.
        let mut unknown: Vec<(u32, T)> = Vec::new();
        loop {
            let number = tries.failed;
            let error = match self.attempt(id, call, number, &mut body).await {
                Ok(Attempt::Committed(result)) => return Ok(Applied::Now(result)),
                Ok(Attempt::Found { call: by, number }) => {
                    let ours = unknown.into_iter().find(|(try_number, _)| *try_number == number);
                    return Ok(match ours {
                        Some((_, result)) if by == call => Applied::Now(result),
                        _ => Applied::Earlier,
                    });
                }
                Ok(Attempt::Unknown(result)) => {
                    unknown.push((number, result));
                    StoreError::CommitUnknown
                }
                Err(error) => error,
            };
            if !error.is_retryable() && error != StoreError::CommitUnknown {
                return Err(if unknown.is_empty() { error } else { StoreError::CommitUnknown });
            }
            let last = if unknown.is_empty() { error } else { StoreError::CommitUnknown };
            tries.after(last).await?;
        }
    }

    /// Runs a transaction that writes and may as well happen twice: its body looks at what it
    /// wrote before, and comes to the same state. It needs no row for the operation.
    ///
    /// # Errors
    /// [`StoreError::CommitUnknown`] when patience ended and a try may have committed. Else the
    /// last retryable error, which says that nothing was written; any other at once.
    pub async fn write_idempotent<T: Send>(
        &self,
        mut body: impl for<'t> FnMut(&'t mut dyn Transaction) -> BodyFuture<'t, T> + Send,
    ) -> Result<T, StoreError> {
        let mut tries = self.tries();
        let mut unknown = false;
        loop {
            let error = match self.attempt_once(&mut body).await {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            unknown |= error == StoreError::CommitUnknown;
            let last = if unknown { StoreError::CommitUnknown } else { error.clone() };
            if !error.is_retryable() && error != StoreError::CommitUnknown {
                return Err(last);
            }
            tries.after(last).await?;
        }
    }

    async fn attempt_once<T: Send>(
        &self,
        body: &mut (impl for<'t> FnMut(&'t mut dyn Transaction) -> BodyFuture<'t, T> + Send),
    ) -> Result<T, StoreError> {
        let mut transaction = self.store.begin().await?;
        let result = body(transaction.as_mut()).await?;
        transaction.commit().await?;
        Ok(result)
    }

    async fn attempt<T: Send>(
        &self,
        id: OperationId,
        call: u64,
        number: u32,
        body: &mut (impl for<'t> FnMut(&'t mut dyn Transaction) -> BodyFuture<'t, T> + Send),
    ) -> Result<Attempt<T>, StoreError> {
        let mut transaction = self.store.begin().await?;
        let key = id.key();
        if let Some(row) = transaction.get(&key, ReadMode::Serializable).await? {
            let (call, number) = codec::decode(OPERATION_RECORD, &row)?;
            return Ok(Attempt::Found { call, number });
        }
        let result = body(transaction.as_mut()).await?;
        transaction.set(&key, &codec::encode(OPERATION_RECORD, &(call, number))?)?;
        match transaction.commit().await {
            Ok(_) => Ok(Attempt::Committed(result)),
            Err(StoreError::CommitUnknown) => Ok(Attempt::Unknown(result)),
            Err(error) => Err(error),
        }
    }

    /// Drops the rows of operations that were created before this hour. Their ids must not
    /// be used again.
    ///
    /// # Errors
    /// As [`Retry::read`]; clearing twice does no harm.
    pub async fn forget_before(&self, hour: u32) -> Result<(), StoreError> {
        let begin = tuple::below(&[OPERATIONS.into()]).begin;
        let range = KeyRange { begin, end: tuple::pack(&[OPERATIONS.into(), hour.into()]) };
        let mut tries = self.tries();
        loop {
            let outcome = async {
                let mut transaction = self.store.begin().await?;
                transaction.clear_range(&range)?;
                transaction.commit().await.map(|_| ())
            };
            match outcome.await {
                Err(error) if error.is_retryable() || error == StoreError::CommitUnknown => {
                    tries.after(error).await?;
                }
                done => return done,
            }
        }
    }
}

enum Attempt<T> {
    Committed(T),
    Unknown(T),
    /// The id's row was there, written by this try of that call.
    Found {
        call: u64,
        number: u32,
    },
}
