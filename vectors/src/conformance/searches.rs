//! Searching.

use super::data::{Case, DIMENSIONS, id, ids, is_near, nearest, query, record, records};
use super::{Outcome, is_request, is_version, refused, same, told};
use crate::{
    Filter, HITS_MAX, Hit, Metric, NumberFormat, Record, RecordId, SearchQuery, Space, Value,
    similarity,
};

const HITS: usize = 10;
const QUERIES: usize = 30;

fn found(hits: &[Hit]) -> Vec<RecordId> {
    hits.iter().map(|hit| hit.record.id).collect()
}

pub(super) async fn queries_that_do_not_fit_are_refused(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let records = records(&mut case.draw(), 3);
    case.upsert(&name, &records).await?;
    let good = query(&records[0].vector, 3);
    let other = SearchQuery { version: "version-2".to_owned(), ..good.clone() };
    let mut long = good.clone();
    long.vector.push(0.0);
    for (what, query) in [("another version", other), ("a longer vector", long)] {
        refused(what, "version", case.sink.search(&name, &query).await, is_version)?;
    }
    let mut broken = good.clone();
    broken.vector[0] = f32::NAN;
    for (what, query) in [
        ("a component NaN", broken),
        ("a limit of 0", SearchQuery { limit: 0, ..good.clone() }),
        ("a limit too large", SearchQuery { limit: HITS_MAX + 1, ..good.clone() }),
    ] {
        refused(what, "request", case.sink.search(&name, &query).await, is_request)?;
    }
    same("the hits of the good one", case.search(&name, &good).await?.len(), 3)
}

fn filters() -> Vec<Filter> {
    let text = |value: &str| Value::Text(value.to_owned());
    let equal = |name: &str, value: Value| Filter::Equal(name.to_owned(), value);
    let one_of = |name: &str, values: Vec<Value>| Filter::OneOf(name.to_owned(), values);
    let between = |low, high| Filter::Between("number".to_owned(), low, high);
    vec![
        equal("color", text("red")),
        equal("color", text("RED")),
        equal("even", Value::Bool(true)),
        equal("even", text("true")),
        equal("number", Value::Number(31.0)),
        equal("number", Value::Number(31.5)),
        equal("missing", Value::Bool(false)),
        one_of("color", vec![text("red"), text("blue"), text("pink")]),
        one_of("number", vec![Value::Number(1.0), Value::Number(2.0), text("3")]),
        one_of("even", vec![Value::Bool(false)]),
        one_of("color", vec![]),
        between(Some(10.0), Some(20.0)),
        between(None, Some(3.0)),
        between(Some(50.0), None),
        between(None, None),
        between(Some(20.0), Some(10.0)),
        Filter::Between("color".to_owned(), None, None),
        Filter::Source("document-3".to_owned()),
        Filter::Source("document".to_owned()),
        Filter::All(vec![]),
        Filter::Any(vec![]),
        Filter::All(vec![equal("color", text("green")), between(Some(30.0), None)]),
        Filter::Any(vec![equal("color", text("green")), Filter::Source("document-0".to_owned())]),
        Filter::Not(Box::new(equal("color", text("red")))),
        Filter::Not(Box::new(Filter::Source("document-1".to_owned()))),
        Filter::Not(Box::new(Filter::Any(vec![]))),
        Filter::Not(Box::new(Filter::All(vec![
            equal("even", Value::Bool(true)),
            Filter::Not(Box::new(between(Some(5.0), Some(40.0)))),
        ]))),
    ]
}

pub(super) async fn every_filter_finds_what_passes_it(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let records = records(&mut case.draw(), 60);
    case.upsert(&name, &records).await?;
    let vector = case.draw().vector(DIMENSIONS);
    for filter in filters() {
        let passing = records.iter().filter(|record| filter.passes(&record.source, &record.fields));
        let passing: Vec<Record> = passing.cloned().collect();
        for limit in [60, 3] {
            let query = SearchQuery { filter: Some(filter.clone()), ..query(&vector, limit) };
            let hits = case.search(&name, &query).await?;
            let expected = nearest(Metric::Cosine, &passing, &vector, limit);
            same(&format!("the {limit} nearest of {filter:?}"), found(&hits), expected)?;
        }
    }
    Ok(())
}

/// The share of the ten nearest that a format must find, among drawn vectors of 64 components:
/// the hardest there are, since they have no clusters.
fn recall_min(format: NumberFormat) -> f64 {
    match format {
        NumberFormat::F32 => 0.99,
        NumberFormat::F16 => 0.97,
        NumberFormat::I8 => 0.9,
        NumberFormat::Binary => 0.3,
    }
}

pub(super) async fn the_nearest_come_first_in_every_format(case: &Case<'_>) -> Outcome {
    for metric in [Metric::Cosine, Metric::Dot] {
        for format in NumberFormat::ALL {
            let name = match metric {
                Metric::Cosine => "cosine",
                Metric::Dot => "dot",
            };
            let space = case.space(&format!("{name}/{}", format.name()), metric, format);
            check_nearest(case, &space).await?;
        }
    }
    Ok(())
}

