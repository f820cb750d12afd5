//! The layout's rules as data: a new crate or a new edge starts with a line here.

use super::{CrateRule, HeavyRule, Layer, Rules};

const EMBEDDING: &str = "headwater-embedding";
const GATEWAY: &str = "headwater-gateway";
const PROMPTS: &str = "headwater-prompts";
const SECRETS: &str = "headwater-secrets";
const TENANCY: &str = "headwater-tenancy";
const QUIC: &str = "headwater-cluster-quic";
const CLUSTER: &str = "headwater-cluster";
const MODELS: &str = "headwater-models";
const VECTORS: &str = "headwater-vectors";
const BACKENDS: &str = "headwater-backends";
const AGENT: &str = "headwater-sandbox-agent";
const IMAGES: &str = "headwater-sandbox-images";
const SANDBOX: &str = "headwater-sandbox";
const TOOLS: &str = "headwater-tools";
const STORAGE: &str = "headwater-storage";
const ACTORS: &str = "headwater-actors";
const EDGE: &str = "headwater-edge";
const EDGE_TLS: &str = "headwater-edge-tls";
const SIMULATION: &str = "headwater-simulation";
const NODE: &str = "headwater-node";

/// The rules of this repository.
pub const RULES: Rules =
    Rules { crates: CRATES, heavy: HEAVY, also_pure: ALSO_PURE, runtime: RUNTIME, seeded: SEEDED };

const CRATES: &[CrateRule] = &[
    rule(BACKENDS, Layer::Port, &[]),
    rule(CLUSTER, Layer::Port, &[]),
    rule(MODELS, Layer::Port, &[]),
    rule(SANDBOX, Layer::Port, &[]),
    rule(SECRETS, Layer::Port, &[]),
    rule(STORAGE, Layer::Port, &[]),
    rule(VECTORS, Layer::Port, &[]),
    rule(EMBEDDING, Layer::Pure, &[MODELS]),
    rule(GATEWAY, Layer::Pure, &[MODELS]),
    rule(PROMPTS, Layer::Pure, &[]),
    rule(TENANCY, Layer::Pure, &[]),
    rule(TOOLS, Layer::Pure, &[SANDBOX]),
    rule("headwater-backends-http", Layer::Adapter, &[BACKENDS]),
    rule("headwater-backends-mcp", Layer::Adapter, &[BACKENDS]),
    rule("headwater-backends-sql", Layer::Adapter, &[BACKENDS]),
    // Its outside system is the guest: engines whose guests have a kernel speak with it.
    rule(AGENT, Layer::Adapter, &[SANDBOX]),
    // Its outside system is the network; no slot knows it but by its sockets.
    rule("headwater-sandbox-egress", Layer::Adapter, &[]),
    // Tests of engines run guests, and guests need an image.
    rule("headwater-sandbox-firecracker", Layer::Adapter, &[SANDBOX, AGENT, IMAGES]),
    rule("headwater-sandbox-gvisor", Layer::Adapter, &[SANDBOX, AGENT, IMAGES]),
    rule(IMAGES, Layer::Adapter, &[SANDBOX]),
    rule("headwater-sandbox-jail", Layer::Adapter, &[SANDBOX, IMAGES]),
    rule("headwater-sandbox-wasm", Layer::Adapter, &[SANDBOX, IMAGES]),
    rule(QUIC, Layer::Adapter, &[CLUSTER]),
    rule("headwater-models-burn", Layer::Adapter, &[MODELS]),
    rule("headwater-models-names", Layer::Adapter, &[MODELS]),
    rule("headwater-models-remote", Layer::Adapter, &[MODELS]),
    rule("headwater-secrets-local", Layer::Adapter, &[SECRETS]),
    rule("headwater-secrets-vault", Layer::Adapter, &[SECRETS]),
    rule("headwater-storage-embedded", Layer::Adapter, &[STORAGE]),
    rule("headwater-storage-fdb", Layer::Adapter, &[STORAGE]),
    rule("headwater-storage-lake", Layer::Adapter, &[STORAGE]),
    rule("headwater-storage-otlp", Layer::Adapter, &[STORAGE]),
    // The embedded sink's outside system is the store itself: its records are rows there, in
    // transactions, whatever the engine is. So it stands on two ports, and on no other adapter.
    rule("headwater-vectors-embedded", Layer::Adapter, &[VECTORS, STORAGE]),
    rule("headwater-vectors-qdrant", Layer::Adapter, &[VECTORS]),
    rule(
        ACTORS,
        Layer::Shell,
        &[
            BACKENDS, CLUSTER, MODELS, SANDBOX, SECRETS, STORAGE, VECTORS, EMBEDDING, GATEWAY,
            PROMPTS, TENANCY, TOOLS,
        ],
    ),
    // The edge renders nouns of the embedding service and of the models port; it meets them
    // re-exported by the actors, so it needs no edge of its own to either.
    rule(EDGE, Layer::Shell, &[ACTORS]),
    // It serves any router, so it knows none of ours.
    rule(EDGE_TLS, Layer::Adapter, &[]),
    rule(
        SIMULATION,
        Layer::Shell,
        &[
            ACTORS, EDGE, BACKENDS, CLUSTER, MODELS, SANDBOX, STORAGE, VECTORS, EMBEDDING, GATEWAY,
            PROMPTS, TENANCY, TOOLS,
        ],
    ),
    rule(NODE, Layer::Top, &[]),
    rule("headwater-tests", Layer::Top, &[]),
];

