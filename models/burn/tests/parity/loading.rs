//! Folders that are refused, and the words they are refused with.

use std::path::Path;

use headwater_models::Pooling;
use headwater_models_burn::{
    BurnSettings, DeviceChoice, Instructions, LoadError, NumberFormat, open,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use crate::support::{data, settings};

/// A change to a folder, given as a path.
type Change = Box<dyn Fn(&Path)>;

fn copy_of(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors", "modules.json"] {
        std::fs::copy(data(name).join(file), copy.path().join(file)).unwrap();
    }
    std::fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    let pooling = "1_Pooling/config.json";
    std::fs::copy(data(name).join(pooling), copy.path().join(pooling)).unwrap();
    copy
}

fn kind_of(error: &LoadError) -> &'static str {
    match error {
        LoadError::Missing { .. } => "missing",
        LoadError::Malformed { .. } => "malformed",
        LoadError::Unsupported { .. } => "unsupported",
    }
}

fn check(change: &dyn Fn(&Path), adjust: &dyn Fn(&mut BurnSettings), kind: &str, words: &[&str]) {
    let copy = copy_of("tiny_bge");
    change(copy.path());
    let mut settings = settings(copy.path().to_owned());
    adjust(&mut settings);
    let error = open(&settings).err().unwrap_or_else(|| panic!("{words:?} was accepted"));
    assert_eq!(kind_of(&error), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

fn set(file: &'static str, field: &'static str, value: Value) -> Change {
    Box::new(move |folder| {
        let path = folder.join(file);
        let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        match &value {
            Value::Null => drop(json.as_object_mut().unwrap().remove(field)),
            value => json[field] = value.clone(),
        }
        std::fs::write(&path, json.to_string()).unwrap();
    })
}

fn write(file: &'static str, text: &'static str) -> Change {
    Box::new(move |folder| std::fs::write(folder.join(file), text).unwrap())
}

fn remove(file: &'static str) -> Change {
    Box::new(move |folder| std::fs::remove_file(folder.join(file)).unwrap())
}

/// Rewrites the tensors: drops one, then adds one of zeros.
fn tensors(drop: &'static str, add: &'static str, shape: &'static [usize], dtype: Dtype) -> Change {
    Box::new(move |folder| {
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let zeros = vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8];
        let mut kept: Vec<(&str, TensorView<'_>)> =
            file.iter().filter(|(name, _)| *name != drop).collect();
        if !add.is_empty() {
            kept.push((add, TensorView::new(dtype, shape.to_vec(), &zeros).unwrap()));
        }
        std::fs::write(&path, safetensors::serialize(kept, None).unwrap()).unwrap();
    })
}

#[test]
fn the_copy_itself_is_sound() {
    let copy = copy_of("tiny_bge");
    assert!(open(&settings(copy.path().to_owned())).is_ok());
    let spare = ["pooler.spare", "embeddings.position_ids", "bert.pooler.other"];
    for name in spare {
        tensors("", name, &[1, 48], Dtype::I64)(copy.path());
    }
    assert!(open(&settings(copy.path().to_owned())).is_ok(), "unused tensors are let pass");
}

#[test]
fn tensors_are_read_strictly() {
    const QUERY: &str = "encoder.layer.1.attention.self.query.weight";
    let none = &[] as &[usize];
    let cases: [(Change, &str, &[&str]); 9] = [
        (tensors(QUERY, "", none, Dtype::F32), "malformed", &[QUERY, "missing"]),
        (
            tensors(QUERY, QUERY, &[32, 16], Dtype::F32),
            "malformed",
            &[QUERY, "[32, 16]", "[32, 32]"],
        ),
        (
            tensors("embeddings.LayerNorm.bias", "", none, Dtype::F32),
            "malformed",
            &["embeddings.LayerNorm.bias", "missing"],
        ),
        (
            tensors("", "encoder.layer.2.output.dense.bias", &[32], Dtype::F32),
            "malformed",
            &["encoder.layer.2.output.dense.bias", "surplus"],
        ),
        (tensors("", "cls.predictions.bias", &[4], Dtype::F32), "malformed", &["cls.", "surplus"]),
        (
            tensors("", "bert.embeddings.LayerNorm.bias", &[32], Dtype::F32),
            "malformed",
            &["embeddings.LayerNorm.bias", "twice"],
        ),
        (
            tensors(QUERY, QUERY, &[32, 32], Dtype::I8),
            "unsupported",
            &[QUERY, "I8", "F32, F16 and BF16"],
        ),
        (remove("model.safetensors"), "missing", &["model.safetensors"]),
        (write("model.safetensors", "junk"), "malformed", &["model.safetensors", "header"]),
    ];
    for (change, kind, words) in &cases {
        check(change, &|_| {}, kind, words);
    }
}

#[test]
fn the_config_is_read_strictly() {
    let config = |field, value| set("config.json", field, value);
    let cases: [(Change, &str, &[&str]); 14] = [
        (remove("config.json"), "missing", &["config.json"]),
        (write("config.json", "{"), "malformed", &["config.json", "json"]),
        (config("model_type", json!("t5")), "unsupported", &["model_type", "t5", "allowed: bert"]),
        (config("model_type", Value::Null), "malformed", &["model_type", "absent"]),
        (config("hidden_act", json!("gelu_new")), "unsupported", &["hidden_act", "gelu_new"]),
        (
            config("position_embedding_type", json!("relative_key")),
            "unsupported",
            &["position_embedding_type", "absolute"],
        ),
        (config("is_decoder", json!(true)), "unsupported", &["is_decoder"]),
        (config("hidden_size", Value::Null), "malformed", &["hidden_size", "absent"]),
        (config("hidden_size", json!(0)), "malformed", &["hidden_size", "0"]),
        (config("num_attention_heads", json!(5)), "malformed", &["num_attention_heads", "5"]),
        (config("num_hidden_layers", json!(-1)), "malformed", &["num_hidden_layers", "-1"]),
        (config("layer_norm_eps", json!(0.0)), "malformed", &["layer_norm_eps"]),
        (config("num_hidden_layers", json!(1)), "malformed", &["encoder.layer.1.", "surplus"]),
        (config("vocab_size", json!(50)), "malformed", &["tokenizer.json", "100", "50"]),
    ];
    for (change, kind, words) in &cases {
        check(change, &|_| {}, kind, words);
    }
}

#[test]
fn the_files_of_use_are_read_strictly() {
    const POOLING: &str = "1_Pooling/config.json";
    let dense = r#"[{"path":"","type":"a.Transformer"},{"path":"2_Dense","type":"a.Dense"}]"#;
    let cases: [(Change, &str, &[&str]); 9] = [
        (remove("tokenizer.json"), "missing", &["tokenizer.json"]),
        (write("tokenizer.json", "{}"), "malformed", &["tokenizer.json"]),
        (write("modules.json", dense), "unsupported", &["modules.json", "Dense"]),
        (remove(POOLING), "missing", &[POOLING, "cls, mean or lasttoken"]),
        (write(POOLING, "{}"), "malformed", &[POOLING, "pooling_mode"]),
        (set(POOLING, "pooling_mode", json!("max")), "unsupported", &["pooling_mode", "max"]),
        (
            set(POOLING, "pooling_mode_mean_tokens", json!(true)),
            "unsupported",
            &["pooling_mode", "cls+mean"],
        ),
        (set(POOLING, "include_prompt", json!(false)), "unsupported", &["include_prompt"]),
        (
            write("sentence_bert_config.json", r#"{"max_seq_length":2}"#),
            "malformed",
            &["max_tokens", "2"],
        ),
    ];
    for (change, kind, words) in &cases {
        check(change, &|_| {}, kind, words);
    }
}

#[test]
fn settings_are_checked_against_the_model() {
    type Adjust = fn(&mut BurnSettings);
    let cases: [(Adjust, &str, &[&str]); 5] = [
        (|settings| settings.max_tokens = Some(49), "unsupported", &["max_tokens", "49", "48"]),
        (|settings| settings.max_tokens = Some(2), "malformed", &["max_tokens", "2"]),
        (|settings| settings.matryoshka_dimensions = vec![32], "unsupported", &["32", "31"]),
        (|settings| settings.matryoshka_dimensions = vec![0], "unsupported", &["matryoshka"]),
        (|settings| settings.dtype = NumberFormat::F16, "unsupported", &["f16", "bf16", "auto"]),
    ];
    for (adjust, kind, words) in cases {
        check(&|_| {}, &adjust, kind, words);
    }
    if Instructions::best().is_none() {
        let half = |settings: &mut BurnSettings| settings.dtype = NumberFormat::Bf16;
        check(&|_| {}, &half, "unsupported", &["bf16", "f32 or auto", "AMX", "AVX512-BF16"]);
    }
    let any = |settings: &mut BurnSettings| {
        settings.device = DeviceChoice::Cuda(0);
        settings.dtype = NumberFormat::Auto;
    };
    check(&|_| {}, &any, "unsupported", &["auto", "f32, f16 or bf16 on cuda"]);
    if !cfg!(feature = "cuda") {
        let cuda = |settings: &mut BurnSettings| settings.device = DeviceChoice::Cuda(0);
        check(&|_| {}, &cuda, "unsupported", &["device", "feature"]);
    }
    let pooled = BurnSettings { pooling: Some(Pooling::Cls), ..settings(data("tiny_last")) };
    assert!(open(&pooled).is_ok(), "pooling from settings needs no file");
}

#[cfg(feature = "cuda")]
#[test]
fn a_device_that_is_not_there_is_told_and_nothing_panics() {
    use headwater_models::{EncodeError, Model, OpenOptions};

    let cuda = BurnSettings { device: DeviceChoice::Cuda(999), ..settings(data("tiny_bge")) };
    match open(&cuda).unwrap().open(&OpenOptions::threads(1)).err() {
        Some(EncodeError::Device(reason)) => {
            assert!(reason.contains("cuda:999") || reason.contains("libcuda"), "{reason}");
            assert!(reason.contains("\"cpu\""), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
