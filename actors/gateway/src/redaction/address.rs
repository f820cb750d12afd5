//! Postal addresses by their shape: a street with its kind and a number, and what follows it.

use regex::Regex;

use super::context;
use super::entity::{Entity, Finding};

pub(super) struct Addresses {
    shapes: Vec<(Regex, f32)>,
    tail: Regex,
}

/// Kinds of streets that stand after the name, in English.
const KINDS: &str = "Street|St|Avenue|Ave|Av|Road|Rd|Boulevard|Blvd|Drive|Dr|Lane|Ln|Court|Ct|Circle\
|Cir|Place|Pl|Square|Sq|Terrace|Ter|Parkway|Pkwy|Highway|Hwy|Way|Trail|Trl|Close|Crescent|Cres|\
Mews|Grove|Row|Walk|Alley|Plaza|Turnpike|Esplanade|Parade|Quay|Gardens|Hill|Loop|Pike|Crossing|\
Expressway|Causeway|Heights";

/// Kinds that are the end of the name.
const ENDINGS: &str = "straße|strasse|str|weg|gasse|platz|allee|ring|damm|ufer|steig|laan|straat|\
dijk|plein|kade|gracht|gatan|gata|vägen|väg|vej|vei|veien|gade|stræde|katu|kuja|tie|polku|gränd";

/// Kinds that stand before the name.
const FRONTS: &str = "Rue|Avenue|Boulevard|Bd|Place|Impasse|Allée|Chemin|Quai|Route|Cours|Via|Viale|\
Vicolo|Corso|Piazza|Piazzale|Largo|Calle|C/|Avenida|Av\\.|Avda\\.?|Paseo|Plaza|Carrera|Travessa|\
Rua|Praça|Alameda|Estrada|Rodovia|ul\\.|Ulica|ulica|al\\.|Aleja|pl\\.|Str\\.|Strada|Calea|Bulevardul|\
Jalan|Jl\\.";

const UNIT: &str = r"(?:Apt|Apartment|Suite|Ste|Unit|Floor|Fl|Room|Rm|Flat|Bldg|Building|Box)\.?\s*#?\s*[0-9A-Za-z-]{1,6}|#\s?[0-9A-Za-z-]{1,6}";

// Borders of words are ASCII's: with Unicode's the fast automata give up at the first letter that
// is not ASCII.
impl Addresses {
    pub(super) fn new() -> Result<Addresses, regex::Error> {
        let word = r"(?:\p{Lu}[\p{L}\p{M}'’.-]*|[0-9]{1,3}(?:st|nd|rd|th))";
        let number = r"[0-9]{1,6}(?:[-/][0-9]{1,5})?\s?[A-Za-z]?";
        let joint = r"(?:de la|de las|de los|del|dello|della|delle|des|de|du|da|do|dos|das|di|dei|la|le|les|von|van|der|den|el|al|al-|d'|l')";
        let named = format!(
            r"(?:{joint}\s?)*\p{{Lu}}[\p{{L}}\p{{M}}'’.-]*(?:\s+(?:{joint}\s?)*\p{{Lu}}[\p{{L}}\p{{M}}'’.-]*){{0,4}}"
        );
        let before = format!(
            r"(?-u:\b){number},?\s+(?:[NSEW]{{1,2}}\.?\s+)?{word}(?:\s+{word}){{0,4}}\s+(?:{KINDS})(?-u:\b)\.?(?:\s+(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)(?-u:\b))?"
        );
        let bare =
            format!(r"(?-u:\b){number}\s+(?:[NSEW]\.?\s+)?(?:Broadway|Main|Park|Market)(?-u:\b)");
        let after = format!(
            r"\p{{Lu}}[\p{{L}}.-]*(?:\s?(?:{ENDINGS})|\s(?:Straße|Strasse|Str|Weg|Gasse|Platz|Allee))\.?\s+[0-9]{{1,4}}\s?[a-z]?(?-u:\b)(?:\s?[-/]\s?[0-9]{{1,4}})?"
        );
        let number_first = format!(
            r"(?-u:\b)[0-9]{{1,4}}(?:\s?(?:bis|ter|[A-Za-z]))?,?\s+(?i:{FRONTS})\s+{named}"
        );
        let number_last = format!(
            r"(?-u:\b)(?:{FRONTS})\s+(?:{named})(?:,?\s+(?:n[.ºo°]\s?|nr\.?\s?|č\.\s?)?[0-9]{{1,5}}\s?[A-Za-z]?(?-u:\b))"
        );
        let box_number = r"(?i)(?-u:\b)(?:P\.?\s?O\.?\s?Box|Post Office Box|Postfach|Apartado|PO-Box|PSC|Boîte postale|BP)\s+[0-9]{1,6}(?-u:\b)";
        let shapes = [
            (before.as_str(), 0.8),
            (&bare, 0.35),
            (&after, 0.75),
            (&number_first, 0.75),
            (&number_last, 0.7),
            (box_number, 0.75),
        ];
        let read = |(shape, score): (&str, f32)| Ok((Regex::new(shape)?, score));
        let shapes = shapes.into_iter().map(read).collect::<Result<_, regex::Error>>()?;
        let city = r"\p{Lu}[\p{L}\p{M}'’.-]+(?:[ -]\p{Lu}[\p{L}\p{M}'’.-]+){0,3}";
        let post = r"(?:[A-Z]{1,2}-)?[0-9]{4,6}(?:-[0-9]{3,4})?(?-u:\b)|[0-9]{3} [0-9]{2}(?-u:\b)|[A-Z]{1,2}[0-9][0-9A-Z]?\s?[0-9][A-Z]{2}(?-u:\b)|[A-Z][0-9][A-Z]\s?[0-9][A-Z][0-9](?-u:\b)";
        let tail = format!(
            r"^(?:[\s,]{{1,3}}(?:{UNIT}))?(?:[\s,]{{1,3}}(?:(?:{post})(?:\s{city})?|{city}[\s,]{{1,3}}(?:[A-Z]{{2,3}}(?-u:\b)[\s,]{{1,3}})?(?:{post})|{city},\s?[A-Z]{{2}}(?-u:\b)))?"
        );
        Ok(Addresses { shapes, tail: Regex::new(&tail)? })
    }

    pub(super) fn find(&self, text: &str, found: &mut Vec<Finding>) {
        for (shape, score) in &self.shapes {
            for one in shape.find_iter(text) {
                let rest = text.get(one.end()..).unwrap_or_default();
                let tail = self.tail.find(rest).map_or(0, |tail| tail.end());
                let score = if tail > 0 { (score + 0.15f32).min(context::SUREST) } else { *score };
                let range = one.start()..one.end() + tail;
                found.push(Finding { entity: Entity::Address, range, score });
            }
        }
    }
}
