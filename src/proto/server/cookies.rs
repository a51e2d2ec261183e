//! Cookies: prove that a client receives datagrams at its address. The server keeps no state for unproven clients.

use std::hash::Hasher as _;
use std::net::SocketAddr;
use std::time::Duration;

use siphasher::sip::SipHasher24;

use crate::proto::id::Incarnation;
use crate::proto::time::Instant;

/// A cookie is valid for at least this time and for less than twice this time.
const VALID_FOR: Duration = Duration::from_secs(5);

/// Makes and checks cookies. A cookie is the SipHash-2-4 of time, incarnation and address under a secret key, as in SYN
/// cookies of TCP and in the HelloVerifyRequest of DTLS (RFC 6347 §4.2.1).
#[derive(Debug)]
pub struct Cookies {
    key: [u64; 2],
}

impl Cookies {
    /// Cookies under this secret key.
    #[must_use]
    pub fn new(key: [u64; 2]) -> Self {
        Self { key }
    }

    /// The cookie of a client at this time.
    #[must_use]
    pub fn make(&self, now: Instant, addr: SocketAddr, incarnation: Incarnation) -> String {
        self.at(Self::slot(now), addr, incarnation)
    }

    /// Whether the cookie was made for this client and is valid.
    #[must_use]
    pub fn check(&self, now: Instant, addr: SocketAddr, incarnation: Incarnation, cookie: &str) -> bool {
        let slot = Self::slot(now);
        [slot, slot.wrapping_sub(1)].into_iter().any(|slot| self.at(slot, addr, incarnation) == cookie)
    }

    fn slot(now: Instant) -> u64 {
        now.micros() / u64::try_from(VALID_FOR.as_micros()).unwrap_or(u64::MAX)
    }

    fn at(&self, slot: u64, addr: SocketAddr, incarnation: Incarnation) -> String {
        let mut hasher = SipHasher24::new_with_keys(self.key[0], self.key[1]);
        hasher.write_u64(slot);
        hasher.write_u128(incarnation.0);
        hasher.write(addr.to_string().as_bytes());
        format!("{:016x}", hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_valid_for_one_address_and_one_incarnation_and_expires() {
        let cookies = Cookies::new([1, 2]);
        let (here, there) = (SocketAddr::from(([127, 0, 0, 1], 5)), SocketAddr::from(([127, 0, 0, 1], 6)));
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let cookie = cookies.make(at(29), here, Incarnation(1));
        assert!(cookies.check(at(29), here, Incarnation(1), &cookie));
        assert!(cookies.check(at(34), here, Incarnation(1), &cookie));
        assert!(!cookies.check(at(35), here, Incarnation(1), &cookie));
        assert!(!cookies.check(at(29), there, Incarnation(1), &cookie));
        assert!(!cookies.check(at(29), here, Incarnation(2), &cookie));
        assert!(!Cookies::new([1, 3]).check(at(29), here, Incarnation(1), &cookie));
    }
}
