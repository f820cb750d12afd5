//! What operators do to keys: make, look, rotate, revoke. Each is one transaction that also tells
//! every node.

use std::sync::Arc;

use headwater_storage::retry::{Applied, OperationId};
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};

use super::directory::IdentityHandle;
use super::keys::{
    log_before, log_key, record_key, records_after, revision_key, token_key, tokens_ended,
};
use super::nouns::{IdentityError, Key, KeyPage, NewKey, RevokedToken};
use super::records::{
    KeyRecord, LogRow, decode_key, decode_revision, encode_key, encode_log, encode_revision,
    encode_token,
};
use super::secret::{Fingerprint, Secret, id_of, is_id};

const HOUR_MS: u64 = 60 * 60 * 1000;
/// Changes that the log keeps; a node that missed more reads everything.
const LOG_ROWS: u64 = 10_000;
/// Longest time for which a rotated key's old secret stays good, in ms: thirty days.
const GRACE_MS_MAX: u64 = 30 * 24 * HOUR_MS;

type Outcome<T> = Result<T, IdentityError>;

/// Counts a change and says what it was about, so that every node reads it.
async fn note(transaction: &mut dyn Transaction, row: &LogRow) -> Result<(), StoreError> {
    let newest = transaction.get(&revision_key(), ReadMode::Serializable).await?;
    let next = decode_revision(newest.as_deref())?.saturating_add(1);
    transaction.set(&revision_key(), &encode_revision(next)?)?;
    transaction.set(&log_key(next), &encode_log(row)?)?;
    transaction.clear_range(&log_before(next.saturating_sub(LOG_ROWS)))
}

impl IdentityHandle {
    /// Makes a key. Its secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`IdentityError`]; after [`IdentityError::Unknown`] there may be a key that nobody has.
    pub async fn create(&self, new: NewKey) -> Outcome<(Key, Secret)> {
        let runtime = &self.shared.runtime;
        let created_ms = runtime.wall_ms();
        new.check(created_ms)?;
        let bits = (self.shared.secret_bits)().ok_or(IdentityError::NoRandomBits)?;
        let id = id_of(runtime.draw());
        let NewKey { holder, note: words, expires_ms } = new;
        let key = Key {
            id: id.clone(),
            holder,
            note: words,
            created_ms,
            expires_ms,
            rotated_ms: None,
            previous_until_ms: None,
            revoked_ms: None,
        };
        let secret = Fingerprint::of_bits(&bits);
        let record = Arc::new(KeyRecord { key: key.clone(), secret, previous: None });
        let applied = self.shared.retry.write(self.operation(), |transaction| {
            let record = Arc::clone(&record);
            Box::pin(async move {
                let at = record_key(&record.key.id);
                if transaction.get(&at, ReadMode::Serializable).await?.is_some() {
                    // Two equal draws of 64 bits: the source is broken.
                    return Ok(Err(IdentityError::NoRandomBits));
                }
                transaction.set(&at, &encode_key(&record)?)?;
                let id = record.key.id.clone();
                note(transaction, &LogRow::Key { id }).await?;
                Ok(Ok(()))
            })
        });
        if let Applied::Now(outcome) = known(applied.await, &id)? {
            outcome?;
        }
        self.hear_now().await;
        Ok((key, Secret::new(&id, &bits)))
    }

    /// # Errors
    /// [`IdentityError::NoKey`], the store's.
    pub async fn get(&self, id: &str) -> Outcome<Key> {
        let missing = || IdentityError::NoKey { id: id.to_owned() };
        if !is_id(id) {
            return Err(missing());
        }
        let at = record_key(id);
        let row = self.shared.retry.read(|transaction| {
            let at = at.clone();
            Box::pin(async move { transaction.get(&at, ReadMode::Serializable).await })
        });
        let row = row.await?.ok_or_else(missing)?;
        Ok(decode_key(&row)?.key)
    }

