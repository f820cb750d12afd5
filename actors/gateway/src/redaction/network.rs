//! Addresses of the network: emails, IP addresses, names and passwords in URLs.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use regex::Regex;

use super::context;
use super::entity::{Entity, Finding};

pub(super) struct Network {
    email: Regex,
    credentials: Regex,
    v4: Regex,
    v6: Regex,
}

impl Network {
    pub(super) fn new() -> Result<Network, regex::Error> {
        let label = r"[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?";
        let local = r"[\p{L}\p{N}_%+](?:[\p{L}\p{N}._%+'&=/!#$*?^`{|}~-]*[\p{L}\p{N}_%+-])?";
        Ok(Network {
            email: Regex::new(&format!(r"{local}@(?:{label}\.)+\p{{L}}{{2,24}}"))?,
            credentials: Regex::new(
                r#"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#"'<>:@]+:[^\s/?#"'<>]+)@[^\s@]"#,
            )?,
            v4: Regex::new(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")?,
            v6: Regex::new(r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{0,4}|[0-9.]{7,15})")?,
        })
    }

    pub(super) fn find(&self, text: &str, found: &mut Vec<Finding>) {
        let mut add = |entity, range: Range<usize>, score| {
            found.push(Finding { entity, range, score });
        };
        if text.contains('@') {
            for one in self.email.find_iter(text) {
                add(Entity::Email, one.range(), 0.95);
            }
            for captures in self.credentials.captures_iter(text) {
                if let Some(one) = captures.get(1) {
                    add(Entity::UrlCredentials, one.range(), 0.96);
                }
            }
        }
        for one in self.v4.find_iter(text) {
            if let Some(score) = v4(text, &one.range()) {
                add(Entity::Ip, one.range(), score);
            }
        }
        if text.contains(':') {
            for one in self.v6.find_iter(text) {
                if let Some(score) = v6(text, &one.range()) {
                    add(Entity::Ip, one.range(), score);
                }
            }
        }
    }
}

/// Loopback and unspecified addresses name nobody; four numbers may be a version.
fn v4(text: &str, range: &Range<usize>) -> Option<f32> {
    let address: Ipv4Addr = text.get(range.clone())?.parse().ok()?;
    let alone = context::stands_alone(text, range) && !context::goes_on(text, range, &['.']);
    if !alone {
        return None;
    }
    let nobody = address.is_loopback() || address.is_unspecified() || address.is_broadcast();
    let last = text.get(..range.start)?.rsplit(char::is_whitespace).find(|word| !word.is_empty());
    let word = last.unwrap_or_default().to_lowercase();
    let word = word.trim_matches(|own: char| !own.is_alphanumeric());
    if nobody {
        return Some(0.1);
    }
    Some(if context::VERSION.contains(&word) { 0.2 } else { 0.85 })
}

fn v6(text: &str, range: &Range<usize>) -> Option<f32> {
    let own = text.get(range.clone())?;
    let address: Ipv6Addr = own.parse().ok()?;
    if !context::stands_alone(text, range) || context::goes_on(text, range, &[':', '.']) {
        return None;
    }
    let right = text.get(range.end..)?;
    if right.starts_with(':') {
        return None;
    }
    if address.is_loopback() || address.is_unspecified() {
        return Some(0.1);
    }
    // `dead::beef` may be a path in somebody's code.
    let groups = own.split(':').filter(|group| !group.is_empty()).count();
    let counts = own.bytes().any(|one| one.is_ascii_digit());
    Some(if counts && groups >= 2 { 0.85 } else { 0.3 })
}
