//! Parses a line whose first member is its kind, `t`, without copying its members. Our emitter writes such lines.
//!
//! Any other line, and any line that is not exactly of the known form, is parsed again by serde: the result is the same
//! for every line, only slower.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, VariantAccess, Visitor};
use serde::de::{IntoDeserializer as _, value::BorrowedStrDeserializer};
use serde::forward_to_deserialize_any;
use serde_json::de::SliceRead;
use serde_json::{Deserializer as Json, Error};

use crate::proto::wire::frame::{Frame, UntaggedFrame};

/// Parses a frame. `None` if it is malformed.
pub(super) fn parse(line: &[u8]) -> Option<Frame> {
    parse_tagged(line).or_else(|| serde_json::from_slice(line).ok())
}

fn parse_tagged(line: &[u8]) -> Option<Frame> {
    let rest = line.strip_prefix(br#"{"t":""#)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let kind = std::str::from_utf8(&rest[..end]).ok()?;
    let mut json = Json::from_slice(line);
    let frame = UntaggedFrame::deserialize(TaggedLine { kind, json: &mut json }).ok()?;
    json.end().ok()?;
    Some(frame)
}

/// A line as an enum: its kind is the variant, its other members are those of the variant.
struct TaggedLine<'a, 'de> {
    kind: &'de str,
    json: &'a mut Json<SliceRead<'de>>,
}

impl<'de> Deserializer<'de> for TaggedLine<'_, 'de> {
    type Error = Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    /// The members of a newtype variant.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.struct_variant(fields, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(not_exact())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for TaggedLine<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let kind: BorrowedStrDeserializer<'de, Error> = BorrowedStrDeserializer::new(self.kind);
        Ok((seed.deserialize(kind)?, self))
    }
}

impl<'de> VariantAccess<'de> for TaggedLine<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Err(not_exact())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Error> {
        Err(not_exact())
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.json.deserialize_map(Members { fields, inner: visitor })
    }
}

/// The members after the kind. A member with another name than those of `fields` is an error: serde checks an unknown
/// value less strictly than it does when it copies the value.
struct Members<T> {
    fields: &'static [&'static str],
    inner: T,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Members<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        map.next_entry::<IgnoredAny, IgnoredAny>()?;
        self.inner.visit_map(Members { fields: self.fields, inner: map })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.inner.next_key::<&'de str>()? else { return Ok(None) };
        if !self.fields.contains(&key) {
            return Err(A::Error::custom("unknown member"));
        }
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(seed)
    }
}

/// The line needs the general parser.
fn not_exact() -> Error {
    Error::custom("not of the exact form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0000000000000000000000000000000a.7";

    /// Values of members: valid ones of every type, and invalid ones.
    const VALUES: &[&str] = &[
        r#""x""#,
        r#""0000000000000000000000000000000a.7""#,
        r#""direct""#,
        r#"{"direct":null}"#,
        r#""ok""#,
        r#""127.0.0.1""#,
        r#""a\u00e9\n""#,
        r#""\ud800""#,
        "\"\u{1}\"",
        "1",
        "-1",
        "1.0",
        "1e999",
        "18446744073709551616",
        "true",
        "null",
        "[]",
        r#"["x","y"]"#,
        r#"[["x","127.0.0.1:9","0000000000000000000000000000000a",
            "0101010101010101010101010101010101010101010101010101010101010101",true]]"#,
        "{}",
    ];

    const KEYS: &[&str] = &[
        "t",
        "id",
        "at",
        "after",
        "text",
        "r",
        "is",
        "n",
        "row",
        "names",
        "more",
        "to",
        "again",
        "kind",
        "from",
        "group",
        "kept",
        "name",
        "via",
        "mail",
        "reason",
        "table",
        "upto",
        "whole",
        "last",
        "total",
        "rows",
        "gone",
        "reader",
        "new",
        "te\\u0078t",
    ];

    const KINDS: &[&str] = &[
        "msg",
        "post",
        "part",
        "all",
        "say",
        "answer",
        "rows",
        "save",
        "reg",
        "welcome",
        "refused",
        "dereg",
        "bye",
        "alive",
        "lookup",
        "create",
        "receipt",
        "hello",
        "future",
        "unknown",
        "m\\u0073g",
        "",
    ];

    /// Members that make frames of the most frequent kinds valid.
    fn good_members() -> Vec<(String, String)> {
        let good = [
            ("id", format!("\"{ID}\"")),
            ("at", "5".to_owned()),
            ("r", "7".to_owned()),
            ("text", r#""hi \"é\"""#.to_owned()),
            ("kind", r#""channel""#.to_owned()),
            ("from", r#""x""#.to_owned()),
            ("to", r#""y""#.to_owned()),
            ("is", r#""exists""#.to_owned()),
        ];
        good.map(|(key, value)| (key.to_owned(), value)).to_vec()
    }

    fn line(kind: &str, at: usize, members: &[(String, String)], end: &str) -> String {
        let mut members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        members.insert(at.min(members.len()), format!("\"t\":\"{kind}\""));
        format!("{{{}}}{end}", members.join(",").replace('\n', " "))
    }

    fn random_members() -> impl Strategy<Value = Vec<(String, String)>> {
        let member = (prop::sample::select(KEYS), prop::sample::select(VALUES));
        let random = prop::collection::vec(member.prop_map(|(key, value)| (key.to_owned(), value.to_owned())), 0..6);
        let good = prop::sample::subsequence(good_members(), 0..=8).prop_shuffle();
        (good, random, any::<bool>()).prop_map(
            |(good, random, both)| {
                if both { good.into_iter().chain(random).collect() } else { good }
            },
        )
    }

    proptest! {
        #[test]
        fn every_line_has_the_result_of_the_general_parser(
            kind in prop::sample::select(KINDS),
            at in prop_oneof![4 => Just(0_usize), 1 => 0..9_usize],
            members in random_members(),
            end in prop::sample::select(&["", " ", "}", "x"][..]),
        ) {
            let line = line(kind, at, &members, end);
            prop_assert_eq!(parse(line.as_bytes()), serde_json::from_slice(line.as_bytes()).ok(), "{}", line);
        }
    }

    #[test]
    fn lines_as_we_emit_them_need_no_general_parser() {
        let lines = [
            format!(r#"{{"t":"msg","id":"{ID}","at":5,"text":"hi"}}"#),
            format!(
                r#"{{"t":"post","id":"{ID}","kind":"group","from":"x","group":"g","at":5,"kept":6,"text":"a\\nb"}}"#
            ),
            format!(r#"{{"t":"save","r":1,"id":"{ID}","to":"y","at":5,"again":true,"text":"hi"}}"#),
            format!(r#"{{"t":"all","r":1,"id":"{ID}","at":5,"text":"hi"}}"#),
            r#"{"t":"part","text":"hi"}"#.to_owned(),
            r#"{"t":"answer","r":1,"is":"accepted","n":3}"#.to_owned(),
            r#"{"t":"rows","upto":3,"last":true,"total":2,"gone":["x"]}"#.to_owned(),
        ];
        for line in lines {
            let frame = parse_tagged(line.as_bytes());
            assert!(frame.is_some() && frame == serde_json::from_slice(line.as_bytes()).ok(), "{line}");
            assert_eq!(frame.unwrap().lines(), [line]);
        }
    }
}
