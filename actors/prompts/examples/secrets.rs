//! Measures recall, false alarms and time of rule sets on a folder of labelled texts.
//!
//! `measure FOLDER RULE_FILE...` reads each `FOLDER/*.jsonl`, a line `{"text": …, "secret": bool}`
//! each, and prints a row for every file under: the rule files as their own tool means them, this
//! module's rules alone, and both. `LIST=mode:file` instead prints the misses and false alarms.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use headwater_prompts::scan::{Mode, Scanner};

const MODES: [(&str, Mode, bool); 4] = [
    ("files", Mode { own_rules: false, hold_back: false }, true),
    ("files-held", Mode { own_rules: false, hold_back: true }, true),
    ("own", Mode { own_rules: true, hold_back: true }, false),
    ("both", Mode { own_rules: true, hold_back: true }, true),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: measure FOLDER RULE_FILE...")?;
    let texts = arguments.map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    let files: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut corpora: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|it| it.map(|it| it.path())).collect::<Result<_, _>>()?;
    corpora.retain(|it| it.extension().is_some_and(|it| it == "jsonl"));
    corpora.sort();
    let list = std::env::var("LIST").unwrap_or_default();
    println!("corpus                    rules       recall             false alarms        us/KB");
    for (name, mode, with_files) in MODES {
        if !list.is_empty() && !list.starts_with(&format!("{name}:")) {
            continue;
        }
        let started = Instant::now();
        let scanner = Scanner::with_mode(mode, if with_files { &files } else { &[] })?;
        eprintln!("{name}: ready in {:?}", started.elapsed());
        for corpus in &corpora {
            let title = corpus.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if list.is_empty() || list == format!("{name}:{title}") {
                measure(
                    &scanner,
                    name,
                    &title,
                    &std::fs::read_to_string(corpus)?,
                    !list.is_empty(),
                )?;
            }
        }
        for it in scanner.skipped() {
            eprintln!("{name}: file {} rule {}: {}", it.file, it.rule, it.reason);
        }
    }
    Ok(())
}

fn measure(
    scanner: &Scanner,
    name: &str,
    title: &str,
    corpus: &str,
    list: bool,
) -> Result<(), Box<dyn Error>> {
    let (mut secrets, mut found, mut clean, mut alarms, mut bytes, mut micros) = (0, 0, 0, 0, 0, 0);
    let rows: Vec<serde_json::Value> =
        corpus.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    // The first pass compiles the patterns, so that the second tells the time of scanning alone.
    let first = Instant::now();
    for row in &rows {
        scanner.scan(row["text"].as_str().unwrap_or_default());
    }
    let first = first.elapsed();
    for row in &rows {
        let text = row["text"].as_str().unwrap_or_default();
        let started = Instant::now();
        let findings = scanner.scan(text);
        micros += started.elapsed().as_micros();
        bytes += text.len();
        let secret = row["secret"].as_bool().unwrap_or_default();
        let hit = !findings.is_empty();
        if secret {
            secrets += 1;
            found += usize::from(hit);
        } else {
            clean += 1;
            alarms += usize::from(hit);
        }
        if list && hit != secret {
            let rules: Vec<String> = findings
                .iter()
                .map(|it| format!("{}={}", it.rule, text.get(it.start..it.end).unwrap_or_default()))
                .collect();
            let shown: String = text.chars().take(400).collect();
            println!(
                "{} {} {rules:?}\n    {shown:?}",
                if secret { "MISS" } else { "ALARM" },
                row["rule"]
            );
        }
    }
    eprintln!("{name} {title}: first pass {first:?}, second {micros} us");
    let share = |part: usize, all: usize| 100.0 * part as f64 / all.max(1) as f64;
    println!(
        "{title:25} {name:11} {found:5}/{secrets:5} {:5.1} % {alarms:5}/{clean:6} {:6.2} % {:7.1}",
        share(found, secrets),
        share(alarms, clean),
        micros as f64 / (bytes as f64 / 1024.0)
    );
    Ok(())
}
