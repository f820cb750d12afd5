//! Postal addresses as people of several countries write them.

use super::chance::Chance;
use super::lists::Lists;
use super::person::{family, made_up};

const KINDS: &[&str] = &[
    "Street",
    "St",
    "St.",
    "Avenue",
    "Ave",
    "Ave.",
    "Road",
    "Rd",
    "Boulevard",
    "Blvd",
    "Drive",
    "Dr",
    "Lane",
    "Ln",
    "Court",
    "Ct",
    "Circle",
    "Place",
    "Pl",
    "Square",
    "Terrace",
    "Parkway",
    "Highway",
    "Way",
    "Trail",
    "Close",
    "Crescent",
    "Grove",
    "Row",
    "Walk",
    "Alley",
];
const STATES: &[&str] = &[
    "AL",
    "AK",
    "AZ",
    "CA",
    "CO",
    "CT",
    "FL",
    "GA",
    "HI",
    "IL",
    "IN",
    "KS",
    "KY",
    "LA",
    "MA",
    "MD",
    "ME",
    "MI",
    "MN",
    "MO",
    "NC",
    "NJ",
    "NM",
    "NV",
    "NY",
    "OH",
    "OK",
    "OR",
    "PA",
    "TN",
    "TX",
    "UT",
    "VA",
    "WA",
    "WI",
    "NSW",
    "VIC",
    "QLD",
    "ON",
    "BC",
    "QC",
    "California",
    "Texas",
    "Ontario",
    "Victoria",
    "Florida",
    "New Jersey",
    "Bavaria",
    "Bihar",
    "Kent",
    "Lazio",
];
const UNITS: &[&str] = &["Apt", "Apt.", "Suite", "Unit", "Floor", "Ste", "Room", "Flat", "#"];

/// A street with its number.
pub(super) fn street(lists: &Lists, chance: &mut Chance) -> String {
    let number = |chance: &mut Chance| {
        let digits = chance.between(1, 4);
        let number = format!("{}{}", chance.between(1, 9), chance.digits(digits - 1));
        match chance.below(12) {
            0 => format!("{number}{}", chance.one(&["a", "B", "c", "A"])),
            1 => format!("{number}-{}", chance.between(1, 99)),
            _ => number,
        }
    };
    let style = if chance.percent(45) { 0 } else { chance.below(lists.streets.len()) };
    let listed: &[&str] = lists.streets.get(style).map_or(&[], Vec::as_slice);
    let name = match chance.below(10) {
        0..6 => chance.one(listed).to_owned(),
        6..8 => made_up(lists, chance),
        _ => family(lists, chance),
    };
    let number = number(chance);
    let glued = |chance: &mut Chance, ends: &[&str]| format!("{name}{}", chance.one(ends));
    let street = match style {
        0 => {
            let name = if chance.percent(12) {
                format!("{} {name}", chance.one(&["N", "S.", "East", "W", "North", "NW"]))
            } else {
                name
            };
            let kind = chance.one(KINDS);
            return match chance.below(20) {
                0 => format!("{} {}", chance.one(&["PO Box", "P.O. Box", "PSC"]), number),
                1 => format!("{number} {name}"),
                2 => format!("{number}, {name} {kind}"),
                3 => format!("{name} {kind} {number}"),
                _ => format!("{number} {name} {kind}"),
            };
        }
        1 => match chance.below(4) {
            0 => format!("{name} {}", chance.one(&["Straße", "Str.", "Weg", "Allee", "Platz"])),
            _ => glued(
                chance,
                &["straße", "strasse", "str.", "weg", "gasse", "platz", "allee", "ring"],
            ),
        },
        2 => glued(chance, &["gatan", "vägen", "gata", "vej", "veien", "gade", "gränd", "väg"]),
        3 => glued(chance, &["katu", "tie", "kuja", "polku", "nkatu", "ntie"]),
        4 => glued(chance, &["straat", "laan", "weg", "plein", "gracht", "kade", "dijk"]),
        5 => format!(
            "{} {name}",
            chance.one(&["rue", "Rue", "avenue", "boulevard", "place", "quai"])
        ),
        6 => format!("{} {name}", chance.one(&["Calle", "Avenida", "Av.", "C/", "Plaza", "Paseo"])),
        7 => format!("{} {name}", chance.one(&["Via", "Viale", "Corso", "Piazza", "Largo"])),
        8 => format!("{} {name}", chance.one(&["Rua", "Avenida", "Travessa", "Praça", "R."])),
        _ => format!("{} {name}", chance.one(&["ul.", "Ulica", "al.", "os.", "pl."])),
    };
    match (style, chance.below(10)) {
        (5, 0..8) => format!("{number} {street}"),
        (6.., 0..2) => format!("{street}, {number}"),
        // An American form with somebody else's street.
        (_, 8) => format!("{number} {street}"),
        (_, 9) => format!("{number} {street} {}", chance.between(1, 99)),
        _ => format!("{street} {number}"),
    }
}

