//! Tokens, the chain, and the weights that this crate carries.

use headwater_models::entities::{EntityTagger, TaggedKind};

use crate::chain::{LABELS, Marginals, Row, best, may_follow};
use crate::token::tokens;
use crate::train::{TrainSettings, examples, train};
use crate::{NameTagger, Weights};

fn words(text: &str) -> Vec<&str> {
    tokens(text).into_iter().map(|token| &text[token.range]).collect()
}

#[test]
fn words_keep_their_hyphens_and_apostrophes() {
    for (text, expected) in [
        ("Jean-Pierre O'Brien's car", vec!["Jean-Pierre", "O'Brien", "'", "s", "car"]),
        (
            "it's 5-6, x@y.de\nend",
            vec!["it", "'", "s", "5", "-", "6", ",", "x", "@", "y", ".", "de", "\n", "end"],
        ),
        ("Łódź e\u{301}té 12th", vec!["Łódź", "e\u{301}té", "12th"]),
        ("- '' --", vec!["-", "'", "'", "-", "-"]),
        ("", vec![]),
    ] {
        assert_eq!(words(text), expected);
    }
}

/// Some rows that prefer no label by far.
fn rows(count: usize) -> Vec<Row> {
    let score = |place: usize, label: usize| ((place * 7 + label * 5) % 11) as f32 / 4.0;
    (0..count).map(|place| std::array::from_fn(|label| score(place, label))).collect()
}

#[test]
fn the_best_path_and_the_probabilities_are_those_of_all_paths() {
    let rows = rows(3);
    let transitions: [Row; LABELS] = std::array::from_fn(|one| {
        std::array::from_fn(|other| ((one * 3 + other) % 5) as f32 / 3.0)
    });
    let mut all: Vec<([usize; 3], f32)> = Vec::new();
    for path in (0..LABELS.pow(3)).map(|own| [own / 81, own / 9 % 9, own % 9]) {
        let allowed =
            may_follow(0, path[0]) && path.windows(2).all(|pair| may_follow(pair[0], pair[1]));
        if allowed {
            let own: f32 = path.iter().enumerate().map(|(place, label)| rows[place][*label]).sum();
            let pairs: f32 = path.windows(2).map(|pair| transitions[pair[0]][pair[1]]).sum();
            all.push((path, own + pairs));
        }
    }
    let total: f32 = all.iter().map(|(_, score)| score.exp()).sum();
    let likeliest = all.iter().max_by(|one, other| one.1.total_cmp(&other.1)).expect("paths");
    assert_eq!(best(&rows, &transitions), likeliest.0);
    let sure = Marginals::new(&rows, &transitions);
    for place in 0..3 {
        for label in 0..LABELS {
            let with = all.iter().filter(|(path, _)| path[place] == label);
            let expected = with.map(|(_, score)| score.exp()).sum::<f32>() / total;
            assert!((sure.tokens[place][label] - expected).abs() < 1e-4, "{place} {label}");
        }
    }
    let pair = sure.pair(&rows, &transitions, 1, (1, 2));
    let with = all.iter().filter(|(path, _)| path[1] == 1 && path[2] == 2);
    assert!((pair - with.map(|(_, score)| score.exp()).sum::<f32>() / total).abs() < 1e-4);
    assert!(best(&[], &transitions).is_empty());
}

#[test]
fn made_texts_hold_their_spans() {
    let examples = examples(3, 500);
    let spans: usize = examples.iter().map(|example| example.spans.len()).sum();
    assert!(spans > 500, "{spans}");
    for example in &examples {
        let mut end = 0;
        for (_, range) in &example.spans {
            assert!(range.start >= end && range.start < range.end, "{example:?}");
            assert!(example.text.get(range.clone()).is_some(), "{example:?}");
            end = range.end;
        }
    }
}

#[test]
fn training_is_the_same_for_the_same_seed_and_survives_its_file() {
    let settings = TrainSettings { seed: 9, texts: 400 };
    let file = |weights: &Weights| weights.write().expect("it is written");
    let (one, other) = (train(settings, |_| {}), train(settings, |_| {}));
    assert!(file(&one) == file(&other), "one seed gives one file");
    let read = Weights::read(&file(&one)).expect("it is read");
    assert!(file(&read) == file(&one));
    let another = train(TrainSettings { seed: 10, ..settings }, |_| {});
    assert!(file(&another) != file(&one));
    assert!(Weights::read(b"something else").is_err());
}

/// Sentences that stand in no template: names, addresses, and what only looks like them.
#[test]
fn the_bundled_weights_find_names_and_addresses_and_leave_the_rest() {
    let tagger = NameTagger::bundled().expect("they fit");
    let found = |text: &str| -> Vec<(TaggedKind, String)> {
        let spans = tagger.tag(text).expect("it does not fail");
        let sure = spans.into_iter().filter(|span| span.score >= 0.5);
        sure.map(|span| (span.kind, text[span.range].to_owned())).collect()
    };
    let person = |name: &str| (TaggedKind::Person, name.to_owned());
    for (text, expected) in [
        ("Yesterday I had lunch with Margaret Holloway.", vec![person("Margaret Holloway")]),
        ("My colleague Rajesh Venkatesan will join the call.", vec![person("Rajesh Venkatesan")]),
        ("Please forward this to Dr. Szabolcs Kertész today.", vec![person("Szabolcs Kertész")]),
        ("Best regards,\nYuki Tanaka", vec![person("Yuki Tanaka")]),
        ("How do I reverse a list in Python?", vec![]),
        ("The meeting in Berlin is on Monday at Microsoft.", vec![]),
        ("Explain how a mortgage works and what interest means.", vec![]),
        ("fn main() { let total = items.iter().sum(); }", vec![]),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
    let text = "She moved to 48 Larkspur Crescent, Brookhaven, GA 30319 in May.";
    let address = (TaggedKind::Address, "48 Larkspur Crescent, Brookhaven, GA 30319".to_owned());
    assert!(found(text).contains(&address), "{:?}", found(text));
}
