//! The `input` field: one text, texts, one list of token ids, or lists of them.

use std::fmt;

use headwater_actors::embedding::Inputs;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

const SHAPES: &str = "a string, a list of strings, a list of token ids, or a list of lists of \
                      token ids";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputField(pub(super) Inputs);

/// One member of a list.
enum Member {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

impl<'de> Deserialize<'de> for InputField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor).map(InputField)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Inputs;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(SHAPES)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Inputs, E> {
        Ok(Inputs::Texts(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Inputs, A::Error> {
        let Some(first) = members.next_element::<Member>()? else {
            return Ok(Inputs::Texts(Vec::new()));
        };
        let mixed = || A::Error::custom(format!("the list mixes kinds; expected {SHAPES}"));
        match first {
            Member::Text(text) => {
                let mut texts = vec![text];
                while let Some(member) = members.next_element()? {
                    let Member::Text(text) = member else { return Err(mixed()) };
                    texts.push(text);
                }
                Ok(Inputs::Texts(texts))
            }
            Member::Id(id) => {
                let mut ids = vec![id];
                while let Some(member) = members.next_element()? {
                    let Member::Id(id) = member else { return Err(mixed()) };
                    ids.push(id);
                }
                Ok(Inputs::Tokens(vec![ids]))
            }
            Member::Ids(ids) => {
                let mut lists = vec![ids];
                while let Some(member) = members.next_element()? {
                    let Member::Ids(ids) = member else { return Err(mixed()) };
                    lists.push(ids);
                }
                Ok(Inputs::Tokens(lists))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, a token id (0 to 4294967295) or a list of token ids")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Member, E> {
        Ok(Member::Text(text))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Member, E> {
        u32::try_from(id)
            .map(Member::Id)
            .map_err(|_| E::custom(format!("token id {id} is above 4294967295")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Member, A::Error> {
        let mut ids = Vec::new();
        while let Some(id) = members.next_element::<u32>()? {
            ids.push(id);
        }
        Ok(Member::Ids(ids))
    }
}
