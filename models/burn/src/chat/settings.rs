//! What the operator chooses about one local chat model.

use std::path::PathBuf;

/// One chat model and how much of the machine it takes.
///
/// Memory: the weights as the file holds them, in scales of 32 bits (SmolLM2-135M in Q4_1: 112
/// MB, and for the moment of loading the file's 98 MB), and for each sequence its keys and
/// values, `8 · layers · key heads · head size` bytes a token (SmolLM2-135M: 46 KB, so up to
/// 189 MB for one answer that fills 4096 tokens).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalChatSettings {
    /// Folder with one file `*.gguf`.
    pub folder: PathBuf,
    /// Answers that are written at once, at least 1.
    pub sequences: usize,
    /// Requests that wait while all sequences write.
    pub queue: usize,
    /// Threads of each sequence; 0 takes one for each processor.
    pub threads: usize,
    /// Most tokens of prompt and answer together; at most what the model was trained for, which
    /// counts where it is less.
    pub context: usize,
}

impl LocalChatSettings {
    /// Two sequences of up to 4096 tokens, 16 places to wait, and every processor.
    pub fn new(folder: PathBuf) -> Self {
        LocalChatSettings { folder, sequences: 2, queue: 16, threads: 0, context: 4096 }
    }
}
