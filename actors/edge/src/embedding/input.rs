//! The `input` field: one text, texts, one list of token ids, lists of them, or images.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater_actors::embedding::Inputs;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

const SHAPES: &str = "a string, a list of strings, a list of token ids, a list of lists of \
                      token ids, or a list of objects {\"image\": data URL}";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputField(pub(super) Inputs);

/// One member of a list.
enum Member {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
    Image(Vec<u8>),
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

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Inputs, A::Error> {
        image_of(fields).map(|image| Inputs::Images(vec![image]))
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
            Member::Image(image) => {
                let mut images = vec![image];
                while let Some(member) = members.next_element()? {
                    let Member::Image(image) = member else { return Err(mixed()) };
                    images.push(image);
                }
                Ok(Inputs::Images(images))
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
        formatter.write_str(
            "a string, a token id (0 to 4294967295), a list of token ids or an object \
             {\"image\": data URL}",
        )
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

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Member, A::Error> {
        image_of(fields).map(Member::Image)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Member, A::Error> {
        let mut ids = Vec::new();
        while let Some(id) = members.next_element::<u32>()? {
            ids.push(id);
        }
        Ok(Member::Ids(ids))
    }
}

/// The bytes of an image that is given as a data URL (RFC 2397) in base64. Nothing is fetched:
/// an edge that followed a client's URLs would reach what only the edge may reach.
fn image_of<'de, A: MapAccess<'de>>(mut fields: A) -> Result<Vec<u8>, A::Error> {
    // A name that is not ours may be a client's text, so the error does not repeat it.
    let other = || A::Error::custom("an object among the inputs has one field, `image`");
    if fields.next_key::<String>()?.as_deref() != Some("image") {
        return Err(other());
    }
    let image: String = fields.next_value()?;
    if fields.next_key::<String>()?.is_some() {
        return Err(other());
    }
    let shape = "send \"data:image/png;base64,...\" or \"data:image/jpeg;base64,...\"";
    let Some(rest) = image.strip_prefix("data:image/") else {
        let what = match image.starts_with("http://") || image.starts_with("https://") {
            true => "an image is not fetched from a URL",
            false => "the image is no data URL",
        };
        return Err(A::Error::custom(format!("{what}; {shape}")));
    };
    let Some((_, data)) = rest.split_once(";base64,") else {
        return Err(A::Error::custom(format!("the image is not in base64; {shape}")));
    };
    STANDARD
        .decode(data)
        .map_err(|error| A::Error::custom(format!("the image's base64 is broken: {error}")))
}
