//! Per entity: what is found, of several countries, and what only looks like it.

use super::found;
use crate::redaction::Entity;

/// Each line: a text, and what of it is found of this entity.
fn check(entity: Entity, lines: &[(&str, &[&str])]) {
    for (text, expected) in lines {
        let own: Vec<String> =
            found(text).into_iter().filter(|own| own.0 == entity).map(|own| own.1).collect();
        assert_eq!(own, *expected, "{} in {text:?}; all: {:?}", entity.name(), found(text));
    }
}

#[test]
fn social_security_numbers() {
    check(
        Entity::Ssn,
        &[
            ("My SSN is 536-90-4399.", &["536-90-4399"]),
            ("social security number 536904399", &["536904399"]),
            ("SSN: 536 90 4399", &["536 90 4399"]),
            ("it is 219-45-6789, thanks", &["219-45-6789"]),
            // Never given out.
            ("My SSN is 000-12-3456.", &[]),
            ("My SSN is 666-12-3456.", &[]),
            ("My SSN is 900-12-3456.", &[]),
            ("My SSN is 536-00-4399.", &[]),
            ("My SSN is 536-90-0000.", &[]),
            // A bare number, a part of a longer one, a part number.
            ("we sold 536904399 units", &[]),
            ("serial 1536-90-43991", &[]),
            ("part 536-90-4399-17", &[]),
        ],
    );
}

#[test]
fn cards() {
    check(
        Entity::Card,
        &[
            ("pay with 4111 1111 1111 1111 please", &["4111 1111 1111 1111"]),
            ("4111-1111-1111-1111", &["4111-1111-1111-1111"]),
            ("mastercard 5555555555554444", &["5555555555554444"]),
            ("amex 3782 822463 10005", &["3782 822463 10005"]),
            ("6011000990139424 is a discover card", &["6011000990139424"]),
            ("3530111333300000", &["3530111333300000"]),
            ("diners 30569309025904", &["30569309025904"]),
            ("2223003122003222", &["2223003122003222"]),
            // The text says that it is one, so a wrong digit does not save it.
            ("my credit card is 4111 1111 1111 1112", &["4111 1111 1111 1112"]),
            ("order 4111111111111112 shipped", &[]),
            ("0000 0000 0000 0000", &[]),
            ("id 41111111111111110000000", &[]),
            ("9111111111111111", &[]),
            ("0.4111111111111111", &[]),
        ],
    );
}

#[test]
fn emails() {
    check(
        Entity::Email,
        &[
            ("write to ada.lovelace+math@example.co.uk.", &["ada.lovelace+math@example.co.uk"]),
            ("<o'brien@example.com>", &["o'brien@example.com"]),
            ("用户@例子.公司 or müller@büro.de", &["用户@例子.公司", "müller@büro.de"]),
            ("a@b.io,c@d.io", &["a@b.io", "c@d.io"]),
            ("mailto:x_y@sub.domain.example", &["x_y@sub.domain.example"]),
            ("@decorator and user@localhost", &[]),
            ("git@ and @example.com", &[]),
            ("x@y..com", &[]),
            ("meet @ 5.30", &[]),
        ],
    );
}

#[test]
fn phones() {
    check(
        Entity::Phone,
        &[
            ("call +1 (415) 555-2671 now", &["+1 (415) 555-2671"]),
            ("+442079460958", &["+442079460958"]),
            ("+49 30 901820", &["+49 30 901820"]),
            ("+33 1 70 18 99 00", &["+33 1 70 18 99 00"]),
            ("+91-98765-43210", &["+91-98765-43210"]),
            ("+81 3-3224-9999", &["+81 3-3224-9999"]),
            ("+55 (11) 91234-5678", &["+55 (11) 91234-5678"]),
            ("+86 138 0013 8000", &["+86 138 0013 8000"]),
            ("+234 803 123 4567", &["+234 803 123 4567"]),
            ("+358 40 123 4567", &["+358 40 123 4567"]),
            ("(415) 555-2671", &["(415) 555-2671"]),
            ("(415)555-2671 ext. 12", &["(415)555-2671 ext. 12"]),
            ("415-555-2671x334", &["415-555-2671x334"]),
            ("415.555.2671", &["415.555.2671"]),
            ("1-800-555-0199", &["1-800-555-0199"]),
            ("001-415-555-2671", &["001-415-555-2671"]),
            ("0049 30 901820", &["0049 30 901820"]),
            ("020 7946 0958", &["020 7946 0958"]),
            ("06 12 34 56 78", &["06 12 34 56 78"]),
            ("Tel. 030/901820-11", &["030/901820-11"]),
            ("mein Handy: 0171 2345678", &["0171 2345678"]),
            ("my phone number is 4155552671", &["4155552671"]),
            ("call me at 555-1234", &["555-1234"]),
            ("teléfono 612 345 678", &["612 345 678"]),
            ("tlf 22 85 50 50", &["22 85 50 50"]),
            ("電話は03-1234-5678です", &[]),
            // Dates, money, codes, versions, sums.
            ("on 2024-01-15 at 10:30", &[]),
            ("between 12-05-1999 and 13-05-1999", &[]),
            ("it costs 1 000 000 or 100,000,000", &[]),
            ("order 4155552671 has shipped", &[]),
            ("ISBN 978-3-16-148410-0", &[]),
            ("version 10.15.7 of 192.168.100.200", &[]),
            ("3.1415926535 is pi", &[]),
            ("commit 8675309 and issue 1234567", &[]),
            ("550e8400-e29b-41d4-a716-446655440000", &[]),
            ("a timestamp of 1733045400", &[]),
            ("+12", &[]),
        ],
    );
}

