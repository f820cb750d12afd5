//! Spaces, writing and reading.

use std::collections::BTreeMap;

use super::data::{
    Case, DIMENSIONS, check_all, check_kept, id, ids, is_near, query, record, records,
};
use super::{Outcome, is_request, is_space, is_version, refused, same, told};
use crate::{Metric, NumberFormat, Record, Space, Value};

fn there(records: Vec<Option<Record>>) -> Vec<Record> {
    records.into_iter().flatten().collect()
}

pub(super) async fn a_space_is_created_once_and_found(case: &Case<'_>) -> Outcome {
    let space = case.space("a", Metric::Dot, NumberFormat::F16);
    same("a missing space", case.sink.space(&space.name).await.map_err(told("space"))?, None)?;
    case.create(&space).await?;
    case.create(&space).await?;
    let found = case.sink.space(&space.name).await.map_err(told("space"))?;
    same("the space", found, Some(space.clone()))?;
    same("its count", case.count(&space.name).await?, 0)
}

pub(super) async fn a_space_of_another_kind_is_refused(case: &Case<'_>) -> Outcome {
    let space = case.space("a", Metric::Cosine, NumberFormat::F32);
    case.create(&space).await?;
    for other in [
        Space { version: "version-2".to_owned(), ..space.clone() },
        Space { dimensions: 65, ..space.clone() },
        Space { metric: Metric::Dot, ..space.clone() },
        Space { format: NumberFormat::I8, ..space.clone() },
    ] {
        let what = format!("creating {other:?}");
        refused(&what, "space", case.sink.create(&other).await, is_space)?;
    }
    let found = case.sink.space(&space.name).await.map_err(told("space"))?;
    same("the space", found, Some(space))
}

pub(super) async fn calls_on_a_missing_space_are_refused(case: &Case<'_>) -> Outcome {
    let name = case.space("missing", Metric::Cosine, NumberFormat::F32).name;
    let records = records(&mut case.draw(), 1);
    let query = query(&records[0].vector, 1);
    let ids = ids(&records);
    refused("upsert", "space", case.sink.upsert(&name, records).await, is_space)?;
    refused("delete", "space", case.sink.delete(&name, &ids).await, is_space)?;
    refused("get", "space", case.sink.get(&name, &ids).await, is_space)?;
    refused("page", "space", case.sink.page(&name, None, 1).await, is_space)?;
    refused("count", "space", case.sink.count(&name).await, is_space)?;
    refused("search", "space", case.sink.search(&name, &query).await, is_space)?;
    case.sink.drop_space(&name).await.map_err(told("drop_space"))
}

pub(super) async fn a_dropped_space_takes_its_records_along(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let old = records(&mut case.draw(), 20);
    let query = query(&old[0].vector, 5);
    case.upsert(&name, &old).await?;
    same("the hits", case.search(&name, &query).await?.len(), 5)?;
    case.sink.drop_space(&name).await.map_err(told("drop_space"))?;
    case.sink.drop_space(&name).await.map_err(told("drop_space"))?;
    refused("a search", "space", case.sink.search(&name, &query).await, is_space)?;
    case.plain().await?;
    same("the new space's count", case.count(&name).await?, 0)?;
    same("the new space's hits", case.search(&name, &query).await?, Vec::new())?;
    let page = case.sink.page(&name, None, 10).await.map_err(told("page"))?;
    same("the new space's records", page, Vec::new())?;
    case.upsert(&name, &old[3..4]).await?;
    let hits = case.search(&name, &query).await?;
    let found: Vec<Record> = hits.into_iter().map(|hit| hit.record).collect();
    same("the new space's hits", ids(&found), ids(&old[3..4]))
}

