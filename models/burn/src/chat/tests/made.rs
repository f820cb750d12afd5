//! A tiny Llama with random weights, made for tests.

use std::path::Path;

use half::f16;

use crate::chat::LocalChatSettings;
use crate::chat::template::TEMPLATE;
use crate::gguf::tests::made::{Made, code};
use crate::gguf::{Kind, Value};

pub(in crate::chat) const HIDDEN: usize = 64;
pub(in crate::chat) const CONTEXT: usize = 128;

/// A byte that no token of the tiny vocabulary stands for.
pub(in crate::chat) const UNKNOWN: u8 = 4;

const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const MERGES: [&str; 7] = ["h e", "l l", "he ll", "hell o", "Ġ w", "i m", "e n"];

/// GPT-2's letter for a byte.
pub(in crate::chat) fn letter(byte: u8) -> char {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match printable(&byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|byte| !printable(byte)).count() as u32;
            char::from_u32(256 + before).unwrap()
        }
    }
}

pub(in crate::chat) fn tokens() -> Vec<String> {
    let bytes = (0..=255u8).filter(|byte| *byte != UNKNOWN).map(|byte| letter(byte).to_string());
    let merged = MERGES.iter().map(|merge| merge.replace(' ', ""));
    CONTROL.iter().map(|name| (*name).to_owned()).chain(bytes).chain(merged).collect()
}

/// Numbers between -1 and 1.
pub(in crate::chat) struct Random(pub(in crate::chat) u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn floats(&mut self, count: usize, size: f32) -> Vec<f32> {
        (0..count).map(|_| (self.next() as f32 / (1u32 << 30) as f32 - 1.0) * size).collect()
    }

    /// Blocks of a kind whose numbers are about from `-size` to `size`.
    fn blocks(&mut self, kind: Kind, count: usize, size: f32) -> Vec<u8> {
        let (numbers, bytes) = kind.block();
        let mut out = Vec::new();
        for _ in 0..count / numbers {
            let most = if kind == Kind::Q8_0 { 127.0 } else { 7.5 };
            out.extend(f16::from_f32(size / most).to_le_bytes());
            if kind == Kind::Q4_1 {
                out.extend(f16::from_f32(-size).to_le_bytes());
            }
            while out.len() % bytes != 0 {
                out.push(self.next() as u8);
            }
        }
        out
    }
}

pub(in crate::chat) fn tiny() -> Made {
    let mut made = Made::default();
    let tokens = tokens();
    let kinds = (0..tokens.len()).map(|id| if id < CONTROL.len() { 3 } else { 1 }).collect();
    let text = |text: &str| Value::Text(text.to_owned());
    let number = |number: usize| Value::Unsigned(number as u64);
    made.set("general.architecture", text("llama"))
        .set("llama.block_count", number(2))
        .set("llama.context_length", number(CONTEXT))
        .set("llama.embedding_length", number(HIDDEN))
        .set("llama.feed_forward_length", number(96))
        .set("llama.attention.head_count", number(4))
        .set("llama.attention.head_count_kv", number(2))
        .set("llama.rope.freq_base", Value::Float(100_000.0))
        .set("llama.attention.layer_norm_rms_epsilon", Value::Float(1e-5))
        .set("llama.rope.dimension_count", number(16))
        .set("tokenizer.ggml.model", text("gpt2"))
        .set("tokenizer.ggml.pre", text("smollm"))
        .set("tokenizer.ggml.tokens", Value::Texts(tokens.clone()))
        .set("tokenizer.ggml.token_type", Value::Integers(kinds))
        .set("tokenizer.ggml.merges", Value::Texts(MERGES.map(str::to_owned).to_vec()))
        .set("tokenizer.chat_template", text(TEMPLATE));
    let mut random = Random(7);
    let ones = vec![1.0; HIDDEN];
    let mut put = |name: &str, columns: usize, rows: usize, kind: Kind| {
        let lengths = [columns as u64, rows as u64];
        if kind == Kind::F32 {
            made.floats(name, &lengths, &random.floats(columns * rows, 0.25));
        } else {
            let blocks = random.blocks(kind, columns * rows, 0.25);
            made.tensor(name, &lengths, code(kind), blocks);
        }
    };
    put("token_embd.weight", HIDDEN, tokens.len(), Kind::Q8_0);
    for layer in 0..2 {
        let at = |part: &str| format!("blk.{layer}.{part}.weight");
        put(&at("attn_q"), HIDDEN, HIDDEN, Kind::Q4_1);
        put(&at("attn_k"), HIDDEN, 32, Kind::Q4_0);
        put(&at("attn_v"), HIDDEN, 32, Kind::Q8_0);
        put(&at("attn_output"), HIDDEN, HIDDEN, Kind::F32);
        put(&at("ffn_gate"), HIDDEN, 96, Kind::Q4_1);
        put(&at("ffn_up"), HIDDEN, 96, Kind::Q4_1);
        put(&at("ffn_down"), 96, HIDDEN, Kind::Q4_1);
    }
    // Nothing makes a control token the likeliest: the largest of the other numbers is above 0.
    let mut output = random.floats(HIDDEN * tokens.len(), 1.0);
    output[..HIDDEN * CONTROL.len()].fill(0.0);
    made.floats("output.weight", &[HIDDEN as u64, tokens.len() as u64], &output);
    for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "blk.1.attn_norm", "blk.1.ffn_norm"] {
        made.floats(&format!("{name}.weight"), &[HIDDEN as u64], &ones);
    }
    made.floats("output_norm.weight", &[HIDDEN as u64], &ones);
    made
}

/// Writes the file and names it in settings of one sequence on one thread without a queue.
pub(in crate::chat) fn settings(made: &Made, folder: &Path) -> LocalChatSettings {
    std::fs::write(folder.join("tiny.gguf"), made.bytes()).unwrap();
    LocalChatSettings {
        sequences: 1,
        queue: 0,
        threads: 1,
        ..LocalChatSettings::new(folder.to_owned())
    }
}
