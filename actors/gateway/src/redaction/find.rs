//! Everything that is personal in a text, each part of it once.

use std::sync::Arc;

use headwater_models::entities::{EntityTagger, TagError, TaggedKind};

use super::address::Addresses;
use super::dates::Dates;
use super::entity::{Entity, Finding};
use super::network::Network;
use super::numbers::Numbers;
use super::phone::Phones;
use super::policy::{RedactionPolicy, STANDARD_THRESHOLD_PERCENT};

/// Looks for personal data; cheap to share, and the same for all policies.
pub(super) struct Finder {
    numbers: Numbers,
    network: Network,
    dates: Dates,
    phones: Phones,
    addresses: Addresses,
    tagger: Option<Arc<dyn EntityTagger>>,
}

impl Finder {
    pub(super) fn new(tagger: Option<Arc<dyn EntityTagger>>) -> Result<Finder, regex::Error> {
        Ok(Finder {
            numbers: Numbers::new()?,
            network: Network::new()?,
            dates: Dates::new()?,
            phones: Phones::new()?,
            addresses: Addresses::new()?,
            tagger,
        })
    }

    /// What the policy's rules are about, in the order of the text; no two overlap.
    pub(super) fn find(
        &self,
        policy: &RedactionPolicy,
        text: &str,
    ) -> Result<Vec<Finding>, TagError> {
        let mut found = Vec::new();
        let wants = |entity| policy.rules.contains_key(&entity);
        let counts = |own: &Finding| {
            let rule = policy.rules.get(&own.entity);
            let least = rule.map_or(STANDARD_THRESHOLD_PERCENT, |rule| rule.threshold_percent);
            own.score * 100.0 >= f32::from(least)
        };
        // Numbers are told from one another even where a policy wants one kind alone.
        if text.bytes().any(|one| one.is_ascii_digit()) {
            self.numbers.find(text, &mut found);
            let dates = self.dates.find(text, &mut found);
            self.phones.find(text, &dates, &mut found);
            if wants(Entity::Address) {
                self.addresses.find(text, &mut found);
            }
        }
        self.network.find(text, &mut found);
        if let Some(tagger) = &self.tagger
            && (wants(Entity::Person) || wants(Entity::Address))
        {
            found.extend(tagger.tag(text)?.into_iter().filter_map(|span| {
                let entity = match span.kind {
                    TaggedKind::Person => Entity::Person,
                    TaggedKind::Address => Entity::Address,
                };
                text.get(span.range.clone())?;
                Some(Finding { entity, range: span.range, score: span.score })
            }));
        }
        found.retain(counts);
        let mut kept = apart(joined(found));
        kept.retain(|own| wants(own.entity));
        Ok(kept)
    }
}

/// Findings of the patterns and of the tagger about one address are one.
fn joined(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_key(|own| (own.entity, own.range.start, own.range.end));
    let mut joined: Vec<Finding> = Vec::new();
    for own in found {
        match joined.last_mut() {
            Some(last)
                if own.entity == Entity::Address
                    && last.entity == own.entity
                    && own.range.start <= last.range.end =>
            {
                last.range.end = last.range.end.max(own.range.end);
                last.score = last.score.max(own.score);
            }
            _ => joined.push(own),
        }
    }
    joined
}

/// The surest of what overlaps, in the order of the text.
fn apart(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by(|one, other| {
        // No guess about words stands against a checksum or the form of an email.
        let form = |own: &Finding| own.entity.exactness() >= Entity::Ssn.exactness();
        let key = |own: &Finding| (own.entity.exactness(), own.range.len());
        let scores = || other.score.total_cmp(&one.score);
        form(other).cmp(&form(one)).then_with(scores).then_with(|| key(other).cmp(&key(one)))
    });
    let mut kept: Vec<Finding> = Vec::new();
    for own in found {
        let clear = |other: &Finding| {
            other.range.end <= own.range.start || own.range.end <= other.range.start
        };
        if kept.iter().all(clear) {
            kept.push(own);
        }
    }
    kept.sort_by_key(|own| own.range.start);
    kept
}
