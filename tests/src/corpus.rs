//! Real text to ingest, and the names of its chunks by rules written a second time.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::repository_root;

/// One line of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    pub id: String,
    pub text: String,
}

/// Whether the environment names a corpus.
pub fn is_given() -> bool {
    std::env::var_os("HEADWATER_CORPUS").is_some()
}

/// The corpus that `HEADWATER_CORPUS` names, or this repository's pages and sources, by id.
///
/// # Errors
/// When a file cannot be read or a line is no document.
pub fn documents() -> io::Result<BTreeMap<String, Document>> {
    let mut all = BTreeMap::new();
    let mut take = |document: Document| {
        all.insert(document.id.clone(), document);
    };
    match std::env::var_os("HEADWATER_CORPUS") {
        Some(file) => {
            for line in BufReader::new(std::fs::File::open(file)?).lines() {
                take(serde_json::from_str(&line?)?);
            }
        }
        None => {
            let root = repository_root();
            for folder in ["", "actors/embedding/src", "storage/src", "deploy/node/src"] {
                for entry in std::fs::read_dir(root.join(folder))? {
                    let path = entry?.path();
                    let kind = path.extension().and_then(|kind| kind.to_str());
                    if !matches!(kind, Some("md" | "rs")) {
                        continue;
                    }
                    let id = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                    take(Document { id, text: std::fs::read_to_string(&path)? });
                }
            }
        }
    }
    Ok(all)
}

/// Writes the documents as JSON lines.
///
/// # Errors
/// When the file cannot be written.
pub fn write(documents: &BTreeMap<String, Document>, file: &Path) -> io::Result<()> {
    let mut lines = BufWriter::new(std::fs::File::create(file)?);
    for document in documents.values() {
        serde_json::to_writer(&mut lines, document)?;
        lines.write_all(b"\n")?;
    }
    lines.flush()
}

/// The SHA-256 of a chunk's text in hex: in NFC, with line feeds alone, without white space at
/// its ends.
pub fn chunk_id(text: &str) -> String {
    let composed: String = text.nfc().collect();
    let text = composed.replace("\r\n", "\n").replace('\r', "\n");
    hex(&Sha256::digest(text.trim().as_bytes()))
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
