//! What the store remembers of the served models, so that a change of weights under an old
//! name is noticed before vectors are mixed.

use headwater_models::ModelCard;
use headwater_storage::retry::{Applied, OperationId, Retry};
use headwater_storage::{ReadMode, StoreError, codec, tuple};
use serde::{Deserialize, Serialize};

const SERVED_MODEL_RECORD: u8 = 1;

/// Key: `("embedding", "served_model", name)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ServedModelRecord {
    fingerprint: String,
    dimensions: u32,
}

/// How a model was served the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServedBefore {
    Never,
    /// With the same fingerprint: old and new vectors can be compared.
    Same,
    /// With this other fingerprint: old and new vectors must not be compared.
    Changed {
        fingerprint: String,
    },
}

/// Notes that the model is served from now on and tells how it was served before.
///
/// # Errors
/// The store's, after the retry loop's patience.
pub async fn record_served_model(
    retry: &Retry,
    id: OperationId,
    card: &ModelCard,
) -> Result<ServedBefore, StoreError> {
    let key = tuple::pack(&["embedding".into(), "served_model".into(), card.name.as_str().into()]);
    let record = ServedModelRecord {
        fingerprint: card.fingerprint.clone(),
        dimensions: u32::try_from(card.dimensions).unwrap_or(u32::MAX),
    };
    let applied = retry
        .write(id, |transaction| {
            let (key, record) = (key.clone(), record.clone());
            Box::pin(async move {
                let row = transaction.get(&key, ReadMode::Serializable).await?;
                let old = row.as_deref().map(|row| codec::decode(SERVED_MODEL_RECORD, row));
                let old: Option<ServedModelRecord> = old.transpose()?;
                transaction.set(&key, &codec::encode(SERVED_MODEL_RECORD, &record)?)?;
                Ok(match old {
                    None => ServedBefore::Never,
                    Some(old) if old == record => ServedBefore::Same,
                    Some(ServedModelRecord { fingerprint, .. }) => {
                        ServedBefore::Changed { fingerprint }
                    }
                })
            })
        })
        .await?;
    Ok(match applied {
        Applied::Now(before) => before,
        // The same operation was recorded by an earlier call, so the row is this card's.
        Applied::Earlier => ServedBefore::Same,
    })
}