    /// At most `limit` keys in the order of their ids, behind `after`; revoked ones, too.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Outcome<KeyPage> {
        let limit = limit.max(1);
        let read = RangeRead::all(records_after(after)).limit(limit).snapshot();
        let rows = self.shared.retry.read(|transaction| {
            let read = read.clone();
            Box::pin(async move { transaction.range(read).await })
        });
        let rows = rows.await?;
        let keys: Vec<Key> = rows
            .iter()
            .map(|(_, row)| decode_key(row).map(|record| record.key))
            .collect::<Result<_, _>>()?;
        let is_full = keys.len() == limit;
        let next_after = keys.last().filter(|_| is_full).map(|key| key.id.clone());
        Ok(KeyPage { keys, next_after })
    }

    /// Ends a key, its old secrets included. To do it twice does no harm.
    ///
    /// # Errors
    /// [`IdentityError::NoKey`]; [`IdentityError::Unknown`]: do it again.
    pub async fn revoke(&self, id: &str) -> Outcome<Key> {
        let now_ms = self.shared.runtime.wall_ms();
        self.change(id, move |record| {
            record.key.revoked_ms.get_or_insert(now_ms);
            record.key.previous_until_ms = None;
            record.previous = None;
            Ok(())
        })
        .await
    }

    /// Gives a key a new secret; the old one is good for `grace_ms` more. One that was in its own
    /// time of grace ends now.
    ///
    /// # Errors
    /// [`IdentityError::NoKey`], [`IdentityError::Revoked`]; after [`IdentityError::Unknown`] the
    /// key may have a secret that nobody has: rotate it again.
    pub async fn rotate(&self, id: &str, grace_ms: u64) -> Outcome<(Key, Secret)> {
        if grace_ms > GRACE_MS_MAX {
            return Err(IdentityError::field("grace_s", "must be at most 2592000, thirty days"));
        }
        let bits = (self.shared.secret_bits)().ok_or(IdentityError::NoRandomBits)?;
        let (now_ms, fresh) = (self.shared.runtime.wall_ms(), Fingerprint::of_bits(&bits));
        let key = self.change(id, move |record| {
            if record.key.revoked_ms.is_some() {
                return Err(IdentityError::Revoked { id: record.key.id.clone() });
            }
            let before = std::mem::replace(&mut record.secret, fresh);
            record.previous = (grace_ms > 0).then_some(before);
            record.key.previous_until_ms =
                (grace_ms > 0).then_some(now_ms.saturating_add(grace_ms));
            record.key.rotated_ms = Some(now_ms);
            Ok(())
        });
        Ok((key.await?, Secret::new(id, &bits)))
    }

    /// Ends a token before its time.
    ///
    /// # Errors
    /// [`IdentityError::Field`], the store's; to do it twice does no harm.
    pub async fn revoke_token(&self, token: RevokedToken) -> Outcome<()> {
        token.check()?;
        let (token, now_ms) = (Arc::new(token), self.shared.runtime.wall_ms());
        let applied = self.shared.retry.write(self.operation(), |transaction| {
            let token = Arc::clone(&token);
            Box::pin(async move {
                let RevokedToken { issuer, id, expires_ms } = (*token).clone();
                transaction.clear_range(&tokens_ended(now_ms))?;
                let at = token_key(expires_ms, &issuer, &id);
                transaction.set(&at, &encode_token(&token)?)?;
                note(transaction, &LogRow::Token { issuer, id, expires_ms }).await
            })
        });
        applied.await?;
        self.hear_now().await;
        Ok(())
    }

    async fn change(
        &self,
        id: &str,
        change: impl Fn(&mut KeyRecord) -> Outcome<()> + Send + Sync + 'static,
    ) -> Outcome<Key> {
        if !is_id(id) {
            return Err(IdentityError::NoKey { id: id.to_owned() });
        }
        let change = Arc::new(change);
        let applied = self.shared.retry.write(self.operation(), |transaction| {
            let (id, change) = (id.to_owned(), Arc::clone(&change));
            Box::pin(async move {
                let at = record_key(&id);
                let Some(row) = transaction.get(&at, ReadMode::Serializable).await? else {
                    return Ok(Err(IdentityError::NoKey { id }));
                };
                let mut record = decode_key(&row)?;
                if let Err(error) = change(&mut record) {
                    return Ok(Err(error));
                }
                transaction.set(&at, &encode_key(&record)?)?;
                note(transaction, &LogRow::Key { id }).await?;
                Ok(Ok(record.key))
            })
        });
        let key = match known(applied.await, id)? {
            Applied::Now(outcome) => outcome?,
            Applied::Earlier => self.get(id).await?,
        };
        self.hear_now().await;
        Ok(key)
    }

    fn operation(&self) -> OperationId {
        let runtime = &self.shared.runtime;
        let hour = u32::try_from(runtime.wall_ms() / HOUR_MS).unwrap_or(u32::MAX);
        OperationId::draw(hour, runtime.environment())
    }

    /// This node knows its own change when it answers; should that fail, it hears of it as the
    /// others do.
    async fn hear_now(&self) {
        if let Err(error) = self.catch_up(false).await {
            tracing::debug!(%error, "a change of keys is read a little later");
        }
    }
}

fn known<T>(applied: Result<Applied<T>, StoreError>, id: &str) -> Outcome<Applied<T>> {
    applied.map_err(|error| match error {
        StoreError::CommitUnknown => IdentityError::Unknown { id: id.to_owned() },
        error => error.into(),
    })
}
