//! From the hidden states of all tokens to one vector for each sequence.

use burn_tensor::backend::Backend;
use burn_tensor::{DType, Int, Tensor, TensorData};
use headwater_models::Pooling;

use crate::rows::{Rows, pooled_rows};

/// The pooled states of each sequence, row-major.
pub(crate) fn pool<B: Backend>(
    states: Tensor<B, 2>,
    rows: &Rows,
    pooling: Pooling,
    device: &B::Device,
) -> Result<Vec<f32>, String> {
    let shape = [rows.spans.len(), rows.len()];
    let selection = TensorData::new(rows.pooling_matrix(pooling), shape);
    let selection = Tensor::<B, 2>::from_data(selection, (device, DType::F32));
    let sums = selection.matmul(states.cast(DType::F32));
    let [_, hidden] = sums.dims();
    let mut vectors = read(sums)?;
    for (vector, span) in vectors.chunks_exact_mut(hidden).zip(&rows.spans) {
        let inverse = 1.0 / pooled_rows(span, pooling).len() as f32;
        vector.iter_mut().for_each(|value| *value *= inverse);
    }
    Ok(vectors)
}

/// The values of a matrix, row-major, as f32.
pub(crate) fn read<B: Backend>(matrix: Tensor<B, 2>) -> Result<Vec<f32>, String> {
    matrix.cast(DType::F32).into_data().to_vec().map_err(|error| format!("{error:?}"))
}

pub(crate) fn indices<B: Backend>(values: &[i32], device: &B::Device) -> Tensor<B, 1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}