/// Ports that are as free of a runtime as a pure service; storage alone awaits on tokio's locks.
const ALSO_PURE: &[&str] = &[BACKENDS, CLUSTER, MODELS, SANDBOX, SECRETS, VECTORS];

/// The judge by JSON schema stands on it; whether an answer fits hangs on no order.
const SEEDED: &[&str] = &["ahash"];

const RUNTIME: &[&str] = &[
    "axum",
    "fastrand",
    "getrandom",
    "hyper",
    "mio",
    "quinn",
    "rand",
    "rand_core",
    "reqwest",
    "tokio",
];

const HEAVY: &[HeavyRule] = &[
    heavy("burn*", &["headwater-models-burn"], "compiles for minutes, and one adapter hides it"),
    heavy("cubecl*", &["headwater-models-burn"], "burn's own back ends"),
    heavy(
        "axum",
        // The protocol's adapter serves its own tests with it.
        &[EDGE, EDGE_TLS, NODE, "headwater-backends-mcp"],
        "the edge is a router; the node owns the sockets and serves it, in the clear or not",
    ),
    heavy("datafusion*", &["headwater-storage-lake"], "compiles for minutes; one adapter hides it"),
    heavy(
        "arrow*",
        &["headwater-storage-lake"],
        "types of the lake's files, behind the audit port",
    ),
    heavy("opentelemetry*", &["headwater-storage-otlp"], "one adapter hides the exporter"),
    heavy("parquet", &["headwater-storage-lake"], "the lake's file format"),
    heavy("redb", &["headwater-storage-embedded"], "the embedded engine's file format"),
    heavy("usearch", &["headwater-vectors-embedded"], "compiles C++, and one adapter hides it"),
    heavy("foundationdb*", &["headwater-storage-fdb"], "links the client library"),
    heavy("h3*", &[EDGE_TLS], "one adapter hides HTTP/3"),
    heavy("quinn*", &[QUIC, EDGE_TLS], "QUIC between nodes, and under HTTP/3"),
    heavy(
        "rustls*",
        &[QUIC, EDGE_TLS, "headwater-backends-sql", "headwater-sandbox-egress"],
        "certificates between nodes, for clients, of databases, and on the way out of sandboxes",
    ),
    heavy(
        "reqwest",
        &[
            "headwater-backends-http",
            "headwater-backends-mcp",
            "headwater-models-remote",
            "headwater-secrets-vault",
            "headwater-vectors-qdrant",
            NODE,
        ],
        "one HTTP client, in adapters; the node fetches the keys of outside issuers with it",
    ),
    heavy("jsonwebtoken", &[EDGE], "tokens are judged in one place"),
    heavy("jsonschema", &["headwater-prompts", TOOLS], "judges answers that must fit a schema"),
    heavy("wasmtime", &["headwater-sandbox-wasm"], "compiles for minutes; one adapter hides it"),
    heavy("tokio-postgres*", &["headwater-backends-sql"], "one adapter hides the protocol"),
    heavy("rmcp", &["headwater-backends-mcp"], "the protocol's SDK, behind one adapter"),
    heavy("minijinja", &["headwater-prompts"], "the language of prompts, read in one place"),
    heavy(
        "rcgen",
        &[QUIC, EDGE_TLS, "headwater-backends-sql", "headwater-sandbox-egress"],
        "makes the certificates that the adapters check",
    ),
    heavy(
        "ractor*",
        &[ACTORS, QUIC, SIMULATION],
        "one actor runtime, behind the handles; the bench measures it beside the lanes, and the \
         harness of tier 2 proves itself on it",
    ),
];

const fn rule(name: &'static str, layer: Layer, imports: &'static [&'static str]) -> CrateRule {
    CrateRule { name, layer, imports }
}

const fn heavy(
    pattern: &'static str,
    manifests: &'static [&'static str],
    reason: &'static str,
) -> HeavyRule {
    HeavyRule { pattern, manifests, reason }
}
