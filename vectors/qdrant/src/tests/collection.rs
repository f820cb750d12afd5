//! One collection of the double: bodies are checked strictly, searches are exact.

use std::collections::BTreeMap;

use headwater_vectors::{Metric, similarity};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// A result, or a status and its reason.
pub(super) type Reply = Result<Value, (u16, String)>;

pub(super) fn refuse(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

fn body<T: DeserializeOwned>(body: &Value) -> Result<T, (u16, String)> {
    T::deserialize(body)
        .map_err(|error| refuse(400, &format!("Format error in JSON body: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Creation {
    vectors: VectorParams,
    #[serde(default)]
    quantization_config: Option<Quantisation>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorParams {
    size: usize,
    distance: Distance,
    #[serde(default)]
    datatype: Option<Datatype>,
}

#[derive(Deserialize, Clone, Copy)]
enum Distance {
    Cosine,
    Dot,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Datatype {
    Float32,
    Float16,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Quantisation {
    Scalar(Scalar),
    Binary(Binary),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scalar {
    r#type: String,
    quantile: f64,
    always_ram: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Binary {
    always_ram: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Upsert {
    points: Vec<PointBody>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct PointBody {
    id: String,
    vector: Vec<f32>,
    payload: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retrieve {
    ids: Vec<String>,
    with_payload: bool,
    with_vector: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    points: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scroll {
    #[serde(default)]
    offset: Option<String>,
    limit: usize,
    with_payload: bool,
    with_vector: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountBody {
    exact: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryBody {
    query: Vec<f32>,
    limit: usize,
    with_payload: bool,
    with_vector: bool,
    #[serde(default)]
    filter: Option<Value>,
    #[serde(default)]
    params: Option<SearchParams>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchParams {
    quantization: QuantisationSearch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantisationSearch {
    rescore: bool,
    oversampling: f64,
}

/// Qdrant's order of UUIDs is that of their bytes, and so that of their text.
pub(super) struct Collection {
    creation: Value,
    size: usize,
    distance: Distance,
    is_quantised: bool,
    points: BTreeMap<String, PointBody>,
}

fn check_id(id: &str) -> Result<(), (u16, String)> {
    let parts: Vec<usize> = id.split('-').map(str::len).collect();
    let is_hex = id.bytes().all(|byte| byte == b'-' || matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if parts == [8, 4, 4, 4, 12] && is_hex { Ok(()) } else { Err(refuse(400, "no UUID")) }
}

impl Collection {
    pub(super) fn create(creation: &Value) -> Result<Self, (u16, String)> {
        let Creation { vectors, quantization_config, metadata } = body(creation)?;
        if vectors.size == 0 || vectors.size > 65_536 {
            return Err(refuse(422, "Validation error in JSON body: vectors.size"));
        }
        match &quantization_config {
            Some(Quantisation::Scalar(scalar)) if scalar.r#type != "int8" => {
                return Err(refuse(400, "unknown quantisation"));
            }
            // On disk the codes would save no memory, for which they are there.
            Some(
                Quantisation::Scalar(Scalar { always_ram: false, .. })
                | Quantisation::Binary(Binary { always_ram: false }),
            ) => return Err(refuse(400, "quantised vectors belong into memory")),
            Some(Quantisation::Scalar(scalar)) if !(0.5..=1.0).contains(&scalar.quantile) => {
                return Err(refuse(422, "Validation error in JSON body: quantile"));
            }
            _ => {}
        }
        let _ = (vectors.datatype, metadata);
        Ok(Collection {
            creation: creation.clone(),
            size: vectors.size,
            distance: vectors.distance,
            is_quantised: quantization_config.is_some(),
            points: BTreeMap::new(),
        })
    }

    pub(super) fn creation(&self) -> &Value {
        &self.creation
    }

    pub(super) fn info(&self) -> Value {
        let mut config = json!({ "params": { "vectors": self.creation["vectors"] } });
        if let Some(metadata) = self.creation.get("metadata") {
            config["metadata"] = metadata.clone();
        }
        json!({ "status": "green", "points_count": self.points.len(), "config": config })
    }

    fn check_size(&self, vector: &[f32]) -> Result<(), (u16, String)> {
        if vector.len() == self.size {
            return Ok(());
        }
        Err(refuse(400, "Wrong input: Vector dimension error"))
    }

    pub(super) fn upsert(&mut self, request: &Value) -> Reply {
        let Upsert { points } = body(request)?;
        if points.is_empty() {
            return Err(refuse(400, "Empty update request"));
        }
        for point in &points {
            check_id(&point.id)?;
            self.check_size(&point.vector)?;
        }
        for mut point in points {
            if matches!(self.distance, Distance::Cosine) {
                let length = point.vector.iter().map(|part| part * part).sum::<f32>().sqrt();
                if length > 0.0 {
                    point.vector.iter_mut().for_each(|part| *part /= length);
                }
            }
            self.points.insert(point.id.clone(), point);
        }
        Ok(json!({ "operation_id": 1, "status": "completed" }))
    }

    pub(super) fn delete(&mut self, request: &Value) -> Reply {
        let Delete { points } = body(request)?;
        for id in points {
            check_id(&id)?;
            self.points.remove(&id);
        }
        Ok(json!({ "operation_id": 2, "status": "completed" }))
    }

    pub(super) fn retrieve(&self, request: &Value) -> Reply {
        let Retrieve { ids, with_payload, with_vector } = body(request)?;
        ids.iter().try_for_each(|id| check_id(id))?;
        let mut found: Vec<&PointBody> = ids.iter().filter_map(|id| self.points.get(id)).collect();
        // In no order of the caller's, and each once.
        found.sort_by(|left, right| left.id.cmp(&right.id));
        found.dedup_by(|left, right| left.id == right.id);
        Ok(found.into_iter().map(|point| told(point, with_payload, with_vector)).collect())
    }

    pub(super) fn scroll(&self, request: &Value) -> Reply {
        let Scroll { offset, limit, with_payload, with_vector } = body(request)?;
        if limit == 0 {
            return Err(refuse(422, "Validation error in JSON body: limit"));
        }
        let begin = offset.unwrap_or_default();
        let mut points = self.points.range(begin..).map(|(_, point)| point);
        let page: Vec<Value> = points
            .by_ref()
            .take(limit)
            .map(|point| told(point, with_payload, with_vector))
            .collect();
        let next = points.next().map(|point| point.id.clone());
        Ok(json!({ "points": page, "next_page_offset": next }))
    }

    pub(super) fn count(&self, request: &Value) -> Reply {
        let CountBody { exact } = body(request)?;
        // An approximate count may be anything near.
        let count = if exact { self.points.len() } else { self.points.len() + 1 };
        Ok(json!({ "count": count }))
    }

    pub(super) fn query(&self, request: &Value) -> Reply {
        let asked: QueryBody = body(request)?;
        self.check_size(&asked.query)?;
        if asked.limit == 0 {
            return Err(refuse(422, "Validation error in JSON body: limit"));
        }
        let is_right = match &asked.params {
            Some(SearchParams { quantization }) => {
                self.is_quantised && quantization.rescore && quantization.oversampling >= 1.0
            }
            None => !self.is_quantised,
        };
        if !is_right {
            return Err(refuse(400, "quantisation asked of the wrong collection"));
        }
        let metric = match self.distance {
            Distance::Cosine => Metric::Cosine,
            Distance::Dot => Metric::Dot,
        };
        let mut hits = Vec::new();
        for point in self.points.values() {
            let passes = asked.filter.as_ref().map_or(Ok(true), |filter| passes(filter, point))?;
            if passes {
                hits.push((similarity(metric, &asked.query, &point.vector), point));
            }
        }
        hits.sort_by(|left, right| right.0.total_cmp(&left.0));
        let told = hits.into_iter().take(asked.limit).map(|(score, point)| {
            let mut hit = told(point, asked.with_payload, asked.with_vector);
            hit["score"] = json!(score);
            hit["version"] = json!(1);
            hit
        });
        Ok(json!({ "points": told.collect::<Vec<_>>() }))
    }
}

fn told(point: &PointBody, with_payload: bool, with_vector: bool) -> Value {
    let mut told = json!({ "id": point.id });
    if with_payload {
        told["payload"] = json!(point.payload);
    }
    if with_vector {
        told["vector"] = json!(point.vector);
    }
    told
}

/// Whether a point passes a filter, or a single condition, as the documentation has it.
fn passes(condition: &Value, point: &PointBody) -> Result<bool, (u16, String)> {
    let wrong = |what: &str| refuse(400, &format!("no filter: {what} in {condition}"));
    let parts = condition.as_object().ok_or_else(|| wrong("no object"))?;
    if let Some(ids) = parts.get("has_id") {
        let ids = ids.as_array().ok_or_else(|| wrong("has_id"))?;
        return Ok(ids.iter().any(|id| id == &json!(point.id)));
    }
    if let Some(key) = parts.get("key") {
        let value = at(point, key.as_str().ok_or_else(|| wrong("key"))?)?;
        return compares(parts, value).ok_or_else(|| wrong("match or range"));
    }
    let list = |name: &str| -> Result<Vec<bool>, (u16, String)> {
        let Some(list) = parts.get(name) else { return Ok(Vec::new()) };
        let list = list.as_array().ok_or_else(|| wrong(name))?;
        list.iter().map(|part| passes(part, point)).collect()
    };
    if let Some(other) =
        parts.keys().find(|key| !["must", "should", "must_not"].contains(&key.as_str()))
    {
        return Err(wrong(other));
    }
    let (must, should, must_not) = (list("must")?, list("should")?, list("must_not")?);
    let any = should.is_empty() || should.contains(&true);
    Ok(!must.contains(&false) && any && !must_not.contains(&true))
}

/// The value at a path such as `source` or `fields."name"`.
fn at<'a>(point: &'a PointBody, path: &str) -> Result<Option<&'a Value>, (u16, String)> {
    match path.split_once('.') {
        None => Ok(point.payload.get(path)),
        Some(("fields", quoted)) => {
            let name = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let name = name.filter(|name| !name.contains('"'));
            Ok(point.payload["fields"].get(name.ok_or_else(|| refuse(400, "a wrong path"))?))
        }
        Some(_) => Err(refuse(400, "a wrong path")),
    }
}

/// `None` for what is neither a match nor a range.
fn compares(condition: &Map<String, Value>, value: Option<&Value>) -> Option<bool> {
    if let Some(wanted) = condition.get("match") {
        let wanted = wanted.get("value")?;
        let is_one = wanted.is_string() || wanted.is_boolean() || wanted.is_i64();
        return is_one.then(|| value == Some(wanted));
    }
    let range = condition.get("range")?.as_object()?;
    let (low, high) =
        (range.get("gte").and_then(Value::as_f64), range.get("lte").and_then(Value::as_f64));
    let number = value.and_then(Value::as_f64);
    Some(number.is_some_and(|number| {
        low.is_none_or(|low| number >= low) && high.is_none_or(|high| number <= high)
    }))
}
