//! A folder of weights as a model of the port.

use std::sync::Arc;

use headwater_models::{
    EncodeError, Encoder, Model, ModelCard, OpenOptions, Piece, Pixels, Pooling, Task, TokenIds,
    TokenizeError,
};

#[cfg(feature = "cpu")]
use crate::Instructions;
use crate::checkpoint::HostNetwork;
use crate::config::NetworkConfig;
#[cfg(feature = "cpu")]
use crate::families::network::Network;
use crate::fingerprint::{Files, fingerprint};
use crate::folder::{CONFIG, Folder, PREPROCESSING, TOKENIZER};
use crate::images::Preprocessing;
#[cfg(feature = "cpu")]
use crate::kernels::fused::{Bf16, Fused};
use crate::sentence::Usage;
use crate::tokenizer::ModelTokenizer;
use crate::{BurnSettings, DeviceChoice, LoadError, NumberFormat};

/// An encoder of any family with its tokenizer. Clones, and the encoders that they open, share one
/// copy of the weights in the memory of the host.
#[derive(Clone)]
pub struct BurnModel {
    card: ModelCard,
    tokenizer: Arc<ModelTokenizer>,
    /// Only for a model that reads images.
    preprocessing: Option<Arc<Preprocessing>>,
    weights: Weights,
    /// Instructions of dense layers in bf16.
    #[cfg(feature = "cpu")]
    instructions: Option<Instructions>,
}

#[cfg(feature = "cpu")]
impl BurnModel {
    /// This model, sharing its weights, on slower instructions than the best; `None` unless
    /// it computes on CPU in bf16 and they are available.
    pub fn on(&self, instructions: Instructions) -> Option<Self> {
        self.instructions.filter(|_| instructions.available())?;
        let mut model = self.clone();
        model.instructions = Some(instructions);
        model.card.arithmetic = cpu_arithmetic(model.instructions);
        Some(model)
    }
}

/// The part of the card that tells how the CPU computes.
#[cfg(feature = "cpu")]
fn cpu_arithmetic(instructions: Option<Instructions>) -> String {
    match instructions {
        Some(instructions) => format!("cpu, bf16 on {}", instructions.name()),
        None => "cpu, f32".to_owned(),
    }
}

#[derive(Clone)]
enum Weights {
    #[cfg(feature = "cpu")]
    Cpu(Box<Network<burn_flex::Flex>>),
    #[cfg(feature = "cuda")]
    Cuda { ordinal: usize, dtype: NumberFormat, pair_types: bool, host: Arc<HostNetwork> },
}

/// Reads and checks a folder of weights. No device but the CPU is touched before
/// [`Model::open`].
///
/// # Errors
/// [`LoadError`] naming the file and the field that is missing, broken or not supported.
pub fn open(settings: &BurnSettings) -> Result<BurnModel, LoadError> {
    let settings = &settings.settled()?;
    let folder = Folder::new(&settings.folder);
    let config_bytes = folder.bytes(CONFIG)?;
    let config = NetworkConfig::parse(&config_bytes)?;
    let usage = Usage::read(&folder, settings, &config)?;
    let dimensions = config.dimensions(usage.pooling);
    let matryoshka_dimensions = matryoshka(settings, dimensions)?;
    let tokenizer_bytes = folder.bytes(TOKENIZER)?;
    let vocabulary = config.vocabulary();
    let tokenizer = ModelTokenizer::parse(&tokenizer_bytes, vocabulary)?;
    if usage.task == Task::Rerank {
        tokenizer.check_pairs()?;
    }
    let (preprocessing, preprocessing_bytes) = match &config {
        NetworkConfig::Clip(config) => {
            let bytes = folder.bytes(PREPROCESSING)?;
            (Some(Arc::new(Preprocessing::parse(&bytes, config)?)), bytes)
        }
        NetworkConfig::Bert(_) | NetworkConfig::Decoder(_) => (None, Vec::new()),
    };
    let tensors = folder.tensors()?;
    let host = HostNetwork::parse(&tensors, config, usage.pooling == Pooling::Splade)?;
    let files = Files {
        tensors: &tensors,
        tokenizer: &tokenizer_bytes,
        config: &config_bytes,
        preprocessing: &preprocessing_bytes,
    };
    let card = ModelCard {
        name: settings.name.clone(),
        fingerprint: fingerprint(&files, &usage, settings),
        task: usage.task,
        images: preprocessing.is_some(),
        arithmetic: arithmetic(settings),
        dimensions,
        max_tokens: usage.max_tokens,
        vocabulary,
        pooling: usage.pooling,
        normalise: usage.normalise,
        query_prefix: settings.query_prefix.clone(),
        passage_prefix: settings.passage_prefix.clone(),
        matryoshka_dimensions,
    };
    let weights = place(settings, host, tokenizer.pair_types())?;
    Ok(BurnModel {
        card,
        tokenizer: Arc::new(tokenizer),
        preprocessing,
        weights,
        #[cfg(feature = "cpu")]
        instructions: instructions(settings),
    })
}