#[test]
fn bank_accounts() {
    check(
        Entity::Iban,
        &[
            ("DE89 3704 0044 0532 0130 00 please", &["DE89 3704 0044 0532 0130 00"]),
            ("GB29NWBK60161331926819", &["GB29NWBK60161331926819"]),
            ("iban: fr14 2004 1010 0505 0001 3m02 606", &["fr14 2004 1010 0505 0001 3m02 606"]),
            ("NO93 8601 1117 947", &["NO93 8601 1117 947"]),
            ("MT84MALT011000012345MTLCAST001S", &["MT84MALT011000012345MTLCAST001S"]),
            ("CH93-0076-2011-6238-5295-7", &["CH93-0076-2011-6238-5295-7"]),
            // Told to be one, with a wrong digit.
            ("my IBAN is DE89 3704 0044 0532 0130 01", &["DE89 3704 0044 0532 0130 01"]),
            ("key DE89370400440532013001", &[]),
            ("XX89370400440532013000", &[]),
            ("AB12CD34EF56AB78CD90", &[]),
        ],
    );
}

#[test]
fn ip_addresses() {
    check(
        Entity::Ip,
        &[
            ("from 203.0.113.9 port 22", &["203.0.113.9"]),
            ("http://198.51.100.7:8080/x", &["198.51.100.7"]),
            ("2001:db8:85a3::8a2e:370:7334 is up", &["2001:db8:85a3::8a2e:370:7334"]),
            ("fe80::1ff:fe23:4567:890a", &["fe80::1ff:fe23:4567:890a"]),
            ("[2001:db8::1]:443", &["2001:db8::1"]),
            ("127.0.0.1 and 0.0.0.0 and ::1", &[]),
            ("version 1.2.3.4", &[]),
            ("256.1.1.1 or 1.2.3.4.5", &[]),
            ("at 12:30:45", &[]),
            ("use dead::beef;", &[]),
            ("00:1a:2b:3c:4d:5e", &[]),
        ],
    );
}

#[test]
fn postal_addresses() {
    check(
        Entity::Address,
        &[
            (
                "She lives at 742 Evergreen Terrace, Springfield, IL 62704.",
                &["742 Evergreen Terrace, Springfield, IL 62704"],
            ),
            ("1600 Pennsylvania Ave NW", &["1600 Pennsylvania Ave NW"]),
            ("221B Baker Street, London NW1 6XE", &["221B Baker Street, London NW1 6XE"]),
            ("Hauptstraße 12, 10115 Berlin", &["Hauptstraße 12, 10115 Berlin"]),
            ("12 rue de la Paix, 75002 Paris", &["12 rue de la Paix, 75002 Paris"]),
            ("Via Roma 10, 00184 Roma", &["Via Roma 10, 00184 Roma"]),
            ("Calle Mayor 5, 28013 Madrid", &["Calle Mayor 5, 28013 Madrid"]),
            ("Keizersgracht 174, 1016 DW Amsterdam", &["Keizersgracht 174, 1016 DW Amsterdam"]),
            ("P.O. Box 1234", &["P.O. Box 1234"]),
            ("350 Fifth Avenue, Apt. 12", &["350 Fifth Avenue, Apt. 12"]),
            ("3 ways to drive a car", &[]),
            ("in 2024 the Road Runner ran", &[]),
            ("chapter 12 of the book", &[]),
            ("10 Downing", &[]),
        ],
    );
}

#[test]
fn dates_of_birth() {
    check(
        Entity::BirthDate,
        &[
            ("born on 12/05/1984 in Rome", &["12/05/1984"]),
            ("DOB: 1984-05-12", &["1984-05-12"]),
            ("date of birth: May 12, 1984", &["May 12, 1984"]),
            ("geboren am 12. Mai 1984", &["12. Mai 1984"]),
            ("né le 12.05.1984", &["12.05.1984"]),
            ("the meeting is on 12/05/2024", &[]),
            ("born on 45/45/1984", &[]),
        ],
    );
}

#[test]
fn names_and_passwords_in_urls() {
    check(
        Entity::UrlCredentials,
        &[
            ("postgres://ada:s3cr3t@db.example:5432/x", &["ada:s3cr3t"]),
            ("https://u:p%40ss@example.com/", &["u:p%40ss"]),
            ("https://example.com:8080/@me", &[]),
            ("https://example.com/a:b@c", &[]),
        ],
    );
}
