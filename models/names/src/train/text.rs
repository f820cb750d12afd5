//! A text made of templates, and what stands where in it.

use std::ops::Range;

use super::address;
use super::chance::Chance;
use super::lists::Lists;
use super::person::{capital, family, full, given, made_up, title};

/// What a span of a made text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labelled {
    Person,
    Address,
    Organisation,
    Place,
}

/// A made text.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub text: String,
    /// In bytes, in the order of the text.
    pub spans: Vec<(Labelled, Range<usize>)>,
}

/// One to four templates after another.
pub(super) fn example(lists: &Lists, chance: &mut Chance) -> Example {
    let mut example = Example { text: String::new(), spans: Vec::new() };
    for part in 0..chance.between(1, 4) {
        if part > 0 {
            example.text.push_str(chance.one(&[" ", " ", " ", "\n", "\n\n"]));
        }
        let kind = chance.below(100);
        if kind < 18 {
            example.text.push_str(&chance.one(&lists.plain).replace("\\n", "\n"));
        } else if kind < 50 {
            salad(lists, chance, &mut example);
        } else {
            let template = lists.templates.get(chance.below(lists.templates.len()));
            fill(lists, chance, template.copied().unwrap_or_default(), &mut example);
        }
    }
    match chance.below(100) {
        0..7 => recase(&mut example, str::to_lowercase),
        7..9 => recase(&mut example, str::to_uppercase),
        _ => {}
    }
    example
}

/// Another case, where it leaves every length as it is.
fn recase(example: &mut Example, case: fn(&str) -> String) {
    let cased = case(&example.text);
    let same = example
        .text
        .chars()
        .zip(cased.chars())
        .all(|(one, other)| one.len_utf8() == other.len_utf8());
    if same && cased.len() == example.text.len() {
        example.text = cased;
    }
}

