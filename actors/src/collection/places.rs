//! Which chunks a document has, and where.

use std::ops::Range;

use headwater_storage::RangeRead;

use super::handle::Collections;
use super::keys::{member_ordinal, members_from};
use super::nouns::{ChunkId, CollectionError};
use super::records::{MemberRow, decode};

/// A chunk at its place in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Counts the document's chunks from 0.
    pub ordinal: u32,
    pub chunk: ChunkId,
    /// Bytes of the document's text.
    pub range: Range<u64>,
}

impl Collections {
    /// The chunks of a document in their order, from this ordinal on, at most `limit`.
    ///
    /// # Errors
    /// [`CollectionError::NoCollection`] and the store's; none for a document that is not there.
    pub async fn chunk_places(
        &self,
        tenant: &str,
        collection: &str,
        document: &str,
        from: u32,
        limit: usize,
    ) -> Result<Vec<ChunkPlace>, CollectionError> {
        let id = self.get(tenant, collection).await?.id;
        let wanted = RangeRead::all(members_from(id, document, from)).limit(limit).snapshot();
        let pairs = self.retry().read(|transaction| {
            let wanted = wanted.clone();
            Box::pin(async move { transaction.range(wanted).await })
        });
        let mut places = Vec::new();
        for (key, row) in pairs.await? {
            let MemberRow { chunk, start, end } = decode(&row)?;
            let ordinal = member_ordinal(&key)?;
            places.push(ChunkPlace { ordinal, chunk: ChunkId(chunk), range: start..end });
        }
        Ok(places)
    }
}