pub(super) async fn what_does_not_fit_is_refused_with_nothing_written(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let good = records(&mut case.draw(), 3);
    let with = |change: &dyn Fn(&mut Record)| {
        let mut records = good.clone();
        change(&mut records[2]);
        records
    };
    let wrong = [
        ("another version", with(&|record| record.version = "version-2".to_owned())),
        ("a longer vector", with(&|record| record.vector.push(0.5))),
        ("an empty vector", with(&|record| record.vector.clear())),
    ];
    for (what, records) in wrong {
        refused(what, "version", case.sink.upsert(&name, records).await, is_version)?;
    }
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let records = with(&|record| record.vector[7] = number);
        let answer = case.sink.upsert(&name, records).await;
        refused(&format!("a component {number}"), "request", answer, is_request)?;
    }
    same("the count", case.count(&name).await?, 0)?;
    let kept = case.sink.get(&name, &ids(&good)).await.map_err(told("get"))?;
    same("the records", kept, vec![None; 3])
}

pub(super) async fn a_record_replaces_the_one_with_its_id(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let mut draw = case.draw();
    let old = records(&mut draw, 10);
    case.upsert(&name, &old).await?;
    same("the hits", case.search(&name, &query(&old[4].vector, 1)).await?.len(), 1)?;
    let mut new = Record { id: old[4].id, ..records(&mut draw, 1).remove(0) };
    new.source = "another".to_owned();
    new.fields = BTreeMap::from([("only".to_owned(), Value::Bool(true))]);
    case.upsert(&name, std::slice::from_ref(&new)).await?;
    same("the count", case.count(&name).await?, 10)?;
    let kept = case.sink.get(&name, &[new.id]).await.map_err(told("get"))?;
    check_all("the new record", &there(kept), std::slice::from_ref(&new))?;
    let hits = case.search(&name, &query(&new.vector, 1)).await?;
    let nearest: Vec<Record> = hits.into_iter().map(|hit| hit.record).collect();
    check_all("the nearest", &nearest, std::slice::from_ref(&new))?;
    let hits = case.search(&name, &query(&old[4].vector, 10)).await?;
    same("the hits", hits.len(), 10)?;
    let is_there = hits.iter().any(|hit| is_near(&hit.record.vector, &old[4].vector));
    same("whether the old vector is found", is_there, false)?;
    let last = Record { source: "last".to_owned(), ..new.clone() };
    case.upsert(&name, &[new.clone(), old[1].clone(), last.clone()]).await?;
    let kept = case.sink.get(&name, &[new.id]).await.map_err(told("get"))?;
    check_all("the last of two in one call", &there(kept), &[last])
}

pub(super) async fn repeating_a_call_changes_nothing(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let records = records(&mut case.draw(), 30);
    let query = query(&records[0].vector, 30);
    let removed = ids(&records[..5]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        case.upsert(&name, &records).await?;
        case.sink.delete(&name, &removed).await.map_err(told("delete"))?;
        case.sink.delete(&name, &removed).await.map_err(told("delete"))?;
        case.upsert(&name, &records[5..9]).await?;
        let state = (
            case.count(&name).await?,
            case.all(&name, 100).await?,
            case.search(&name, &query).await?,
        );
        seen.push(state);
    }
    same("the count", seen[0].0, 25)?;
    same("the hits", seen[0].2.len(), 25)?;
    same("the second round's state", &seen[1], &seen[0])?;
    same("the third round's state", &seen[2], &seen[0])
}

pub(super) async fn records_come_back_whole_in_every_format(case: &Case<'_>) -> Outcome {
    for format in NumberFormat::ALL {
        let space = case.space(format.name(), Metric::Dot, format);
        case.create(&space).await?;
        let mut written = records(&mut case.draw(), 40);
        written[1].model = "the model by another name".to_owned();
        written[1].source = "日本語/文書 \"1\"\n".to_owned();
        written[2].fields = BTreeMap::from([
            ("empty".to_owned(), Value::Text(String::new())),
            ("text".to_owned(), Value::Text("„quoted“ \\ und\ttab".to_owned())),
            ("negative".to_owned(), Value::Number(-0.125)),
            ("large".to_owned(), Value::Number(1e15)),
            ("a.b".to_owned(), Value::Bool(false)),
        ]);
        written[3].fields.clear();
        case.upsert(&space.name, &written).await?;
        let found = case.sink.get(&space.name, &ids(&written)).await.map_err(told("get"))?;
        for (found, written) in found.iter().zip(&written) {
            let found = found.as_ref().ok_or_else(|| format!("{written:?} was not found"))?;
            check_kept(format, found, written)?;
        }
        let hits = case.search(&space.name, &query(&written[1].vector, 40)).await?;
        same("the hits", hits.len(), 40)?;
        for hit in hits {
            let written = written.iter().find(|written| written.id == hit.record.id);
            check_kept(format, &hit.record, written.ok_or("a hit is none of the records")?)?;
        }
    }
    Ok(())
}

