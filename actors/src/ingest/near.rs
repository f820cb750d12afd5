//! Chunks that resemble a chunk of another document. Only chunks that resemble no earlier one are
//! remembered, so an attempt that is repeated finds what the first one found.

use std::collections::BTreeSet;
use std::sync::Arc;

use headwater_embedding::ingest::DocumentKey;
use headwater_embedding::{Fingerprint, fingerprint};
use headwater_storage::StoreError;
use headwater_storage::retry::Retry;

use crate::collection::{ChunkId, CollectionId, remember, resembles};

/// Chunks that one transaction looks at.
const PAGE_CHUNKS: usize = 64;

/// The places of those chunks that resemble one of another document of the collection.
pub(super) async fn find(
    retry: &Retry,
    id: CollectionId,
    document: &DocumentKey,
    chunks: &[(ChunkId, &str)],
) -> Result<BTreeSet<usize>, StoreError> {
    let mut near = BTreeSet::new();
    let prints = chunks.iter().map(|(chunk, text)| (*chunk, fingerprint(text)));
    let prints: Vec<(usize, (ChunkId, Fingerprint))> = prints.enumerate().collect();
    for page in prints.chunks(PAGE_CHUNKS) {
        let page: Arc<[(usize, (ChunkId, Fingerprint))]> = page.into();
        let found = retry.write_idempotent(|transaction| {
            let (document, page) = (*document, Arc::clone(&page));
            Box::pin(async move {
                let mut near = Vec::new();
                for (place, (chunk, print)) in page.iter() {
                    if resembles(transaction, id, &document, *chunk, *print).await? {
                        near.push(*place);
                    } else {
                        remember(transaction, id, document, *chunk, *print).await?;
                    }
                }
                Ok(near)
            })
        });
        near.extend(found.await?);
    }
    Ok(near)
}
