//! What the planner prints for the well-known example, and which arguments it refuses.

use clap::Parser;

use super::report::{bytes, grouped};
use super::{PlanAction, PlanFlags, given, number, percentage};
use crate::config::{ConfigSource, Settings};

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    what: PlanAction,
}

fn parse(words: &str) -> Result<Box<PlanFlags>, String> {
    let words = ["plan", "embedding"].into_iter().chain(words.split_whitespace());
    let PlanAction::Embedding(flags) =
        Line::try_parse_from(words).map_err(|error| error.to_string())?.what;
    Ok(flags)
}

const EXAMPLE: &str = "--docs 500e6 --qps 10_000 --tokens 64 --dimensions 1024 --gpu A10G";

fn told(words: &str) -> String {
    use headwater_embedding::plan::{Demand, Graph, Supply, plan};
    let flags = parse(words).unwrap();
    let demand = Demand {
        documents: flags.docs,
        chunks_per_document: flags.chunks_per_doc,
        chunk_tokens: flags.chunk_tokens.unwrap_or(flags.tokens),
        queries_per_s: flags.qps,
        query_tokens: flags.tokens,
        dimensions: flags.dimensions.unwrap(),
    };
    let throughput = given(flags.gpu.as_deref().unwrap()).unwrap();
    let supply = Supply {
        tokens_per_s: throughput.tokens_per_s,
        headroom: flags.headroom,
        bulk_days: flags.bulk_days,
        price_per_hour: flags.price_per_hour,
        copies: flags.copies,
        graph: Graph::default(),
    };
    let plan = plan(&demand, &supply).unwrap();
    let told = super::report::Told { model: "m", demand: &demand, supply: &supply, plan: &plan };
    told.text(&throughput.source)
}

#[test]
fn the_well_known_example_is_told() {
    let text = told(&format!("{EXAMPLE} --price-per-hour 1 --bulk-days 7"));
    let expected = [
        "10,000 queries/s × 64 tokens = 640,000 tokens/s",
        "20,000 tokens/s a replica (given figure, not measured here",
        "32 bare, 42 with 30 % headroom",
        "500,000,000 chunks, 32,000,000,000 tokens",
        "444.44 replica hours (18.52 days on one replica)",
        "44.44 hours on what the fleet has left",
        "3 more replicas to be done in 7 days",
        "fp32     2.05 TB vectors",
        "fp16     1.02 TB vectors",
        "int8      512 GB vectors",
        "binary   64.0 GB vectors",
        "30,660 a month for 42 replicas at 1 an hour, 730 hours",
        "444.44 once for the documents",
    ];
    for line in expected {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
}

#[test]
fn wrong_arguments_are_named() {
    let cases = [
        ("--qps 1 --tokens 1", "--docs"),
        ("--docs x --qps 1 --tokens 1", "--docs"),
        ("--docs 1 --qps 1 --tokens inf", "--tokens"),
        ("--docs 1 --qps 1 --tokens 1 --headroom 0.3", "--headroom"),
        ("--docs 1 --qps 1 --tokens 1 --headroom x%", "--headroom"),
        ("--docs 1 --qps 1 --tokens 1 --gpu a10g --measure", "--measure"),
        ("--docs 1 --qps 1 --tokens 1 --gpu a10g --seconds 3", "--seconds"),
        ("--docs 1 --qps 1 --tokens 1 --price-per-hour cheap", "--price-per-hour"),
    ];
    for (words, named) in cases {
        let error = parse(words).unwrap_err();
        assert!(error.contains(named), "{words}: {error}");
    }
}

#[test]
fn arguments_out_of_bounds_end_with_the_flags_name() {
    let base = "--docs 1 --qps 1 --tokens 1 --dimensions 8";
    let cases = [
        ("--gpu h100", "--gpu h100"),
        ("", "--tokens-per-second"),
        ("--tokens-per-second 0", "--tokens-per-second is 0"),
        ("--tokens-per-second 1 --bulk-days 0", "--bulk-days is 0"),
        ("--tokens-per-second 1 --copies 0", "--copies is 0"),
        ("--tokens-per-second 1 --chunks-per-doc 0", "--chunks-per-doc is 0"),
        ("--tokens-per-second 1 --headroom 1001%", "--headroom is 10.01"),
        ("--measure --model nobody", "--measure needs a configured model"),
    ];
    for (words, says) in cases {
        let flags = parse(&format!("{base} {words}")).unwrap();
        let (settings, source) = (Settings::default(), ConfigSource::default());
        let error = super::run(PlanAction::Embedding(flags), &settings, &source).unwrap_err();
        assert!(error.message.contains(says), "{words}: {}", error.message);
    }
}

#[test]
fn numbers_are_read_and_written_as_people_do() {
    assert_eq!(number("500e6"), Ok(500e6));
    assert_eq!(number("1_000"), Ok(1000.0));
    assert!(number("nan").is_err());
    for (text, share) in [("30%", 0.3), ("30", 0.3), ("0", 0.0), ("0.5%", 0.005), ("100 %", 1.0)] {
        assert_eq!(percentage(text), Ok(share), "{text}");
    }
    for (value, text) in
        [(0.0, "0"), (1.5, "1.5"), (999.0, "999"), (1234.5, "1,234"), (1e9, "1,000,000,000")]
    {
        assert_eq!(grouped(value), text);
    }
    for (value, text) in
        [(12.0, "12.0 B"), (999.6, "1.00 kB"), (2.048e12, "2.05 TB"), (512e9, "512 GB")]
    {
        assert_eq!(bytes(value), text);
    }
}
