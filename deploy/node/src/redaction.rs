//! Redaction as the settings choose it, and its commands.

mod eval;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use headwater_actors::gateway::{
    Offload, REDACTION_BUDGET_MS, Redaction, RedactionKey, RedactionMetrics, Redactor,
};
use headwater_models_names::NameTagger;
use headwater_models_names::train::{TrainSettings, train};
use prometheus_client::registry::Registry;

use crate::config::Settings;
use crate::failure::Failure;
use eval::EvalFlags;

#[derive(Debug, Subcommand)]
pub(crate) enum RedactionAction {
    /// Measure precision, recall and time on labelled texts.
    Eval(EvalFlags),
    /// Learn to find names and addresses from texts that a seed draws, and write the weights.
    Train {
        /// Where the weights go; a build takes them from
        /// models/names/weights/names.safetensors.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Texts to learn from, each once.
        #[arg(long, default_value_t = TrainSettings::default().texts)]
        texts: usize,
        #[arg(long, default_value_t = TrainSettings::default().seed)]
        seed: u64,
    },
}

/// Runs a command to its end.
///
/// # Errors
/// Kind `Settings` when a file cannot be read or written or does not hold what it should.
pub(crate) fn run(action: &RedactionAction) -> Result<(), Failure> {
    match action {
        RedactionAction::Eval(flags) => eval::run(flags),
        RedactionAction::Train { out, texts, seed } => {
            let settings = TrainSettings { seed: *seed, texts: *texts };
            let weights = train(settings, |progress| {
                println!("{} texts, {:.4} a token", progress.texts, progress.loss);
            });
            let file = weights.write().map_err(Failure::broken)?;
            let wrong = |error| Failure::settings(format!("{}: {error}", out.display()));
            std::fs::write(out, &file).map_err(wrong)?;
            println!("{} bytes in {}", file.len(), out.display());
            Ok(())
        }
    }
}

/// The redaction of this node. Which texts it is for says the gateway's configuration, which may
/// change while the node runs.
///
/// # Errors
/// Kind `Settings` when the key file cannot be read.
pub(crate) fn start(settings: &Settings, registry: &mut Registry) -> Result<Redaction, Failure> {
    let section = &settings.gateway;
    let key = match &section.redaction_key_file {
        Some(file) => {
            let wrong = |error| {
                let file = file.display();
                Failure::settings(format!("gateway.redaction_key_file: {file}: {error}"))
            };
            std::fs::read(file).map_err(wrong)?.trim_ascii().to_vec()
        }
        // Hashes of this node alone, until it starts again: nobody can try values out either way.
        None => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(Failure::broken)?;
            key.to_vec()
        }
    };
    if key.is_empty() {
        let problem = "gateway.redaction_key_file: is empty; put a long random text into it";
        return Err(Failure::settings(problem));
    }
    let tagger = NameTagger::bundled().map_err(Failure::broken)?;
    let redactor = Redactor::new(RedactionKey::new(key), Some(Arc::new(tagger)));
    let redactor = Arc::new(redactor.map_err(Failure::broken)?);
    let budget_ms = section.redaction_budget_ms.unwrap_or(REDACTION_BUDGET_MS);
    let metrics = RedactionMetrics::register(registry);
    Ok(Redaction::new(redactor, budget_ms, Offload::Blocking, metrics))
}
