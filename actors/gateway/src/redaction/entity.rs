//! What is looked for in texts, and what is found there.

use std::ops::Range;

/// A kind of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// A US social security number.
    Ssn,
    /// A payment card's number.
    Card,
    Email,
    Phone,
    /// An international bank account number.
    Iban,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A postal address.
    Address,
    /// A person's name.
    Person,
    BirthDate,
    /// The name and password in front of a URL's host.
    UrlCredentials,
}

impl Entity {
    pub const ALL: [Entity; 10] = [
        Entity::Ssn,
        Entity::Card,
        Entity::Email,
        Entity::Phone,
        Entity::Iban,
        Entity::Ip,
        Entity::Address,
        Entity::Person,
        Entity::BirthDate,
        Entity::UrlCredentials,
    ];

    /// As the settings call it.
    pub fn name(self) -> &'static str {
        match self {
            Entity::Ssn => "ssn",
            Entity::Card => "card",
            Entity::Email => "email",
            Entity::Phone => "phone",
            Entity::Iban => "iban",
            Entity::Ip => "ip",
            Entity::Address => "address",
            Entity::Person => "person",
            Entity::BirthDate => "birth_date",
            Entity::UrlCredentials => "url_credentials",
        }
    }

    pub fn from_name(name: &str) -> Option<Entity> {
        Entity::ALL.into_iter().find(|entity| entity.name() == name)
    }

    /// What stands in its place: `EMAIL`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Entity::Ssn => "SSN",
            Entity::Card => "CARD",
            Entity::Email => "EMAIL",
            Entity::Phone => "PHONE",
            Entity::Iban => "IBAN",
            Entity::Ip => "IP",
            Entity::Address => "ADDRESS",
            Entity::Person => "PERSON",
            Entity::BirthDate => "BIRTH_DATE",
            Entity::UrlCredentials => "URL_CREDENTIALS",
        }
    }

    /// Of two findings with one score the more exact one is kept: a checksum before a shape, a
    /// shape before a guess.
    pub(super) fn exactness(self) -> u8 {
        match self {
            Entity::UrlCredentials => 9,
            Entity::Iban => 8,
            Entity::Card => 7,
            Entity::Email => 6,
            Entity::Ip => 5,
            Entity::Ssn => 4,
            Entity::BirthDate => 3,
            Entity::Phone => 2,
            Entity::Address => 1,
            Entity::Person => 0,
        }
    }
}

/// Something found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub entity: Entity,
    /// In bytes, at borders of characters.
    pub range: Range<usize>,
    /// How sure it is, 0 to 1.
    pub score: f32,
}
