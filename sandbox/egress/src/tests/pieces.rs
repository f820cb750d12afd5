//! The small parts by themselves: addresses, hellos in pieces, stars over secrets.

use super::world::{hello, rule, secret};
use crate::blank::Blank;
use crate::hello::{Hello, read};
use crate::{Grant, GrantLimits, Labels, Rule, Secret, Transport, is_public};

#[test]
fn addresses() {
    for (address, public) in [
        ("1.1.1.1", true),
        ("93.184.215.14", true),
        ("172.15.0.1", true),
        ("172.32.0.1", true),
        ("2606:4700::1111", true),
        ("2a00:1450::1", true),
        ("0.0.0.0", false),
        ("10.1.2.3", false),
        ("100.64.0.1", false),
        ("100.100.100.200", false),
        ("127.0.0.1", false),
        ("168.63.129.16", false),
        ("169.254.169.254", false),
        ("172.16.0.1", false),
        ("172.31.255.255", false),
        ("192.0.0.8", false),
        ("192.0.2.1", false),
        ("192.88.99.1", false),
        ("192.168.1.1", false),
        ("198.19.0.1", false),
        ("198.51.100.1", false),
        ("203.0.113.1", false),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
        ("::", false),
        ("::1", false),
        ("::ffff:1.1.1.1", false),
        ("::7f00:1", false),
        ("64:ff9b::7f00:1", false),
        ("64:ff9b:1::1", false),
        ("100::1", false),
        ("2001::1", false),
        ("2001:db8::1", false),
        ("2002:7f00:1::", false),
        ("3fff::1", false),
        ("5f00::1", false),
        ("fd00:ec2::254", false),
        ("fe80::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
    ] {
        assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
    }
}

#[test]
fn hellos_in_pieces_and_broken() {
    let whole = hello(Some("good.example.org"), &[]);
    assert_eq!(read(&whole), Hello::Name("good.example.org".to_owned()));
    for end in 0..whole.len() {
        assert_eq!(read(&whole[..end]), Hello::Short, "{end}");
    }
    // The message in two records.
    let (first, second) = whole[5..].split_at(20);
    let mut split = vec![22, 3, 1, 0, 20];
    split.extend(first);
    split.extend([22, 3, 1, 0, second.len() as u8]);
    split.extend(second);
    assert_eq!(read(&split), Hello::Name("good.example.org".to_owned()));
    for at in 0..whole.len() {
        for byte in 0..=255 {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            read(&bytes);
        }
    }
}

#[test]
fn secrets_are_covered_wherever_they_are_cut() {
    let text = "a canary canarycanary-1 canary-1canary-";
    let covered = "a canary canary******** ********canary-";
    for size in 1..text.len() {
        let mut blank = Blank::new(vec![Secret::new("canary-1"), Secret::new("")]);
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            out.extend(blank.push(piece));
        }
        out.extend(blank.finish());
        assert_eq!(String::from_utf8(out).unwrap(), covered, "{size}");
    }
    assert_eq!(format!("{:?}", Secret::new("canary-1")), "Secret(***)");
}

#[test]
fn grants_that_cannot_be_held() {
    let plain = || rule("good.example.org", &[80], Transport::Plain);
    let tunnel = || rule("good.example.org", &[443], Transport::Tunnel);
    let wide = || rule("*.example.org", &[80], Transport::Plain);
    let secrets = vec![secret("authorization", "")];
    let framing = vec![secret("connection", "")];
    let originate = Transport::Originate;
    let rows: [(&str, Rule); 8] = [
        ("ports", Rule { ports: Vec::new(), ..plain() }),
        ("methods", Rule { methods: vec![http::Method::GET], ..tunnel() }),
        ("paths", Rule { paths: vec!["/v1".into()], ..tunnel() }),
        ("paths", Rule { paths: vec!["v1".into()], ..plain() }),
        ("secrets", Rule { secrets: secrets.clone(), ..tunnel() }),
        ("secrets", Rule { secrets, ..plain() }),
        ("secrets", Rule { secrets: framing, transport: originate, ..plain() }),
        ("internal", Rule { internal: Some(([10, 0, 0, 1], 80).into()), ..wide() }),
    ];
    for (field, rule) in rows {
        let text = String::new;
        let labels = Labels { tenant: text(), session: text(), tool: text() };
        let grant = Grant { labels, rules: vec![rule], limits: GrantLimits::default() };
        assert_eq!(grant.check().unwrap_err().field, field);
    }
}
