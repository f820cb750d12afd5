//! Redaction as data: what is found, what is near but is not, and what becomes of it.

mod answers;
mod entities;
mod names;
mod requests;
mod scores;
mod streams;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use headwater_models::entities::{EntityTagger, KnownNames, TaggedKind};

use super::{Action, Entity, HashKey, RedactionPolicy, RedactionSession, Redactor, Rule};

/// A redactor that knows two names. Its patterns take longer to compile than any test.
fn redactor() -> Arc<Redactor> {
    static SHARED: LazyLock<Arc<Redactor>> = LazyLock::new(|| {
        let names = [(TaggedKind::Person, "Ada Lovelace"), (TaggedKind::Person, "José O\"Hara")];
        redactor_of(Some(Arc::new(KnownNames::new(&names))))
    });
    Arc::clone(&SHARED)
}

fn redactor_of(tagger: Option<Arc<dyn EntityTagger>>) -> Arc<Redactor> {
    Arc::new(Redactor::new(HashKey::new("secret"), tagger).expect("patterns compile"))
}

fn session(action: Action) -> RedactionSession {
    RedactionSession::new(Arc::new(RedactionPolicy::of(action, &Entity::ALL)))
}

/// The text after one session's redaction.
fn redacted(session: &mut RedactionSession, text: &str) -> String {
    session.reserve(text);
    let done = session.redact(&redactor(), text, &|| false).expect("nothing is blocked");
    done.unwrap_or_else(|| text.to_owned())
}

/// What is found in a text, as entity and value.
fn found(text: &str) -> Vec<(Entity, String)> {
    let policy = RedactionPolicy::of(Action::Mask, &Entity::ALL);
    let found = redactor().find(&policy, text, &|| false).expect("it does not stop");
    found.into_iter().map(|own| (own.entity, text[own.range].to_owned())).collect()
}

fn rules(rules: &[(Entity, Action)]) -> RedactionPolicy {
    let rules: BTreeMap<Entity, Rule> =
        rules.iter().map(|(entity, action)| (*entity, Rule::of(*action))).collect();
    RedactionPolicy { rules, request: true, response: false, fail_closed: false }
}
