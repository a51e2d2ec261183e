//! Ids of incarnations and messages. An incarnation is random, so that other hosts cannot guess it.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::proto::hex::{hex_digits, parse_hex};

/// The 128-bit id of one start of a program. It is random and new at each start. Written as 32 lower-case hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u128);

/// The id of a message, unique among all messages. Written `INCARNATION.NUMBER`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The incarnation of the sender.
    pub incarnation: Incarnation,
    /// The number of the message within that incarnation, from 1.
    pub number: u64,
}

/// The error for a word that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits, that of a message with '.' and a number behind them")]
pub struct BadId;

impl FromStr for Incarnation {
    type Err = BadId;
    fn from_str(word: &str) -> Result<Self, BadId> {
        parse_hex(word.as_bytes()).map(|bytes| Incarnation(u128::from_be_bytes(bytes))).ok_or(BadId)
    }
}

impl FromStr for MessageId {
    type Err = BadId;
    fn from_str(word: &str) -> Result<Self, BadId> {
        let (incarnation, number) = word.split_once('.').ok_or(BadId)?;
        let number = number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok()).flatten();
        Ok(Self { incarnation: incarnation.parse()?, number: number.ok_or(BadId)? })
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut word = [0; 32];
        word.iter_mut().zip(hex_digits(&self.0.to_be_bytes())).for_each(|(place, digit)| *place = digit);
        f.write_str(std::str::from_utf8(&word).unwrap_or_default())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.number)
    }
}

/// Parses a word of JSON as an id.
struct IdVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = BadId>> Visitor<'_> for IdVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<T, E> {
        word.parse().map_err(E::custom)
    }
}

macro_rules! as_string {
    ($($id:ty),*) => {$(
        // By hand, because `try_from` and `into` would make a string of every id.
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(IdVisitor(PhantomData))
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
as_string!(Incarnation, MessageId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_of_an_id_is_parsed() {
        let id = MessageId { incarnation: Incarnation(0xabc), number: 7 };
        assert_eq!(id.to_string(), "00000000000000000000000000000abc.7");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "abc", "00000000000000000000000000000ABC", "00000000000000000000000000000abc.+7"] {
            assert_eq!(bad.parse::<MessageId>(), Err(BadId));
            assert_eq!(bad.parse::<Incarnation>(), Err(BadId));
        }
    }
}
