//! What is found, in which order, and why.

use std::collections::BTreeMap;

use serde_json::json;

use super::words::words;
use crate::{Definition, Hit, SearchIndex, Tool, ToolName, ToolVersion, Vectors};

fn tool(name: &str, description: &str, properties: &[&str]) -> Tool {
    let properties: BTreeMap<&str, bool> = properties.iter().map(|name| (*name, true)).collect();
    let json = json!({
        "name": name, "description": description, "owner": "all", "kind": "read_only",
        "input": {"type": "object", "properties": properties},
        "backend": {"mcp": {"server": "a", "tool": "b"}},
    });
    Tool::new(Definition::read(&json).unwrap(), ToolVersion::FIRST, 0)
}

fn index() -> SearchIndex {
    let tools = [
        tool("send-mail", "Sends an e-mail to one address.", &["recipient", "subject"]),
        tool("search-mail", "Finds messages in the mailbox.", &["query", "folderName"]),
        tool("web-search", "Searches the web and returns pages.", &["query"]),
        tool("weather", "Tells the weather of a city.", &["city"]),
        tool("forecast", "Tells the weather of the next days in a city.", &["city"]),
    ];
    SearchIndex::new(&tools)
}

fn names(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.name.as_str()).collect()
}

#[test]
fn words_are_compared_alike_on_both_sides() {
    let rows = [
        ("web-search", "web search"),
        ("folderName HTTPServer v2Beta", "folder name httpserver v2 beta"),
        ("snake_case, and the rest!", "snake case rest"),
        (
            "queries searches boxes classes days status analysis bus",
            "query search box class day status analysis bus",
        ),
        ("Über Größe 東京", "über größe 東京"),
        ("", ""),
        ("the of and", ""),
        ("s ies xes", "s ie x"),
    ];
    for (text, expected) in rows {
        assert_eq!(words(text).collect::<Vec<_>>().join(" "), expected, "{text}");
    }
}

#[test]
fn tools_are_found_by_their_words() {
    let index = index();
    let rows = [
        ("search", vec!["search-mail", "web-search"]),
        ("send a mail", vec!["send-mail", "search-mail"]),
        ("weather city", vec!["weather", "forecast"]),
        ("which folders are there", vec!["search-mail"]),
        ("recipients", vec!["send-mail"]),
        ("web pages", vec!["web-search"]),
        ("", vec![]),
        ("zebra", vec![]),
    ];
    for (query, expected) in rows {
        let mut hits = index.search(query, None, 10, |_| true).unwrap();
        if query == "search" {
            // Both have it in the name; which is shorter is not what is tried here.
            hits.sort_by(|one, other| one.name.cmp(&other.name));
        }
        assert_eq!(names(&hits), expected, "{query}");
        assert!(hits.iter().all(|hit| hit.score > 0.0 && hit.score.is_finite()));
    }
    let hits = index.search("weather of a city", None, 1, |_| true).unwrap();
    assert_eq!(names(&hits), ["weather"]);
    assert_eq!(hits[0].why.words, ["weather", "city"]);
    assert_eq!(hits[0].why.lexical, Some((hits[0].score, 1)));
    assert_eq!(hits[0].why.vector, None);
    // What is not visible takes no rank.
    let hits = index.search("weather", None, 10, |name| name.as_str() != "weather").unwrap();
    assert_eq!((names(&hits), hits[0].why.lexical.unwrap().1), (vec!["forecast"], 1));
    assert!(SearchIndex::default().search("x", None, 10, |_| true).unwrap().is_empty());
    let long = "weather ".repeat(100_000);
    assert_eq!(names(&index.search(&long, None, 10, |_| true).unwrap()), ["weather", "forecast"]);
}

#[test]
fn equal_tools_are_found_in_the_order_of_names() {
    let tools = ["m", "k", "l"].map(|name| tool(&format!("{name}-x"), "Same.", &[]));
    let hits = SearchIndex::new(&tools).search("same", None, 2, |_| true).unwrap();
    assert_eq!(names(&hits), ["k-x", "l-x"]);
    assert_eq!(hits[0].score, hits[1].score);
}

#[test]
fn vectors_are_blended_in() {
    let index = index();
    let tools: BTreeMap<ToolName, Vec<f32>> = [
        ("send-mail", vec![1.0, 0.0, 0.0]),
        ("search-mail", vec![0.8, 0.6, 0.0]),
        ("weather", vec![0.0, 0.0, 1.0]),
        ("forecast", vec![0.0, 0.6, -0.8]),
        ("unheard-of", vec![1.0, 0.0, 0.0]),
    ]
    .map(|(name, vector)| (ToolName::new(name).unwrap(), vector))
    .into();
    let search = |text: &str, query: &[f32]| {
        index.search(text, Some(Vectors { tools: &tools, query }), 10, |_| true)
    };
    // By meaning alone; what points elsewhere is not found.
    let hits = search("notify my boss", &[1.0, 0.0, 0.0]).unwrap();
    assert_eq!(names(&hits), ["send-mail", "search-mail"]);
    assert_eq!(hits[0].why.vector, Some((1.0, 1)));
    assert_eq!((hits[1].why.vector.unwrap().1, hits[1].why.lexical), (2, None));
    // First by words and second by meaning is before first by meaning alone.
    let hits = search("messages", &[1.0, 0.0, 0.0]).unwrap();
    assert_eq!(names(&hits), ["search-mail", "send-mail"]);
    assert!((hits[0].score - (1.0 / 61.0 + 1.0 / 62.0)).abs() < 1e-12);
    // One without a vector is found by its words.
    let hits = search("web pages", &[0.0, 0.0, 1.0]).unwrap();
    assert_eq!(names(&hits), ["weather", "web-search"]);

    let nan = f32::NAN;
    let rows = [
        (vec![], "query: is no vector of length 1; encode it again"),
        (vec![2.0, 0.0, 0.0], "query: is no vector of length 1; encode it again"),
        (vec![nan, 0.0, 0.0], "query: is no vector of length 1; encode it again"),
        (vec![1.0], "tools.send-mail: has 3 numbers and the query 1; encode both with one encoder"),
    ];
    for (query, expected) in rows {
        assert_eq!(search("x", &query).unwrap_err().to_string(), expected);
    }
    let wrong = BTreeMap::from([(ToolName::new("weather").unwrap(), vec![0.0, 0.0, 0.0])]);
    let vectors = Vectors { tools: &wrong, query: &[1.0, 0.0, 0.0] };
    let told = index.search("x", Some(vectors), 10, |_| true).unwrap_err().to_string();
    assert_eq!(told, "tools.weather: is no vector of length 1; encode it again");
}
