//! Sizes a fleet of encoders: load, replicas, bulk time, storage and cost, by formula.

use std::fmt;

#[cfg(test)]
mod tests;

/// Hours in an average month: 365 days of 24 hours over 12 months.
pub const HOURS_A_MONTH: f64 = 730.0;

/// What shall be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// Documents that are embedded in bulk; whole.
    pub documents: f64,
    /// Chunks in one document, each with one vector.
    pub chunks_per_document: f64,
    /// Tokens in one chunk, special tokens counted.
    pub chunk_tokens: f64,
    /// Queries per second that must be answered at once.
    pub queries_per_s: f64,
    /// Tokens in one query, special tokens counted.
    pub query_tokens: f64,
    /// Numbers in one vector.
    pub dimensions: usize,
}

/// What one replica gives, and what is kept in hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Supply {
    /// Tokens per second that one replica embeds at this length of text.
    pub tokens_per_s: f64,
    /// Share of the bare replicas that is added for failures and peaks; 0.3 is 30 %.
    pub headroom: f64,
    /// Days within which all documents shall be embedded, by replicas beside the serving ones.
    pub bulk_days: Option<f64>,
    /// Price of one replica for one hour, in any currency.
    pub price_per_hour: Option<f64>,
    /// Copies of every vector that the store keeps.
    pub copies: u32,
    /// The neighbour graph that is kept beside the vectors.
    pub graph: Graph,
}

/// A neighbour graph of the HNSW kind over the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graph {
    /// Neighbours of a vector on the upper levels, the paper's `M`; twice as many at the base.
    pub neighbours: u32,
    /// Bytes of one link to a neighbour.
    pub link_bytes: u32,
    /// Bytes of one vector's key.
    pub key_bytes: u32,
}

impl Default for Graph {
    /// usearch's defaults: 16 neighbours, 32-bit slots, 64-bit keys.
    fn default() -> Self {
        Graph { neighbours: 16, link_bytes: 4, key_bytes: 8 }
    }
}

impl Graph {
    /// Bytes that the graph adds to each vector, on average.
    ///
    /// `(M_max0 + m_L · M_max) · bytes_per_link` with `M_max0 = 2 M`, `M_max = M` and
    /// `m_L = 1 / ln M`, from Malkov and Yashunin, "Efficient and robust approximate nearest
    /// neighbor search using Hierarchical Navigable Small World graphs", section 4.2.3; the key
    /// comes on top.
    pub fn bytes_per_vector(&self) -> f64 {
        let m = f64::from(self.neighbours);
        (2.0 * m + m / m.ln()) * f64::from(self.link_bytes) + f64::from(self.key_bytes)
    }
}

/// How the numbers of a stored vector are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredFormat {
    Float32,
    Float16,
    Int8,
    Binary,
}

impl StoredFormat {
    pub const ALL: [StoredFormat; 4] =
        [StoredFormat::Float32, StoredFormat::Float16, StoredFormat::Int8, StoredFormat::Binary];

    pub fn name(self) -> &'static str {
        match self {
            StoredFormat::Float32 => "fp32",
            StoredFormat::Float16 => "fp16",
            StoredFormat::Int8 => "int8",
            StoredFormat::Binary => "binary",
        }
    }

    /// Bytes of one vector; a binary one is padded to whole bytes.
    pub fn vector_bytes(self, dimensions: usize) -> u64 {
        match self {
            StoredFormat::Float32 => dimensions as u64 * 4,
            StoredFormat::Float16 => dimensions as u64 * 2,
            StoredFormat::Int8 => dimensions as u64,
            StoredFormat::Binary => (dimensions as u64).div_ceil(8),
        }
    }
}

/// Room for all vectors in one format.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    pub format: StoredFormat,
    /// The vectors alone, in bytes, one copy.
    pub vectors_bytes: f64,
    /// All copies, each with its graph and keys, in bytes.
    pub indexed_bytes: f64,
}

/// The documents' part of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Bulk {
    pub vectors: f64,
    pub tokens: f64,
    /// Hours that one replica would need.
    pub replica_hours: f64,
    /// Hours on what the serving fleet has left beside its queries; none when nothing is left.
    pub spare_hours: Option<f64>,
    /// Replicas beside the serving ones that make the deadline, where one was given.
    pub deadline_replicas: Option<u64>,
    /// Price of the replica hours, where a price was given.
    pub cost: Option<f64>,
}

/// A sized fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Tokens per second that the queries bring.
    pub load_tokens_per_s: f64,
    /// Replicas that carry the load with nothing in hand.
    pub replicas_bare: u64,
    /// Replicas with the headroom.
    pub replicas: u64,
    pub bulk: Bulk,
    /// One entry for each of [`StoredFormat::ALL`], in that order.
    pub storage: Vec<Storage>,
    /// Price of the serving replicas for [`HOURS_A_MONTH`], where a price was given.
    pub cost_per_month: Option<f64>,
}