/// Where and in which number format the model computes.
fn arithmetic(settings: &BurnSettings) -> String {
    match settings.device {
        #[cfg(feature = "cpu")]
        DeviceChoice::Cpu => cpu_arithmetic(instructions(settings)),
        #[cfg(not(feature = "cpu"))]
        DeviceChoice::Cpu => format!("cpu, {}", settings.dtype.name()),
        DeviceChoice::Cuda(ordinal) => format!("cuda:{ordinal}, {}", settings.dtype.name()),
    }
}

/// The instructions that a model in bf16 on CPU uses.
#[cfg(feature = "cpu")]
fn instructions(settings: &BurnSettings) -> Option<Instructions> {
    let half = (settings.device, settings.dtype) == (DeviceChoice::Cpu, NumberFormat::Bf16);
    Instructions::best().filter(|_| half)
}

fn matryoshka(settings: &BurnSettings, full: usize) -> Result<Vec<usize>, LoadError> {
    let mut dimensions = settings.matryoshka_dimensions.clone();
    dimensions.sort_unstable();
    dimensions.dedup();
    match dimensions.iter().find(|length| **length == 0 || **length >= full) {
        Some(length) => Err(LoadError::unsupported(
            "settings",
            "matryoshka_dimensions",
            length.to_string(),
            format!("1 to {}, below the length of the model's vectors", full.max(1) - 1),
        )),
        None => Ok(dimensions),
    }
}

fn place(
    settings: &BurnSettings,
    host: HostNetwork,
    pair_types: bool,
) -> Result<Weights, LoadError> {
    match (settings.device, settings.dtype) {
        #[cfg(feature = "cpu")]
        (DeviceChoice::Cpu, NumberFormat::F32) => {
            let device = burn_flex::FlexDevice;
            let network = Network::upload::<Fused>(host, pair_types, &device);
            Ok(Weights::Cpu(Box::new(network)))
        }
        #[cfg(feature = "cpu")]
        (DeviceChoice::Cpu, NumberFormat::Bf16) => {
            let device = burn_flex::FlexDevice;
            let network = Network::upload::<Fused<Bf16>>(host, pair_types, &device);
            Ok(Weights::Cpu(Box::new(network)))
        }
        #[cfg(feature = "cuda")]
        (DeviceChoice::Cuda(ordinal), dtype) => {
            Ok(Weights::Cuda { ordinal, dtype, pair_types, host: Arc::new(host) })
        }
        #[allow(unreachable_patterns)]
        (device, _) => {
            let found = format!("{device:?}, which this build lacks");
            let allowed = "a build with the feature \"cpu\" or \"cuda\" of that device";
            Err(LoadError::unsupported("settings", "device", found, allowed))
        }
    }
}

impl Model for BurnModel {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn tokenize(&self, text: &str, limit: Option<usize>) -> Result<TokenIds, TokenizeError> {
        self.tokenizer.tokenize(text, limit)
    }

    fn adopt(&self, ids: &[u32], limit: Option<usize>) -> Result<TokenIds, TokenizeError> {
        self.tokenizer.adopt(ids, limit)
    }

    fn pieces(&self, text: &str, special: bool) -> Result<Vec<Piece>, TokenizeError> {
        self.tokenizer.pieces(text, special)
    }

    fn tokenize_pair(
        &self,
        first: &str,
        second: &str,
        limit: Option<usize>,
    ) -> Result<TokenIds, TokenizeError> {
        if self.card.task != Task::Rerank {
            let reason = "this model reads no pairs of texts; a cross-encoder does";
            return Err(TokenizeError::Refused(reason.to_owned()));
        }
        self.tokenizer.tokenize_pair(first, second, limit)
    }

    fn read_image(&self, bytes: &[u8]) -> Result<Pixels, TokenizeError> {
        match &self.preprocessing {
            Some(preprocessing) => preprocessing.read(bytes).map_err(TokenizeError::Refused),
            None => Err(TokenizeError::Refused("this model reads no images".to_owned())),
        }
    }

    fn open(&self, options: &OpenOptions) -> Result<Box<dyn Encoder>, EncodeError> {
        let card = self.card.clone();
        match &self.weights {
            #[cfg(feature = "cpu")]
            Weights::Cpu(network) => {
                let network = (**network).clone();
                let instructions = self.instructions;
                let encoder =
                    crate::encoder::cpu::CpuEncoder::new(network, card, options, instructions)?;
                Ok(Box::new(encoder))
            }
            #[cfg(feature = "cuda")]
            Weights::Cuda { ordinal, dtype, pair_types, host } => {
                // The device has a scheduler of its own.
                let _ = options;
                let host = HostNetwork::clone(host);
                crate::encoder::cuda::open(*ordinal, *dtype, host, *pair_types, card)
            }
        }
    }
}
