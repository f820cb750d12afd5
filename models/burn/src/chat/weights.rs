//! The shape and the tensors of a Llama in a GGUF file.

use std::collections::BTreeSet;

use super::network::{Layer, Network};
use crate::LoadError;
use crate::config::decoder::Heads;
use crate::gguf::{Gguf, Kind, Tensor};
use crate::kernels::quantised::{BLOCK, Matrix};

/// What the metadata say of the layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) layers: usize,
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) heads: Heads,
    /// The longest sequence that the model was trained for, in tokens.
    pub(super) context: usize,
    pub(super) epsilon: f32,
    /// The base of the rotary wavelengths.
    pub(super) base: f64,
}

const ARCHITECTURE: &str = "general.architecture";
const HEADS: &str = "llama.attention.head_count";
const KEY_HEADS: &str = "llama.attention.head_count_kv";
const EPSILON: &str = "llama.attention.layer_norm_rms_epsilon";
const ROTARY: &str = "llama.rope.dimension_count";
const SCALING: &str = "llama.rope.scaling.type";
const BASE: &str = "llama.rope.freq_base";

/// What llama.cpp takes when a file names no base.
const DEFAULT_BASE: f64 = 10_000.0;

impl Shape {
    fn read(file: &Gguf<'_>) -> Result<Shape, LoadError> {
        let architecture = file.text(ARCHITECTURE)?;
        if architecture != "llama" {
            return Err(LoadError::unsupported(file.name(), ARCHITECTURE, architecture, "llama"));
        }
        if let Some(scaling) = file.value(SCALING)
            && file.text(SCALING) != Ok("none")
        {
            let found = format!("{scaling:?}");
            return Err(LoadError::unsupported(file.name(), SCALING, found, "none"));
        }
        let hidden = positive(file, "llama.embedding_length")?;
        let queries = positive(file, HEADS)?;
        let keys = match file.value(KEY_HEADS) {
            Some(_) => positive(file, KEY_HEADS)?,
            None => queries,
        };
        let size = hidden / queries;
        let sound = size * queries == hidden && size % 2 == 0 && queries.is_multiple_of(keys);
        if size == 0 || !sound {
            let reason = format!(
                "{queries} heads with {keys} of keys do not share {hidden} numbers in even parts"
            );
            return Err(LoadError::malformed(file.name(), HEADS, reason));
        }
        if file.value(ROTARY).is_some() && positive(file, ROTARY)? != size {
            let found = format!("{} of {size} numbers", positive(file, ROTARY)?);
            return Err(LoadError::unsupported(file.name(), ROTARY, found, "all of a head"));
        }
        let base = match file.value(BASE) {
            Some(_) => file.float(BASE)?,
            None => DEFAULT_BASE,
        };
        let epsilon = file.float(EPSILON)? as f32;
        for (key, number) in [(BASE, base), (EPSILON, f64::from(epsilon))] {
            if number <= 0.0 {
                return Err(LoadError::malformed(file.name(), key, "must be above 0"));
            }
        }
        Ok(Shape {
            layers: positive(file, "llama.block_count")?,
            hidden,
            inner: positive(file, "llama.feed_forward_length")?,
            heads: Heads { queries, keys, size },
            context: positive(file, "llama.context_length")?,
            epsilon,
            base,
        })
    }
}

fn positive(file: &Gguf<'_>, key: &str) -> Result<usize, LoadError> {
    // Of 32 bits, as the format has them: so products of two do not overflow.
    match u32::try_from(file.number(key)?) {
        Ok(number) if number > 0 => Ok(number as usize),
        _ => Err(LoadError::malformed(file.name(), key, "must be from 1 to 2^32 - 1")),
    }
}

impl Network {
    /// Takes every tensor of the file. `vocabulary` is the number of its tokens.
    ///
    /// # Errors
    /// [`LoadError`] naming the field or the tensor.
    pub(super) fn load(file: &Gguf<'_>, vocabulary: usize) -> Result<Network, LoadError> {
        let shape = Shape::read(file)?;
        let Shape { layers, hidden, .. } = shape;
        let mut tensors = Tensors { file, left: file.tensors().map(str::to_owned).collect() };
        let words = tensors.matrix("token_embd.weight", hidden, vocabulary)?;
        let output = match file.tensor("output.weight") {
            Some(_) => Some(tensors.matrix("output.weight", hidden, vocabulary)?),
            None => None,
        };
        let norm = tensors.vector("output_norm.weight", hidden)?;
        let layers = (0..layers)
            .map(|index| layer(&mut tensors, index, &shape))
            .collect::<Result<_, _>>()?;
        match tensors.left.first() {
            Some(tensor) => Err(LoadError::unsupported(
                file.name(),
                "tensors",
                format!("{tensor} beside those of a Llama"),
                "the tensors of a Llama without biases or scaled wavelengths",
            )),
            None => Ok(Network { shape, words, layers, norm, output }),
        }
    }
}

fn layer(tensors: &mut Tensors<'_, '_>, index: usize, shape: &Shape) -> Result<Layer, LoadError> {
    let Shape { hidden, inner, heads, .. } = *shape;
    let (queries, keys) = (heads.queries * heads.size, heads.keys * heads.size);
    let at = |part: &str| format!("blk.{index}.{part}.weight");
    Ok(Layer {
        attention_norm: tensors.vector(&at("attn_norm"), hidden)?,
        query: tensors.matrix(&at("attn_q"), hidden, queries)?,
        key: tensors.matrix(&at("attn_k"), hidden, keys)?,
        value: tensors.matrix(&at("attn_v"), hidden, keys)?,
        attention_output: tensors.matrix(&at("attn_output"), queries, hidden)?,
        gate_norm: tensors.vector(&at("ffn_norm"), hidden)?,
        gate: tensors.matrix(&at("ffn_gate"), hidden, inner)?,
        up: tensors.matrix(&at("ffn_up"), hidden, inner)?,
        down: tensors.matrix(&at("ffn_down"), inner, hidden)?,
    })
}

struct Tensors<'a, 'b> {
    file: &'a Gguf<'b>,
    /// Those that nobody has taken.
    left: BTreeSet<String>,
}

impl<'b> Tensors<'_, 'b> {
    fn take(&mut self, name: &str, columns: usize, rows: usize) -> Result<Tensor<'b>, LoadError> {
        self.left.remove(name);
        let tensor = self.file.tensor(name);
        let tensor =
            tensor.ok_or_else(|| LoadError::malformed(self.file.name(), name, "is missing"))?;
        if (tensor.columns, tensor.rows) == (columns, rows) {
            return Ok(tensor);
        }
        let reason = format!(
            "has {} rows of {}, the metadata ask for {rows} of {columns}",
            tensor.rows, tensor.columns
        );
        Err(LoadError::malformed(self.file.name(), name, reason))
    }

    fn matrix(&mut self, name: &str, columns: usize, rows: usize) -> Result<Matrix, LoadError> {
        let matrix = Matrix::read(&self.take(name, columns, rows)?);
        matrix.ok_or_else(|| {
            let allowed = format!("a multiple of {BLOCK}");
            let found = format!("of rows of {columns} numbers");
            LoadError::unsupported(self.file.name(), name, found, allowed)
        })
    }

    /// # Errors
    /// Besides [`Tensors::take`]'s, when it is not of F32, as every GGUF has its vectors.
    fn vector(&mut self, name: &str, columns: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.take(name, columns, 1)?;
        if tensor.kind != Kind::F32 {
            let found = format!("of {:?}", tensor.kind);
            return Err(LoadError::unsupported(self.file.name(), name, found, "F32"));
        }
        Ok(tensor.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}
