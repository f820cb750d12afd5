//! The prompt editor's page in a browser, over a real node.

use std::path::PathBuf;
use std::process::Command;

use headwater_tests::clients::{chromium, node_packages};
use headwater_tests::node::NodeProcess;
use headwater_tests::repository_root;
use headwater_tests::tokens::{new_key, token};
use headwater_tests::upstream::{Simulator, UPSTREAM_KEY};
use serde_json::Value;

/// Rows of tests/clients/prompts.mjs.
const ROWS: usize = 27;

#[test]
fn a_prompt_lives_its_life_in_the_page() {
    let provider = Simulator::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    new_key(&folder.path().join("key")).unwrap();
    std::fs::write(folder.path().join("upstream"), UPSTREAM_KEY).unwrap();
    let (url, key) = (provider.base_url(), path("upstream"));
    let settings = [
        format!("auth.key_file={}", path("key")),
        "embedding.models=[]".to_owned(),
        format!(
            "gateway.backends=[{{name=\"b\", protocol=\"openai\", url=\"{url}\", \
             key_file=\"{key}\"}}]"
        ),
        "gateway.models=[{name=\"small\", targets=[{backend=\"b\", free=true}]}]".to_owned(),
    ];
    let mut node = NodeProcess::listening(&folder.path().join("data"), &settings).unwrap();
    node.wait_for("ready").unwrap();
    let acme = token(&folder.path().join("key"), "acme", "standard").unwrap();
    let kept = std::env::var_os("HEADWATER_SCREENSHOTS").map(PathBuf::from);
    let output = Command::new("node")
        .arg(repository_root().join("tests/clients/prompts.mjs"))
        .args([node_packages().unwrap(), chromium().unwrap()])
        .arg(kept.as_deref().unwrap_or(folder.path()))
        .env("HEADWATER_URL", format!("http://{}", node.address().unwrap()))
        .env("HEADWATER_TOKEN", &acme)
        .env("HEADWATER_MODEL", "small")
        .envs([("NO_PROXY", "*"), ("no_proxy", "*")])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the browser broke:\n{said}\n{errors}");
    let rows: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.iter().all(|row| row["ok"] == true), "{said}");
    assert_eq!(rows.len(), ROWS);
    assert_eq!(node.stop().unwrap().code, Some(0));
}