/// An argument that makes no sense.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanProblem {
    /// The argument's name, as the fields of [`Demand`] and [`Supply`] are called.
    pub argument: &'static str,
    pub given: f64,
    pub allowed: &'static str,
}

impl fmt::Display for PlanProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlanProblem { argument, given, allowed } = self;
        write!(formatter, "{argument} is {given}; it must be {allowed}")
    }
}

impl std::error::Error for PlanProblem {}

/// Sizes the fleet.
///
/// Load is queries times tokens; bare replicas are load over throughput, rounded up; headroom
/// multiplies the bare replicas and is rounded up again.
///
/// # Errors
/// [`PlanProblem`] for the first argument out of its bounds.
pub fn plan(demand: &Demand, supply: &Supply) -> Result<Plan, PlanProblem> {
    check(demand, supply)?;
    let load_tokens_per_s = demand.queries_per_s * demand.query_tokens;
    let replicas_bare = whole(load_tokens_per_s / supply.tokens_per_s);
    let replicas = whole(replicas_bare as f64 * (1.0 + supply.headroom));
    let vectors = demand.documents * demand.chunks_per_document;
    let spare = replicas as f64 * supply.tokens_per_s - load_tokens_per_s;
    let cost_per_month = supply.price_per_hour.map(|price| price * replicas as f64 * HOURS_A_MONTH);
    Ok(Plan {
        load_tokens_per_s,
        replicas_bare,
        replicas,
        bulk: bulk(vectors, vectors * demand.chunk_tokens, spare, supply),
        storage: StoredFormat::ALL
            .into_iter()
            .map(|format| storage(format, vectors, demand.dimensions, supply))
            .collect(),
        cost_per_month,
    })
}

fn bulk(vectors: f64, tokens: f64, spare_tokens_per_s: f64, supply: &Supply) -> Bulk {
    let replica_hours = tokens / supply.tokens_per_s / 3600.0;
    let spare_hours = (spare_tokens_per_s > 0.0).then(|| tokens / spare_tokens_per_s / 3600.0);
    Bulk {
        vectors,
        tokens,
        replica_hours,
        spare_hours,
        deadline_replicas: supply.bulk_days.map(|days| whole(replica_hours / (days * 24.0))),
        cost: supply.price_per_hour.map(|price| price * replica_hours),
    }
}

fn storage(format: StoredFormat, vectors: f64, dimensions: usize, supply: &Supply) -> Storage {
    let vector_bytes = format.vector_bytes(dimensions) as f64;
    let indexed = vector_bytes + supply.graph.bytes_per_vector();
    Storage {
        format,
        vectors_bytes: vectors * vector_bytes,
        indexed_bytes: vectors * indexed * f64::from(supply.copies),
    }
}

/// Rounds up to whole replicas. What floating point adds to a whole number does not count as
/// more, or else 10 × 1.3 would be 14.
fn whole(replicas: f64) -> u64 {
    let nearest = replicas.round();
    let rounded =
        if (replicas - nearest).abs() <= nearest * 1e-9 { nearest } else { replicas.ceil() };
    rounded as u64
}

/// Above this, products of the arguments would no longer be exact enough to round.
const MOST: f64 = 1e15;

fn check(demand: &Demand, supply: &Supply) -> Result<(), PlanProblem> {
    let positive = [
        ("chunks_per_document", demand.chunks_per_document),
        ("chunk_tokens", demand.chunk_tokens),
        ("query_tokens", demand.query_tokens),
        ("tokens_per_s", supply.tokens_per_s),
        ("bulk_days", supply.bulk_days.unwrap_or(1.0)),
    ];
    for (argument, given) in positive {
        // Written so that NaN is refused too.
        if !(given > 0.0 && given <= MOST) {
            return Err(PlanProblem { argument, given, allowed: "above 0 and at most 1e15" });
        }
    }
    let from_zero = [
        ("documents", demand.documents),
        ("queries_per_s", demand.queries_per_s),
        ("price_per_hour", supply.price_per_hour.unwrap_or(0.0)),
    ];
    for (argument, given) in from_zero {
        if !(0.0..=MOST).contains(&given) {
            return Err(PlanProblem { argument, given, allowed: "from 0 to 1e15" });
        }
    }
    if !(0.0..=10.0).contains(&supply.headroom) {
        let allowed = "from 0 to 10, where 0.3 is 30 %";
        return Err(PlanProblem { argument: "headroom", given: supply.headroom, allowed });
    }
    let counts = [
        ("dimensions", demand.dimensions as f64, 1.0, 1e6, "from 1 to 1,000,000"),
        ("copies", f64::from(supply.copies), 1.0, 100.0, "from 1 to 100"),
        ("neighbours", f64::from(supply.graph.neighbours), 2.0, 1024.0, "from 2 to 1,024"),
    ];
    for (argument, given, least, most, allowed) in counts {
        if !(least..=most).contains(&given) {
            return Err(PlanProblem { argument, given, allowed });
        }
    }
    Ok(())
}
