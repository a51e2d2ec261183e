//! Keys: the X25519 key pair of a user, and the keys of a link that authenticate its datagrams.
//!
//! Both ends of a link derive the same keys from their own secret key and the other's public key (the static-static
//! secret of Noise KK), so that the first datagram is authenticated without a handshake. Contents are not encrypted.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use x25519_dalek::StaticSecret;

use crate::proto::hex::{hex_digits, parse_hex};
use crate::proto::id::Incarnation;

/// Length of a tag, in bytes. The tag is HMAC-SHA-256, truncated to 128 bits (RFC 2104 §5).
pub const TAG: usize = 16;

/// The key pair of a user.
#[derive(Clone)]
pub struct Identity {
    secret: StaticSecret,
    public: PublicKey,
}

/// The public key of a user. Written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub [u8; 32]);

/// The error for a word that is not a public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits")]
pub struct BadKey;

/// The secret that two users share. All their links derive their keys from it.
#[derive(Clone)]
pub struct SharedSecret([u8; 32]);

/// The keys of one link: one for each direction.
#[derive(Clone)]
pub struct LinkKeys {
    sending: Hmac<Sha256>,
    receiving: Hmac<Sha256>,
}

impl PublicKey {
    /// The key that stands for none, as in the row of a name from a time without keys. Nobody can agree with it.
    pub const NONE: Self = Self([0; 32]);
}

impl Identity {
    /// The key pair of a secret key. Any 32 bytes are one (RFC 7748 §5).
    #[must_use]
    pub fn from_secret(secret: [u8; 32]) -> Self {
        let secret = StaticSecret::from(secret);
        let public = PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes());
        Self { secret, public }
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The secret that this user shares with the owner of `peer`. `None` if `peer` is no usable key: the secret would
    /// be the same for everybody (RFC 7748 §6.1).
    #[must_use]
    pub fn agree(&self, peer: PublicKey) -> Option<SharedSecret> {
        let shared = self.secret.diffie_hellman(&x25519_dalek::PublicKey::from(peer.0));
        shared.was_contributory().then(|| SharedSecret(shared.to_bytes()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public)
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret")
    }
}

impl fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKeys")
    }
}

impl LinkKeys {
    /// The keys of a link between the incarnations `me` and `peer`.
    #[must_use]
    pub fn new(secret: &SharedSecret, me: Incarnation, peer: Incarnation) -> Self {
        Self { sending: direction(secret, me, peer), receiving: direction(secret, peer, me) }
    }

    /// The tag of a datagram that is sent.
    #[must_use]
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG] {
        let mut mac = self.sending.clone();
        mac.update(bytes);
        truncated(mac)
    }

    /// Whether `tag` is the tag of a received datagram. Takes the same time for every wrong tag.
    #[must_use]
    pub fn verify(&self, bytes: &[u8], tag: [u8; TAG]) -> bool {
        let mut mac = self.receiving.clone();
        mac.update(bytes);
        truncated(mac).ct_eq(&tag).into()
    }
}

/// The key of one direction, by HKDF-SHA-256 (RFC 5869). The info names the version and both incarnations, so that a
/// datagram counts only in its own direction, and only between these two incarnations.
fn direction(secret: &SharedSecret, sender: Incarnation, receiver: Incarnation) -> Hmac<Sha256> {
    // HMAC fills a key of 32 bytes with zeros up to its block of 64.
    let mut block = [0; 64];
    let info = format!("chat 2 {sender} {receiver}");
    let expanded = Hkdf::<Sha256>::new(None, &secret.0).expand(info.as_bytes(), &mut block[..32]);
    debug_assert!(expanded.is_ok(), "32 bytes are a valid length");
    Hmac::new(&block.into())
}

fn truncated(mac: Hmac<Sha256>) -> [u8; TAG] {
    let full = mac.finalize().into_bytes();
    let mut tag = [0; TAG];
    tag.copy_from_slice(&full[..TAG]);
    tag
}

impl FromStr for PublicKey {
    type Err = BadKey;
    fn from_str(word: &str) -> Result<Self, BadKey> {
        parse_hex(word.as_bytes()).map(Self).ok_or(BadKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_digits(&self.0).try_for_each(|digit| f.write_char(digit.into()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = BadKey;
    fn try_from(word: String) -> Result<Self, BadKey> {
        word.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(own: u8, peer: u8, me: u128, you: u128) -> LinkKeys {
        let peer = Identity::from_secret([peer; 32]).public();
        LinkKeys::new(&Identity::from_secret([own; 32]).agree(peer).unwrap(), Incarnation(me), Incarnation(you))
    }

    #[test]
    fn the_shared_secret_is_that_of_rfc_7748() {
        // The example of RFC 7748 §6.1: Bob's secret key, Alice's public key, and their shared secret.
        let bytes = |word: &str| word.parse::<PublicKey>().unwrap();
        let bob = Identity::from_secret(bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb").0);
        let alice = bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let shared = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(bob.agree(alice).unwrap().0, shared.0);
    }

    #[test]
    fn a_tag_counts_for_its_link_and_direction_only() {
        let tag = keys(1, 2, 10, 20).tag(b"hi");
        assert!(keys(2, 1, 20, 10).verify(b"hi", tag));
        assert!(!keys(2, 1, 20, 10).verify(b"ho", tag), "other bytes");
        assert!(!keys(1, 2, 10, 20).verify(b"hi", tag), "the other direction");
        assert!(!keys(2, 1, 20, 11).verify(b"hi", tag), "another life");
        assert!(!keys(3, 1, 20, 10).verify(b"hi", tag), "another user");
    }

    #[test]
    fn a_key_that_gives_everybody_the_same_secret_is_refused() {
        assert!(Identity::from_secret([7; 32]).agree(PublicKey::NONE).is_none());
    }

    #[test]
    fn only_the_canonical_form_of_a_key_is_parsed() {
        let key = Identity::from_secret([7; 32]).public();
        assert_eq!(key.to_string().parse(), Ok(key));
        for bad in [String::new(), "0".repeat(63), "A".repeat(64), "+".repeat(64), "é".repeat(32)] {
            assert_eq!(bad.parse::<PublicKey>(), Err(BadKey));
        }
    }
}
