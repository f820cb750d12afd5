//! What bulk work and search ask of the embedding service: vectors of one version.

use async_trait::async_trait;
use headwater_models::{ModelCard, Piece};

use super::{EmbedError, EmbeddingFleet, Pool, Purpose};

/// Embeds texts with exactly one model version, or says that it is not served. The fleet is one;
/// simulation has another that fails on order.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// The card of the model that this name or alias stands for now.
    fn card(&self, model: &str) -> Option<ModelCard>;

    /// The card of this version, by its fingerprint, if it is served.
    fn version(&self, fingerprint: &str) -> Option<ModelCard>;

    /// The tokens of a text beside their places in it, special tokens left out, as this version
    /// reads it.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`] when the version is not served here, [`EmbedError::Unreadable`]
    /// when its tokenizer refuses the text.
    async fn pieces(&self, fingerprint: &str, text: String) -> Result<Vec<Piece>, EmbedError>;

    /// One vector per text of this version, in the order of the texts. What is too long for the
    /// model is cut.
    ///
    /// # Errors
    /// See [`EmbedError`]; [`EmbedError::Unavailable`] when the version is not served.
    async fn embed(
        &self,
        fingerprint: &str,
        texts: Vec<String>,
        purpose: Purpose,
        pool: Pool,
    ) -> Result<Vec<Vec<f32>>, EmbedError>;

    /// Bulk work that a tenant pays for: the vectors of the first of these passages, of at least
    /// one and in their order; of fewer than all where its quota covers no more. Here nobody is
    /// charged; [`super::ChargedEmbedder`] does it.
    ///
    /// # Errors
    /// As [`Embedder::embed`], and [`EmbedError::OverQuota`].
    async fn embed_bulk(
        &self,
        _tenant: &str,
        fingerprint: &str,
        texts: &[String],
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.embed(fingerprint, texts.to_vec(), Purpose::Passage, Pool::Ingest).await
    }
}

#[async_trait]
impl Embedder for EmbeddingFleet {
    fn card(&self, model: &str) -> Option<ModelCard> {
        self.model(model).map(|model| model.card().clone())
    }

    fn version(&self, fingerprint: &str) -> Option<ModelCard> {
        self.of_version(fingerprint).map(|model| model.card().clone())
    }

    async fn pieces(&self, fingerprint: &str, text: String) -> Result<Vec<Piece>, EmbedError> {
        let model = self.of_version(fingerprint).ok_or(EmbedError::Unavailable)?;
        let mut pieces = model.pieces(vec![text], false, Pool::Ingest).await?;
        Ok(pieces.pop().unwrap_or_default())
    }

    async fn embed(
        &self,
        fingerprint: &str,
        texts: Vec<String>,
        purpose: Purpose,
        pool: Pool,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let model = self.of_version(fingerprint).ok_or(EmbedError::Unavailable)?;
        let inputs = super::Inputs::Texts(texts);
        let call = super::EmbedCall { inputs, purpose, truncate: true, pool };
        model.embed(call).await.map(|embedded| embedded.vectors)
    }
}

/// The vector at length 1; none for one without a direction.
pub(crate) fn unit(vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|part| part * part).sum::<f32>().sqrt();
    let has_direction = length.is_finite() && length > 0.0;
    has_direction.then(|| vector.into_iter().map(|part| part / length).collect())
}
