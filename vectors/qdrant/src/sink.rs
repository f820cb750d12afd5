//! The sink: the port's calls as Qdrant's.

use std::collections::BTreeMap;
use std::fmt::Write;

use async_trait::async_trait;
use headwater_vectors::{
    Hit, Metric, NumberFormat, Record, RecordId, SearchQuery, Sink, SinkError, Space, Value,
};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::QdrantSettings;
use crate::client::{Answer, Client};
use crate::filter::translate;
use crate::wire::{CollectionInfo, Count, Page, Point, Points, creation, point, point_id};

/// Most points of one request, and their components: some 8 MB of JSON, of the 32 MB that
/// Qdrant takes.
const POINTS_MAX: usize = 256;
const COMPONENTS_MAX: usize = 600_000;
/// Longest name of a collection, in bytes; Qdrant names a folder by it.
const COLLECTION_BYTES_MAX: usize = 230;
/// How many more candidates a quantised search looks at before it rescores.
const I8_OVERSAMPLING: f64 = 2.0;
const BINARY_OVERSAMPLING: f64 = 4.0;

/// The sink; cheap to clone.
#[derive(Clone)]
pub struct QdrantSink {
    client: Client,
    prefix: String,
}

fn no_space(name: &str) -> SinkError {
    SinkError::Space(format!("there is no space '{name}'; create it first"))
}

fn points_at_once(dimensions: usize) -> usize {
    (COMPONENTS_MAX / dimensions.max(1)).clamp(1, POINTS_MAX)
}

impl QdrantSink {
    /// A sink over a server. It does nothing until it is called.
    ///
    /// # Errors
    /// [`SinkError::Request`] for an address or an api key that cannot be used.
    pub fn new(settings: QdrantSettings) -> Result<Self, SinkError> {
        let prefix = settings.collection_prefix.clone();
        Ok(QdrantSink { client: Client::new(settings)?, prefix })
    }

    /// The path of the space's collection. What a folder or an address may not hold is written
    /// as `~` and two digits.
    fn path(&self, name: &str) -> Result<String, SinkError> {
        let mut collection = String::new();
        for byte in self.prefix.bytes().chain(name.bytes()) {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
                collection.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(collection, "~{byte:02x}");
            }
        }
        if name.is_empty() || collection.len() > COLLECTION_BYTES_MAX {
            return Err(SinkError::Request(format!(
                "the name of the space '{name}' is empty or needs {} bytes as a collection's; give \
                 it 1 to {COLLECTION_BYTES_MAX}, where letters, digits, '-', '_' and '.' take one \
                 and others three",
                collection.len()
            )));
        }
        Ok(format!("/collections/{collection}"))
    }

    async fn find(&self, name: &str) -> Result<Option<Space>, SinkError> {
        let path = self.path(name)?;
        match self.client.call::<CollectionInfo>(Method::GET, &path, None).await? {
            Answer::Result(info) => info.into_space(name).map(Some),
            Answer::Missing | Answer::Conflict => Ok(None),
        }
    }

    async fn known(&self, name: &str) -> Result<Space, SinkError> {
        self.find(name).await?.ok_or_else(|| no_space(name))
    }

    /// Calls below the space's collection.
    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        name: &str,
        rest: &str,
        body: &Json,
    ) -> Result<T, SinkError> {
        let path = format!("{}{rest}", self.path(name)?);
        let answer = self.client.call(method, &path, Some(body)).await?;
        answer.result(|| no_space(name))
    }
}

fn check_fields(record: &Record) -> Result<(), SinkError> {
    let is_wrong = |value: &Value| matches!(value, Value::Number(value) if !value.is_finite());
    match record.fields.iter().find(|(_, value)| is_wrong(value)) {
        None => Ok(()),
        Some((name, _)) => Err(SinkError::Request(format!(
            "the field '{name}' is not finite; Qdrant keeps fields as JSON, give it a number"
        ))),
    }
}

fn is_same(found: &Space, wanted: &Space) -> Result<(), SinkError> {
    if found == wanted {
        return Ok(());
    }
    Err(SinkError::Space(format!(
        "the space '{}' is there with another version, length, metric or format; drop it first",
        wanted.name
    )))
}

fn search_body(space: &Space, query: &SearchQuery) -> Result<Json, SinkError> {
    let mut body = json!({
        "query": query.vector,
        "limit": query.limit,
        "with_payload": true,
        "with_vector": true,
    });
    if let Some(filter) = &query.filter {
        body["filter"] = translate(filter)?;
    }
    let oversampling = match space.format {
        NumberFormat::I8 => I8_OVERSAMPLING,
        NumberFormat::Binary => BINARY_OVERSAMPLING,
        NumberFormat::F32 | NumberFormat::F16 => return Ok(body),
    };
    body["params"] = json!({ "quantization": { "rescore": true, "oversampling": oversampling } });
    Ok(body)
}

fn told(points: Vec<Point>, metric: Metric) -> Result<Vec<Record>, SinkError> {
    points.into_iter().map(|point| point.into_record(metric)).collect()
}