async fn check_nearest(case: &Case<'_>, space: &Space) -> Outcome {
    let mut draw = case.draw();
    // More than an i8 space needs for its calibration.
    let records = records(&mut draw, 1_200);
    case.create(space).await?;
    for records in records.chunks(300) {
        case.upsert(&space.name, records).await?;
    }
    let place = format!("{:?} in {}", space.metric, space.format.name());
    let mut met = 0;
    for number in 0..QUERIES {
        // Near one record, so that even a bit for a component tells it from the others.
        let near = &records[number * 17];
        let vector: Vec<f32> =
            near.vector.iter().map(|component| component + 0.3 * draw.component()).collect();
        let hits = case.search(&space.name, &query(&vector, HITS)).await?;
        same(&format!("the number of hits by {place}"), hits.len(), HITS)?;
        same(&format!("the nearest by {place}"), hits[0].record.id, near.id)?;
        for pair in hits.windows(2) {
            if pair[0].score < pair[1].score {
                return Err(format!("by {place} the hits are not in the order of their scores"));
            }
        }
        for hit in &hits {
            let exact = similarity(space.metric, &vector, &hit.record.vector);
            if space.format != NumberFormat::Binary && (hit.score - exact).abs() > 0.01 {
                return Err(format!("by {place} a score is {}, it must be {exact}", hit.score));
            }
        }
        let exact = nearest(space.metric, &records, &vector, HITS);
        met += found(&hits).iter().filter(|id| exact.contains(id)).count();
    }
    let recall = met as f64 / (HITS * QUERIES) as f64;
    if recall < recall_min(space.format) {
        let min = recall_min(space.format);
        return Err(format!("the recall by {place} is {recall}, it must be at least {min}"));
    }
    Ok(())
}

pub(super) async fn equal_scores_are_ordered_by_id(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let vector = case.draw().vector(DIMENSIONS);
    let records: Vec<Record> = (0..20).map(|number| record(number, vector.clone())).collect();
    case.upsert(&name, &records).await?;
    let mut sorted = ids(&records);
    sorted.sort();
    let hits = case.search(&name, &query(&vector, 20)).await?;
    same("the order of equal hits", found(&hits), sorted)
}

pub(super) async fn the_limit_bounds_the_hits(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let vector = case.draw().vector(DIMENSIONS);
    same("the hits of an empty space", case.search(&name, &query(&vector, 5)).await?, Vec::new())?;
    let records = records(&mut case.draw(), 30);
    case.upsert(&name, &records).await?;
    let all = found(&case.search(&name, &query(&vector, HITS_MAX)).await?);
    same("the number of all hits", all.len(), 30)?;
    for limit in [1, 2, 29, 30, 31] {
        let hits = case.search(&name, &query(&vector, limit)).await?;
        same(&format!("the {limit} nearest"), found(&hits), all[..limit.min(30)].to_vec())?;
    }
    Ok(())
}

pub(super) async fn a_search_sees_every_earlier_call(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let mut draw = case.draw();
    let others = records(&mut draw, 50);
    case.upsert(&name, &others).await?;
    for number in 100..120 {
        let one = record(number, draw.vector(DIMENSIONS));
        let query = query(&one.vector, 1);
        case.upsert(&name, std::slice::from_ref(&one)).await?;
        same("the nearest", found(&case.search(&name, &query).await?), vec![one.id])?;
        let moved = Record { vector: draw.vector(DIMENSIONS), ..one.clone() };
        case.upsert(&name, std::slice::from_ref(&moved)).await?;
        let hits = case.search(&name, &query).await?;
        let is_there = hits.iter().any(|hit| is_near(&hit.record.vector, &one.vector));
        same("whether the old vector is found", is_there, false)?;
        case.sink.delete(&name, &[one.id]).await.map_err(told("delete"))?;
        let moved = SearchQuery { vector: moved.vector, limit: 50, ..query };
        let is_there = found(&case.search(&name, &moved).await?).contains(&id(number));
        same("whether a deleted record is found", is_there, false)?;
    }
    Ok(())
}

pub(super) async fn a_vector_of_zeros_is_near_nothing(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let mut draw = case.draw();
    let zeros = record(1, vec![0.0; DIMENSIONS]);
    let other = record(2, draw.vector(DIMENSIONS));
    case.upsert(&name, &[zeros.clone(), other.clone()]).await?;
    let hits = case.search(&name, &query(&other.vector, 2)).await?;
    same("the hits", found(&hits), vec![other.id, zeros.id])?;
    same("the score of zeros", hits[1].score, 0.0)?;
    let hits = case.search(&name, &query(&zeros.vector, 2)).await?;
    let scores: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
    same("the scores of a query of zeros", scores, vec![0.0, 0.0])
}
