//! Settings of nodes, written as JSON and told as TOML within a line.

use std::path::Path;

use serde_json::{Value, json};

use crate::upstream::Simulator;

/// `--set` with this key and value.
pub fn setting(key: &str, value: &Value) -> String {
    format!("{key}={}", inline(value))
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}={}", inline(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A backend that the simulator plays; `key` is a file with its key.
pub fn backend(name: &str, protocol: &str, provider: &Simulator, key: &Path) -> Value {
    let (url, key) = (provider.base_url(), key.display().to_string());
    json!({"name": name, "protocol": protocol, "url": url, "key_file": key})
}

/// A model at a backend; the price is in US dollars for a million tokens of input and of output.
pub fn target(backend: &str, model: &str, weight: u64, price: (f64, f64)) -> Value {
    let price = json!({"input": price.0, "output": price.1});
    json!({"backend": backend, "model": model, "weight": weight, "price": price})
}