/// A street without a number.
pub(super) fn name(lists: &Lists, chance: &mut Chance) -> String {
    let name = if chance.percent(60) { family(lists, chance) } else { made_up(lists, chance) };
    format!("{name} {}", chance.one(KINDS))
}

/// Where two streets meet.
pub(super) fn corner(lists: &Lists, chance: &mut Chance) -> String {
    let side = |chance: &mut Chance| match chance.below(2) {
        0 => name(lists, chance),
        _ => street(lists, chance),
    };
    let (one, other) = (side(chance), side(chance));
    let lead = chance.one(&["the corner of ", "corner of ", ""]);
    format!("{lead}{one} {} {other}", chance.one(&["and", "&"]))
}

/// A ship's or a base's post office.
fn military(lists: &Lists, chance: &mut Chance) -> String {
    let office = chance.one(&["FPO", "APO", "DPO"]);
    let state = chance.one(&["AA", "AE", "AP"]);
    let unit = match chance.below(3) {
        0 => format!("PSC {}, Box {}", chance.digits(4), chance.digits(3)),
        1 => format!("Unit {} Box {}", chance.digits(4), chance.digits(4)),
        _ => format!("{} {}", chance.one(&["USS", "USNS", "USCGC"]), family(lists, chance)),
    };
    format!("{unit}\n{office} {state} {}", chance.digits(5))
}

fn city(lists: &Lists, chance: &mut Chance) -> String {
    match chance.below(10) {
        0..6 => chance.one(&lists.cities).to_owned(),
        6..9 => made_up(lists, chance),
        _ => {
            let lead =
                chance.one(&["San ", "Saint-", "Bad ", "New ", "Port ", "North ", "La ", "Villa "]);
            format!("{lead}{}", made_up(lists, chance))
        }
    }
}

fn post_code(chance: &mut Chance) -> String {
    let letter = |chance: &mut Chance| char::from(b'A' + chance.below(26) as u8);
    match chance.below(12) {
        0..6 => chance.digits(5),
        6..8 => chance.digits(4),
        8 => format!("{}-{}", chance.digits(5), chance.digits(4)),
        9 => {
            let (one, two, three) = (letter(chance), letter(chance), letter(chance));
            format!("{one}{two}{} {}{three}{one}", chance.between(1, 20), chance.below(10))
        }
        10 => format!("{} {}", chance.digits(3), chance.digits(2)),
        _ => chance.digits(6),
    }
}

/// A whole address, with what stands between its lines.
pub(super) fn whole(lists: &Lists, chance: &mut Chance, lines: bool) -> String {
    if chance.percent(3) {
        return military(lists, chance);
    }
    let mut text = street(lists, chance);
    // The number of a building ahead of it.
    if chance.percent(8) {
        let count = chance.between(3, 5);
        text = format!("{} {text}", chance.digits(count));
    }
    let joint = match (lines, chance.below(20)) {
        (true, 0..3) => ",\n",
        (true, 3..5) => "\n, ",
        (true, 5..7) => "\n ",
        (true, 7) => "\n\n",
        (true, 8) => "\n> ",
        (true, 9) => "\n* ",
        (true, _) => "\n",
        (false, 0..14) => ", ",
        (false, 14..16) => " ",
        (false, 16..18) => "\n",
        (false, 18) => "\n, ",
        _ => ",\n",
    };
    if chance.percent(22) {
        let unit = chance.one(UNITS);
        let number = match chance.below(3) {
            0 => format!("{}{}", chance.between(1, 40), chance.one(&["A", "B", "C"])),
            _ => chance.between(1, 999).to_string(),
        };
        let blank = if unit == "#" { "" } else { " " };
        text.push_str(chance.one(&[" ", ", ", joint]));
        text.push_str(&format!("{unit}{blank}{number}"));
    }
    if !lines && chance.percent(25) {
        return text;
    }
    let (mut city, post) = (city(lists, chance), post_code(chance));
    if chance.percent(12) {
        city = city.to_uppercase();
    }
    let state = chance.one(STATES);
    text.push_str(joint);
    text.push_str(&match chance.below(10) {
        0..3 => format!("{city}, {state} {post}"),
        3 => format!("{city} {state} {post}"),
        4..6 => format!("{post} {city}"),
        6 => format!("{city} {post}"),
        7 => format!("{city}{joint}{state}"),
        8 => city,
        _ => format!("{post} {city} {state}"),
    });
    match chance.below(10) {
        0..3 => text.push_str(&format!("{joint}{}", chance.one(&lists.countries))),
        3 => text.push_str(&format!("{joint}{} {post}", chance.one(&lists.countries))),
        _ => {}
    }
    text
}