#[async_trait]
impl Sink for QdrantSink {
    fn name(&self) -> &'static str {
        "qdrant"
    }

    async fn create(&self, space: &Space) -> Result<(), SinkError> {
        if space.dimensions == 0 {
            let text = "dimensions is 0; a vector has at least one component";
            return Err(SinkError::Request(text.to_owned()));
        }
        if let Some(found) = self.find(&space.name).await? {
            return is_same(&found, space);
        }
        let path = self.path(&space.name)?;
        let body = creation(space);
        match self.client.call::<bool>(Method::PUT, &path, Some(&body)).await? {
            Answer::Result(_) => Ok(()),
            // Someone else was faster, or an earlier try of this call.
            Answer::Conflict | Answer::Missing => is_same(&self.known(&space.name).await?, space),
        }
    }

    async fn space(&self, name: &str) -> Result<Option<Space>, SinkError> {
        self.find(name).await
    }

    async fn drop_space(&self, name: &str) -> Result<(), SinkError> {
        let path = self.path(name)?;
        self.client.call::<bool>(Method::DELETE, &path, None).await.map(|_| ())
    }

    async fn upsert(&self, space: &str, records: Vec<Record>) -> Result<(), SinkError> {
        let known = self.known(space).await?;
        for record in &records {
            known.admits_vector(&record.version, &record.vector)?;
            check_fields(record)?;
        }
        // The last one of several with one id counts.
        let records: BTreeMap<RecordId, Record> =
            records.into_iter().map(|record| (record.id, record)).collect();
        let records: Vec<&Record> = records.values().collect();
        for records in records.chunks(points_at_once(known.dimensions)) {
            let points: Vec<Json> = records.iter().map(|record| point(record)).collect();
            let body = json!({ "points": points });
            let rest = "/points?wait=true&ordering=strong";
            self.call::<Json>(Method::PUT, space, rest, &body).await?;
        }
        Ok(())
    }

    async fn delete(&self, space: &str, ids: &[RecordId]) -> Result<(), SinkError> {
        for ids in ids.chunks(POINTS_MAX) {
            let ids: Vec<String> = ids.iter().map(point_id).collect();
            let rest = "/points/delete?wait=true&ordering=strong";
            self.call::<Json>(Method::POST, space, rest, &json!({ "points": ids })).await?;
        }
        Ok(())
    }

    async fn get(&self, space: &str, ids: &[RecordId]) -> Result<Vec<Option<Record>>, SinkError> {
        let known = self.known(space).await?;
        let mut found: BTreeMap<RecordId, Record> = BTreeMap::new();
        for ids in ids.chunks(points_at_once(known.dimensions)) {
            let ids: Vec<String> = ids.iter().map(point_id).collect();
            let body = json!({ "ids": ids, "with_payload": true, "with_vector": true });
            let points: Vec<Point> = self.call(Method::POST, space, "/points", &body).await?;
            let records = told(points, known.metric)?;
            found.extend(records.into_iter().map(|record| (record.id, record)));
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn page(
        &self,
        space: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, SinkError> {
        let known = self.known(space).await?;
        let mut page: Vec<Record> = Vec::new();
        let mut offset = after.map(|after| Json::from(point_id(&after)));
        while page.len() < limit {
            // Qdrant begins at the offset itself, which may be the record to begin behind.
            let wanted = (limit - page.len()).min(points_at_once(known.dimensions)) + 1;
            let mut body = json!({ "limit": wanted, "with_payload": true, "with_vector": true });
            if let Some(offset) = &offset {
                body["offset"] = offset.clone();
            }
            let read: Page = self.call(Method::POST, space, "/points/scroll", &body).await?;
            let records = told(read.points, known.metric)?.into_iter();
            page.extend(records.filter(|record| after.is_none_or(|after| record.id > after)));
            offset = read.next_page_offset.filter(|next| !next.is_null());
            if offset.is_none() {
                break;
            }
        }
        page.truncate(limit);
        Ok(page)
    }

    async fn count(&self, space: &str) -> Result<u64, SinkError> {
        let body = json!({ "exact": true });
        let count: Count = self.call(Method::POST, space, "/points/count", &body).await?;
        Ok(count.count)
    }

    async fn search(&self, space: &str, query: &SearchQuery) -> Result<Vec<Hit>, SinkError> {
        let known = self.known(space).await?;
        query.check(&known)?;
        let body = search_body(&known, query)?;
        let found: Points = self.call(Method::POST, space, "/points/query", &body).await?;
        let hit = |point: Point| {
            let score = point.score;
            point.into_record(known.metric).map(|record| Hit { record, score })
        };
        let mut hits: Vec<Hit> = found.points.into_iter().map(hit).collect::<Result<_, _>>()?;
        // A space dropped and created anew between the two calls may have another version.
        if let Some(hit) = hits.iter().find(|hit| hit.record.version != known.version) {
            known.admits(&hit.record.version, known.dimensions)?;
        }
        hits.sort_by(|left, right| {
            right.score.total_cmp(&left.score).then(left.record.id.cmp(&right.record.id))
        });
        Ok(hits)
    }
}