pub(super) async fn get_keeps_the_order_of_the_ids(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let records = records(&mut case.draw(), 6);
    case.upsert(&name, &records).await?;
    let wanted = [id(4), id(900), id(0), id(4), id(901)];
    let found = case.sink.get(&name, &wanted).await.map_err(told("get"))?;
    let is_there: Vec<bool> = found.iter().map(Option::is_some).collect();
    same("which records are there", is_there, vec![true, false, true, true, false])?;
    let at = |number: usize| records[number].clone();
    check_all("the records", &there(found), &[at(4), at(0), at(4)])?;
    let none = case.sink.get(&name, &[]).await.map_err(told("get"))?;
    same("the records of no id", none, Vec::new())
}

pub(super) async fn pages_follow_the_ids(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let written = records(&mut case.draw(), 100);
    case.upsert(&name, &written).await?;
    let mut sorted = written;
    sorted.sort_by_key(|record| record.id);
    for limit in [1, 7, 50, 99, 100, 1_000, usize::MAX] {
        check_all(&format!("pages of {limit}"), &case.all(&name, limit).await?, &sorted)?;
    }
    let none = case.sink.page(&name, None, 0).await.map_err(told("page"))?;
    same("a page of none", none, Vec::new())?;
    let mut missing = sorted[50].id;
    missing.0[31] ^= 1;
    let behind = sorted.iter().find(|record| record.id > missing).map(|record| record.id);
    let page = case.sink.page(&name, Some(missing), 1).await.map_err(told("page"))?;
    same("the page behind an id that is not there", page.first().map(|record| record.id), behind)
}

pub(super) async fn deleted_records_are_gone(case: &Case<'_>) -> Outcome {
    let name = case.plain().await?;
    let records = records(&mut case.draw(), 12);
    case.upsert(&name, &records).await?;
    same("the hits", case.search(&name, &query(&records[2].vector, 12)).await?.len(), 12)?;
    let gone = [id(2), id(999), id(7), id(2)];
    case.sink.delete(&name, &gone).await.map_err(told("delete"))?;
    case.sink.delete(&name, &[]).await.map_err(told("delete"))?;
    same("the count", case.count(&name).await?, 10)?;
    same("the records", case.all(&name, 5).await?.len(), 10)?;
    let kept = case.sink.get(&name, &gone).await.map_err(told("get"))?;
    same("the deleted records", kept, vec![None; 4])?;
    let hits = case.search(&name, &query(&records[2].vector, 12)).await?;
    same("the hits", hits.len(), 10)?;
    let is_found = hits.iter().any(|hit| gone.contains(&hit.record.id));
    same("whether a deleted one is found", is_found, false)?;
    case.upsert(&name, &records[2..3]).await?;
    let hits = case.search(&name, &query(&records[2].vector, 1)).await?;
    same("the nearest, written again", hits.first().map(|hit| hit.record.id), Some(id(2)))
}

pub(super) async fn a_large_call_is_written_whole(case: &Case<'_>) -> Outcome {
    for format in [NumberFormat::F32, NumberFormat::I8] {
        let space = case.space(format.name(), Metric::Cosine, format);
        case.create(&space).await?;
        let mut draw = case.draw();
        let mut written = records(&mut draw, 1_500);
        written.extend((0..100).map(|number| record(number, draw.vector(DIMENSIONS))));
        case.upsert(&space.name, &written).await?;
        same("the count", case.count(&space.name).await?, 1_500)?;
        // Of two with one id the later one counts.
        let last: BTreeMap<_, _> = written.iter().map(|record| (record.id, record)).collect();
        let all = case.all(&space.name, 400).await?;
        same("the records", all.len(), 1_500)?;
        for record in &all {
            let written = last.get(&record.id).ok_or("a record was never written")?;
            check_kept(format, record, written)?;
        }
    }
    Ok(())
}