fn fill(lists: &Lists, chance: &mut Chance, template: &str, example: &mut Example) {
    let template = template.replace("\\n", "\n");
    let mut rest = template.as_str();
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        example.text.push_str(before);
        let close = from.find('}').unwrap_or(0);
        let name = from.get(1..close).unwrap_or_default();
        match value(lists, chance, name) {
            Some((value, label)) => {
                put(example, &value, label);
                rest = from.get(close + 1..).unwrap_or_default();
            }
            None => {
                example.text.push('{');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    example.text.push_str(rest);
}

/// Everyday words in no order, some of them capitals, with now and then somebody among them: what
/// is learnt of them is that they are nobody.
fn salad(lists: &Lists, chance: &mut Chance, example: &mut Example) {
    let words: &[&str] = match lists.foreign.get(chance.below(16)) {
        Some(foreign) => foreign,
        None => &lists.common,
    };
    let titled = chance.percent(12);
    let count = chance.between(3, 16);
    for place in 0..count {
        if place > 0 {
            example.text.push_str(match chance.below(24) {
                0 | 1 => ", ",
                2 => " - ",
                3 => ": ",
                4 => "\n",
                _ => " ",
            });
        }
        let slot = match chance.below(60) {
            0 | 1 => "first",
            2 => "name",
            3 => "last",
            4 => "org",
            5 => "city",
            6 => "addr",
            7 => "wordcap",
            8 => "num",
            9 => "small",
            10 => "phone",
            _ => "",
        };
        match value(lists, chance, slot) {
            Some((text, label)) => put(example, &text, label),
            None => {
                let word = chance.one(words);
                let is_capital = place == 0 || titled || chance.percent(5);
                example.text.push_str(&if is_capital { capital(word) } else { word.to_owned() });
            }
        }
    }
    example.text.push_str(chance.one(&[".", ".", ".", "!", "?", "", ";"]));
}

fn put(example: &mut Example, text: &str, label: Option<Labelled>) {
    let start = example.text.len();
    example.text.push_str(text);
    example.spans.extend(label.map(|label| (label, start..example.text.len())));
}

fn organisation(lists: &Lists, chance: &mut Chance) -> String {
    let kind = [
        " Inc.",
        " Ltd",
        " GmbH",
        " LLC",
        " S.A.",
        " AG",
        " & Co.",
        " Group",
        " Bank",
        " Corp.",
        " Foundation",
        " University",
        " Hospital",
        " Systems",
        " Technologies",
        " Partners",
        "",
    ];
    match chance.below(10) {
        0..4 => chance.one(&lists.organisations).to_owned(),
        4..7 => format!("{}{}", made_up(lists, chance), chance.one(&kind)),
        7 => format!("{} & {}", family(lists, chance), family(lists, chance)),
        8 => match chance.below(3) {
            0 => format!("{}{}", family(lists, chance), chance.one(&kind)),
            1 => format!("{}-{}", family(lists, chance), family(lists, chance)),
            _ => {
                let (one, other) = (family(lists, chance), family(lists, chance));
                format!("{one}, {other} and {}", family(lists, chance))
            }
        },
        _ => format!(
            "{} {}{}",
            chance.one(&lists.cities),
            chance.one(&lists.words),
            chance.one(&kind)
        ),
    }
}

fn value(lists: &Lists, chance: &mut Chance, slot: &str) -> Option<(String, Option<Labelled>)> {
    let person = |text: String| Some((text, Some(Labelled::Person)));
    let address = |text: String| Some((text, Some(Labelled::Address)));
    let place = |text: &str| Some((text.to_owned(), Some(Labelled::Place)));
    match slot {
        "name" => person(full(lists, chance)),
        "first" => person(given(lists, chance)),
        "last" => person(family(lists, chance)),
        "addr" => address(address::whole(lists, chance, false)),
        "addrml" => address(address::whole(lists, chance, true)),
        "streetonly" => address(address::name(lists, chance)),
        "corner" => address(address::corner(lists, chance)),
        "street" => address(address::street(lists, chance)),
        "org" => Some((organisation(lists, chance), Some(Labelled::Organisation))),
        "city" if chance.percent(15) => place(&made_up(lists, chance)),
        "city" => place(chance.one(&lists.cities)),
        "country" => place(chance.one(&lists.countries)),
        _ => plain_value(lists, chance, slot).map(|text| (text, None)),
    }
}

fn plain_value(lists: &Lists, chance: &mut Chance, slot: &str) -> Option<String> {
    const MONTHS: &[&str] = &[
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: &[&str] =
        &["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "tomorrow"];
    const RELATIVES: &[&str] =
        &["brother", "sister", "wife", "husband", "son", "daughter", "friend", "boss", "colleague"];
    const NATIONALITIES: &[&str] =
        &["French", "German", "Italian", "Indian", "Mexican", "Korean", "Polish", "American"];
    let year = |chance: &mut Chance| chance.between(1950, 2026).to_string();
    Some(match slot {
        "title" => title(chance).to_owned(),
        "job" => chance.one(&lists.jobs).to_owned(),
        "jobcap" => chance.one(&lists.jobs).split(' ').map(capital).collect::<Vec<_>>().join(" "),
        "product" | "wordcap" => chance.one(&lists.words).to_owned(),
        "month" => chance.one(MONTHS).to_owned(),
        "day" => chance.one(DAYS).to_owned(),
        "relative" => chance.one(RELATIVES).to_owned(),
        "nationality" => chance.one(NATIONALITIES).to_owned(),
        "num" => {
            let count = chance.between(2, 7);
            format!("{}{}", chance.between(1, 9), chance.digits(count))
        }
        "small" => chance.between(1, 99).to_string(),
        "year" => year(chance),
        "time" => format!("{}:{}0", chance.between(1, 23), chance.below(6)),
        "date" => match chance.below(3) {
            0 => format!("{}-0{}-1{}", year(chance), chance.between(1, 9), chance.below(10)),
            1 => format!("{}/{}/{}", chance.between(1, 12), chance.between(1, 28), year(chance)),
            _ => format!("{} {}, {}", chance.one(MONTHS), chance.between(1, 28), year(chance)),
        },
        "phone" => match chance.below(3) {
            0 => format!("+{} {} {}", chance.between(1, 99), chance.digits(3), chance.digits(6)),
            1 => format!("({}) {}-{}", chance.digits(3), chance.digits(3), chance.digits(4)),
            _ => format!("{}-{}-{}", chance.digits(3), chance.digits(3), chance.digits(4)),
        },
        "email" => {
            let (first, last) = (given(lists, chance), family(lists, chance));
            let name = format!("{first}.{last}").to_lowercase().replace([' ', '\''], "");
            format!("{name}@{}.com", made_up(lists, chance).to_lowercase())
        }
        "ip" => format!("{}.{}.0.{}", chance.between(1, 223), chance.below(256), chance.below(256)),
        "iban" => format!("DE{} {} {}", chance.digits(2), chance.digits(4), chance.digits(4)),
        "card" => format!(
            "4{} {} {} {}",
            chance.digits(3),
            chance.digits(4),
            chance.digits(4),
            chance.digits(4)
        ),
        _ => return None,
    })
}
