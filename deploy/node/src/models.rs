//! Brings the configured models' weights onto the machine and opens them.

use std::path::PathBuf;
use std::sync::Arc;

use headwater_actors::embedding::{
    BatchSettings, ModelLoader, ModelPools, Opening, ScaleSettings, ServedModel,
};
use headwater_models::{Model, Pooling};
use headwater_models_burn::weights::{self, WeightsSource};
use headwater_models_burn::{BurnSettings, DeviceChoice, NumberFormat};

use crate::config::{ModelSettings, Settings, SourceSettings, data_dir};
use crate::failure::Failure;
use crate::progress::Progress;

/// Fetches what is missing and opens every model that shall be there from the start, in the
/// settings' order.
///
/// # Errors
/// Kind `Unavailable` when weights do not come or do not load, `Settings` for words that
/// name no device, number format or pooling.
pub(crate) async fn load(settings: &Settings) -> Result<Vec<ServedModel>, Failure> {
    let mut served = Vec::new();
    for model in settings.embedding.models.iter().filter(|model| model.autoload) {
        served.push(open(settings, model).await?);
    }
    Ok(served)
}

/// Opens the models that the settings name, when an operator asks for them.
pub(crate) fn loader(settings: &Settings) -> ModelLoader {
    let settings = Arc::new(settings.clone());
    ModelLoader::new(move |name| {
        let (settings, name) = (Arc::clone(&settings), name.to_owned());
        let place = settings.embedding.models.iter().position(|model| model.name == name)?;
        let opening: Opening = Box::pin(async move {
            let opened = open(&settings, &settings.embedding.models[place]).await;
            opened.map_err(|failure| failure.to_string())
        });
        Some(opening)
    })
}

async fn open(settings: &Settings, model: &ModelSettings) -> Result<ServedModel, Failure> {
    let folder = weights_folder(settings, &model.name, &model.source).await?;
    let burn = burn_settings(model, folder)?;
    let opened = tokio::task::spawn_blocking(move || headwater_models_burn::open(&burn));
    let opened = opened.await.map_err(Failure::broken)?;
    let opened = opened.map_err(|error| about(&model.name, error))?;
    let card = opened.card();
    tracing::info!(
        model = card.name,
        dimensions = card.dimensions,
        max_tokens = card.max_tokens,
        fingerprint = card.fingerprint,
        arithmetic = card.arithmetic,
        replicas = model.replica_count(),
        threads = model.thread_count(),
        "model read"
    );
    Ok(ServedModel {
        model: Arc::new(opened),
        aliases: model.aliases.clone(),
        replicas: model.replica_count(),
        threads: model.thread_count(),
        batch: batch_settings(settings),
        pools: pools(settings, model),
    })
}

/// How the model's two pools share this node.
fn pools(settings: &Settings, model: &ModelSettings) -> ModelPools {
    let section = &settings.embedding;
    let own = if model.on_gpu() { 0 } else { model.replica_count() };
    let (min_replicas, max_replicas) = model.replica_bounds();
    let follows = min_replicas < max_replicas;
    ModelPools {
        ingest_replicas: model.ingest_replicas.unwrap_or(own),
        ingest_batch: BatchSettings {
            batch_tokens: section.ingest_batch_tokens,
            batch_rows: section.batch_rows,
            padding_percent: section.padding_percent,
            ..BatchSettings::for_ingest()
        },
        reserved: model.reserved_replicas,
        query_scale: follows.then(|| ScaleSettings {
            min_replicas,
            max_replicas,
            ..ScaleSettings::default()
        }),
        ..ModelPools::default()
    }
}

/// The folder with a model's files, fetched if need be, with progress shown.
///
/// # Errors
/// Kind `Unavailable`, naming the source and what to do next.
pub(crate) async fn weights_folder(
    settings: &Settings,
    name: &str,
    source: &SourceSettings,
) -> Result<PathBuf, Failure> {
    let cache = cache_folder(settings)?;
    let source = self::source(source);
    let what = format!("fetching {name}");
    let fetched = tokio::task::spawn_blocking(move || {
        let mut progress = None;
        weights::fetch(&source, &cache, &mut |done, total| {
            let shown = progress.get_or_insert_with(|| Progress::start(&what, total, true));
            shown.at(done, total);
        })
    });
    let fetched = fetched.await.map_err(Failure::broken)?;
    fetched.map_err(|error| about(name, error))
}

/// Where fetched weights are kept.
///
/// # Errors
/// As [`data_dir`].
pub(crate) fn cache_folder(settings: &Settings) -> Result<PathBuf, Failure> {
    Ok(data_dir(settings)?.join("weights"))
}

/// The settings' source in the adapter's words.
pub(crate) fn source(settings: &SourceSettings) -> WeightsSource {
    match settings {
        SourceSettings::Folder(folder) => WeightsSource::Folder(folder.clone()),
        SourceSettings::Hub { repository, revision } => {
            WeightsSource::Hub { repository: repository.clone(), revision: revision.clone() }
        }
        SourceSettings::Package(name) => WeightsSource::Package(name.clone()),
    }
}

fn about(model: &str, error: impl std::fmt::Display) -> Failure {
    Failure::unavailable(format!("model {model}: {error}"))
}

fn burn_settings(model: &ModelSettings, folder: PathBuf) -> Result<BurnSettings, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::settings(format!("embedding.models, {}: {error}", model.name))
    };
    let device = model.device.as_deref().unwrap_or("cpu").parse::<DeviceChoice>();
    let dtype = model.dtype.as_deref().unwrap_or("f32").parse::<NumberFormat>();
    Ok(BurnSettings {
        name: model.name.clone(),
        folder,
        device: device.map_err(|error| wrong(&error))?,
        dtype: dtype.map_err(|error| wrong(&error))?,
        pooling: pooling(model).map_err(|error| wrong(&error))?,
        normalise: model.normalise,
        max_tokens: model.max_tokens,
        query_prefix: model.query_prefix.clone(),
        passage_prefix: model.passage_prefix.clone(),
        matryoshka_dimensions: model.matryoshka_dimensions.clone(),
    })
}

fn pooling(model: &ModelSettings) -> Result<Option<Pooling>, String> {
    let Some(name) = &model.pooling else { return Ok(None) };
    let known = [Pooling::Cls, Pooling::Mean, Pooling::LastToken, Pooling::Splade];
    let found = known.into_iter().find(|pooling| pooling.name() == name);
    found.map(Some).ok_or_else(|| {
        format!("unknown pooling {name:?}; write \"cls\", \"mean\", \"last_token\" or \"splade\"")
    })
}

fn batch_settings(settings: &Settings) -> BatchSettings {
    let section = &settings.embedding;
    BatchSettings {
        batch_tokens: section.batch_tokens,
        batch_rows: section.batch_rows,
        batch_wait_ms: section.batch_wait_ms,
        padding_percent: section.padding_percent,
        batch_timeout_ms: section.batch_timeout_ms,
        ..BatchSettings::default()
    }
}
