//! Folders of the families that are refused, and the words they are refused with.

use std::path::Path;

use headwater_models::{Model, Pooling};
use headwater_models_burn::{BurnSettings, open};
use serde_json::{Value, json};

use crate::support::{data, settings};

fn copy_of(family: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(data(&format!("families/{family}"))).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Sets a field of config.json, given as a path of names.
fn set(folder: &Path, field: &str, value: Value) {
    let path = folder.join("config.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let inner = field.split('/').fold(&mut json, |json, name| &mut json[name]);
    *inner = value;
    std::fs::write(&path, json.to_string()).unwrap();
}

fn pooled(folder: &Path, pooling: Option<Pooling>) -> BurnSettings {
    BurnSettings { pooling, ..settings(folder.to_owned()) }
}

/// Folder, pooling, changed field of config.json, its value, and what the refusal says.
type Case = (&'static str, Option<Pooling>, &'static str, Value, &'static [&'static str]);

#[test]
fn fields_of_every_family_are_read_strictly() {
    let last = Some(Pooling::LastToken);
    let cases: [Case; 15] = [
        (
            "roberta",
            Some(Pooling::Mean),
            "max_position_embeddings",
            json!(2),
            &["max_position_embeddings", "pad_token_id"],
        ),
        ("distilbert", Some(Pooling::Mean), "activation", json!("relu"), &["activation", "gelu"]),
        ("distilbert", Some(Pooling::Mean), "n_heads", json!(5), &["n_heads", "5"]),
        ("cross_bert", None, "id2label", json!({"0": "a", "1": "b"}), &["num_labels", "2", "1"]),
        ("cross_bert", Some(Pooling::Mean), "pad_token_id", json!(0), &["pooling", "mean", "cls"]),
        ("distilbert", Some(Pooling::Splade), "pad_token_id", json!(0), &["splade", "ForMaskedLM"]),
        ("qwen3", last, "head_dim", json!(15), &["head_dim", "odd"]),
        ("qwen3", last, "num_key_value_heads", json!(3), &["num_key_value_heads", "3"]),
        ("qwen3", last, "hidden_act", json!("gelu"), &["hidden_act", "silu"]),
        ("qwen3", last, "is_causal", json!(false), &["is_causal", "true"]),
        ("llama", last, "rope_parameters/rope_type", json!("llama3"), &["rope", "llama3"]),
        ("llama", last, "attention_bias", json!(true), &["attention_bias", "false"]),
        ("clip", None, "vision_config/patch_size", json!(7), &["vision_config.patch_size", "7"]),
        ("clip", None, "text_config/hidden_act", json!("relu"), &["text_config.hidden_act"]),
        ("clip", Some(Pooling::Mean), "projection_dim", json!(24), &["pooling", "last_token"]),
    ];
    for (family, pooling, field, value, words) in cases {
        let copy = copy_of(family);
        set(copy.path(), field, value);
        let error =
            open(&pooled(copy.path(), pooling)).err().unwrap_or_else(|| panic!("{words:?}"));
        for word in words {
            assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
        }
    }
}

#[test]
fn older_files_are_read_as_the_newer_ones() {
    let card = |folder: &Path| {
        let model = open(&pooled(folder, Some(Pooling::LastToken))).unwrap();
        (model.card().max_tokens, model.card().dimensions)
    };
    let copy = copy_of("mistral");
    set(copy.path(), "rope_parameters", Value::Null);
    set(copy.path(), "rope_theta", json!(10_000.0));
    assert_eq!(card(copy.path()), (64, 32));
    // A text within the window sees all of itself.
    set(copy.path(), "sliding_window", json!(40));
    assert_eq!(card(copy.path()), (40, 32));
    let qwen = copy_of("qwen2");
    set(qwen.path(), "sliding_window", json!(40));
    assert_eq!(card(qwen.path()), (64, 32), "not in use");
    set(qwen.path(), "use_sliding_window", json!(true));
    assert_eq!(card(qwen.path()), (40, 32));
}

#[test]
fn weights_in_several_files_are_refused_by_name() {
    let copy = copy_of("qwen3");
    std::fs::remove_file(copy.path().join("model.safetensors")).unwrap();
    std::fs::write(copy.path().join("model.safetensors.index.json"), "{}").unwrap();
    let error = open(&pooled(copy.path(), Some(Pooling::LastToken))).err().unwrap().to_string();
    assert!(error.contains("index.json") && error.contains("join the parts"), "{error}");
}

#[test]
fn splade_is_chosen_by_the_files_too() {
    let modules = r#"[{"path": "", "type": "sentence_transformers.sparse_encoder.MLMTransformer"},
        {"path": "1_SpladePooling", "type": "sentence_transformers.sparse_encoder.SpladePooling"}]"#;
    let copy = copy_of("splade_bert");
    std::fs::write(copy.path().join("modules.json"), modules).unwrap();
    std::fs::create_dir(copy.path().join("1_SpladePooling")).unwrap();
    let file = copy.path().join("1_SpladePooling/config.json");
    std::fs::write(&file, r#"{"pooling_strategy": "max", "activation_function": "relu"}"#).unwrap();
    let model = open(&pooled(copy.path(), None)).unwrap();
    assert_eq!((model.card().pooling, model.card().dimensions), (Pooling::Splade, 101));
    std::fs::write(&file, r#"{"pooling_strategy": "sum"}"#).unwrap();
    let error = open(&pooled(copy.path(), None)).err().unwrap().to_string();
    assert!(error.contains("pooling_strategy") && error.contains("max"), "{error}");
}
