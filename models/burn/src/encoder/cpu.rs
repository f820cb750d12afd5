//! The encoder on CPU: shards of a batch side by side, each on one thread.

use burn_flex::Flex;
use headwater_models::{
    EncodeError, Encoder, ModelCard, OpenOptions, Pace, Sequence, TokenBatch, Vectors,
};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{check, normalise};
use crate::Instructions;
use crate::families::network::Network;
use crate::kernels::fused::Fused;

/// Tokens that go through the layers together. Their widest activations (4 · hidden each)
/// should stay in the cache of one core; fewer make the matrix products inefficient.
const SHARD_TOKENS: usize = 512;

pub(crate) struct CpuEncoder {
    network: Network<Flex>,
    card: ModelCard,
    threads: usize,
    pace: Option<Pace>,
    /// Instructions of dense layers in bf16.
    instructions: Option<Instructions>,
    /// The encoder's own threads; `None` when it computes on the caller's alone.
    pool: Option<ThreadPool>,
}

impl CpuEncoder {
    /// # Errors
    /// [`EncodeError::Device`] when the system gives no threads.
    pub(crate) fn new(
        network: Network<Flex>,
        card: ModelCard,
        options: &OpenOptions,
        instructions: Option<Instructions>,
    ) -> Result<Self, EncodeError> {
        let threads = options.threads.max(1);
        let pool = match threads {
            1 => None,
            _ => Some(
                ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|index| format!("encode-{index}"))
                    .build()
                    .map_err(|error| EncodeError::Device(error.to_string()))?,
            ),
        };
        let pace = options.pace.clone();
        Ok(CpuEncoder { network, card, threads, pace, instructions, pool })
    }

    fn run(&self, shards: &[Vec<usize>], batch: &TokenBatch) -> Result<Vec<Vec<f32>>, String> {
        // Fewer shards than threads: the steps of each share what is left of these.
        let threads = (self.threads / shards.len().max(1)).max(1);
        let kernels = Fused::new(threads).paced(self.pace.clone()).on(self.instructions);
        let one = |shard: &Vec<usize>| {
            let sequences: Vec<&Sequence> =
                shard.iter().map(|index| &batch.sequences[*index]).collect();
            self.network.embed(&kernels, &sequences, self.card.pooling)
        };
        match &self.pool {
            Some(pool) => pool.install(|| shards.par_iter().map(one).collect()),
            None => shards.iter().map(one).collect(),
        }
    }
}

impl Encoder for CpuEncoder {
    fn encode(&mut self, batch: &TokenBatch) -> Result<Vectors, EncodeError> {
        check(batch, &self.card)?;
        let dimensions = self.card.dimensions;
        let lengths: Vec<usize> = batch.sequences.iter().map(Sequence::tokens).collect();
        let shards = split(&lengths, self.threads);
        let answers = self.run(&shards, batch).map_err(EncodeError::Device)?;
        let mut values = vec![0.0; batch.sequences.len() * dimensions];
        for (shard, answer) in shards.iter().zip(answers) {
            for (index, vector) in shard.iter().zip(answer.chunks_exact(dimensions)) {
                values[index * dimensions..][..dimensions].copy_from_slice(vector);
            }
        }
        if self.card.normalise {
            normalise(&mut values, dimensions);
        }
        Ok(Vectors { dimensions, values })
    }
}

/// Sequences by their indices, in shards of about equal work: the longest first, each to
/// the shard that has least so far. As many shards as threads, or a multiple of these.
fn split(lengths: &[usize], threads: usize) -> Vec<Vec<usize>> {
    let tokens: usize = lengths.iter().sum();
    let wanted = tokens.div_ceil(SHARD_TOKENS).next_multiple_of(threads).min(lengths.len());
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
    let mut shards = vec![(0, Vec::new()); wanted];
    for index in order {
        if let Some((load, shard)) = shards.iter_mut().min_by_key(|(load, _)| *load) {
            *load += lengths[index];
            shard.push(index);
        }
    }
    shards.into_iter().map(|(_, shard)| shard).collect()
}

#[cfg(test)]
mod tests;
