//! Pings: check whether the holder of a name still answers, and hold the requests that wait for the outcome.
//!
//! There is at most one ping for a name. It is retransmitted to the holder until the holder answers or the time limit
//! ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::proto::id::Incarnation;
use crate::proto::link::rtt::Rtt;
use crate::proto::name::Name;
use crate::proto::server::replies::RequestId;
use crate::proto::server::saves::SaveList;
use crate::proto::time::Instant;

/// The most registrations that wait for one ping, and the most lists of messages.
pub const WAITING: usize = 256;
/// The most bytes of text that wait for one ping.
pub const WAITING_BYTES: usize = 16 * 1024 * 1024;

/// All pings under way.
#[derive(Debug, Default)]
pub struct Pings {
    pings: BTreeMap<Name, Ping>,
    timers: BTreeSet<(Instant, Name)>,
    last_number: u32,
}

#[derive(Debug)]
struct Ping {
    datagram: PingDatagram,
    expires: Instant,
    copies: u32,
    retransmit_at: Instant,
    waiters: PingWaiters,
}

/// The content of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingDatagram {
    /// The client that is pinged.
    pub client: Incarnation,
    /// The answer must repeat this number, so that a delayed datagram does not count as the answer.
    pub number: u32,
}

/// The requests that wait for a ping.
#[derive(Debug, PartialEq, Eq)]
pub struct PingWaiters {
    /// The client that was pinged.
    pub holder: Incarnation,
    /// Registrations under the name, in order of arrival.
    pub claims: Vec<RequestId>,
    /// Lists of direct messages to the name, in order of arrival.
    pub lists: Vec<SaveList>,
    /// The bytes of text in `lists`.
    bytes: usize,
}

/// The action that follows when a timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingTimeout {
    /// Send the ping again.
    Retransmit,
    /// The holder did not answer in time.
    Failed,
}

impl Pings {
    /// Whether no ping is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pings.is_empty()
    }

    /// Starts a ping unless one is under way for this name. Returns the ping to send.
    pub fn start(&mut self, now: Instant, name: &Name, holder: Incarnation, limit: Duration) -> Option<PingDatagram> {
        if self.pings.contains_key(name) {
            return None;
        }
        self.last_number = self.last_number.wrapping_add(1);
        let ping = Ping {
            datagram: PingDatagram { client: holder, number: self.last_number },
            expires: now + limit,
            copies: 0,
            retransmit_at: now,
            waiters: PingWaiters::none(holder),
        };
        self.timers.insert((ping.deadline(), name.clone()));
        self.pings.insert(name.clone(), ping);
        self.transmit(now, name)
    }

    /// The ping to send now. Sets the timer for the next copy.
    pub fn transmit(&mut self, now: Instant, name: &Name) -> Option<PingDatagram> {
        let ping = self.pings.get_mut(name)?;
        self.timers.remove(&(ping.deadline(), name.clone()));
        ping.copies += 1;
        ping.retransmit_at = now + Rtt::unlinked_timeout(ping.copies);
        self.timers.insert((ping.deadline(), name.clone()));
        Some(ping.datagram)
    }

    /// Adds a registration that waits for the ping of this name. Returns whether there was room.
    pub fn add_claim(&mut self, name: &Name, claim: RequestId) -> bool {
        let waiters = self.pings.get_mut(name).map(|ping| &mut ping.waiters);
        let waiters = waiters.filter(|waiters| waiters.claims.len() < WAITING);
        waiters.map(|waiters| waiters.claims.push(claim)).is_some()
    }

    /// Adds messages that wait for the ping of their reader. Returns them when there is no room.
    pub fn add_list(&mut self, list: SaveList) -> Option<SaveList> {
        let bytes = list.text_bytes();
        match self.pings.get_mut(&list.to).map(|ping| &mut ping.waiters) {
            Some(waiters) if waiters.lists.len() < WAITING && waiters.bytes + bytes <= WAITING_BYTES => {
                waiters.bytes += bytes;
                waiters.lists.push(list);
                None
            }
            _ => Some(list),
        }
    }

    /// Whether a datagram of this client answers the ping of this name.
    #[must_use]
    pub fn is_answer(&self, name: &Name, client: Incarnation, number: u32) -> bool {
        self.pings.get(name).is_some_and(|ping| ping.datagram == PingDatagram { client, number })
    }

    /// Ends the ping of this name. Returns the requests that waited for it.
    pub fn end(&mut self, name: &Name) -> Option<PingWaiters> {
        let ping = self.pings.remove(name)?;
        self.timers.remove(&(ping.deadline(), name.clone()));
        Some(ping.waiters)
    }

    /// The names whose timer fired, in order of name, with the action for each.
    #[must_use]
    pub fn expired(&self, now: Instant) -> BTreeMap<Name, PingTimeout> {
        let fired = self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| name);
        let timeout = |ping: &Ping| if ping.expires <= now { PingTimeout::Failed } else { PingTimeout::Retransmit };
        fired.filter_map(|name| Some((name.clone(), timeout(self.pings.get(name)?)))).collect()
    }

    /// When the first timer fires.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }
}

impl Ping {
    fn deadline(&self) -> Instant {
        self.expires.min(self.retransmit_at)
    }
}

impl PingWaiters {
    /// A set without requests.
    #[must_use]
    pub fn none(holder: Incarnation) -> Self {
        Self { holder, claims: Vec::new(), lists: Vec::new(), bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::MessageKind;
    use crate::proto::id::MessageId;
    use crate::proto::record::{Mail, MailHeader};
    use crate::proto::text::Text;
    use crate::proto::time::Timestamp;

    const HOLDER: Incarnation = Incarnation(1);
    const LIMIT: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    #[test]
    fn a_ping_is_retransmitted_until_it_fails_at_its_time_limit() {
        let (mut pings, x) = (Pings::default(), Name::new("x").unwrap());
        let datagram = pings.start(at(0), &x, HOLDER, LIMIT);
        assert_eq!(datagram, Some(PingDatagram { client: HOLDER, number: 1 }));
        assert_eq!(pings.start(at(0), &x, HOLDER, LIMIT), None, "one is under way");
        let mut copies = 1;
        while let Some(due) = pings.deadline().filter(|due| *due < at(500)) {
            assert!(pings.expired(due - Duration::from_micros(1)).is_empty());
            assert_eq!(pings.expired(due), BTreeMap::from([(x.clone(), PingTimeout::Retransmit)]));
            assert_eq!(pings.transmit(due, &x), datagram);
            copies += 1;
        }
        assert_eq!(copies, 13);
        assert_eq!(pings.deadline(), Some(at(500)));
        assert_eq!(pings.expired(at(500)), BTreeMap::from([(x.clone(), PingTimeout::Failed)]));
        assert_eq!(pings.end(&x), Some(PingWaiters::none(HOLDER)));
        assert!(pings.is_empty() && pings.deadline().is_none() && pings.end(&x).is_none());
    }

    #[test]
    fn only_the_holder_can_answer_and_only_the_current_ping() {
        let (mut pings, x) = (Pings::default(), Name::new("x").unwrap());
        pings.start(at(0), &x, HOLDER, LIMIT);
        pings.end(&x);
        pings.start(at(1), &x, HOLDER, LIMIT);
        assert!(pings.is_answer(&x, HOLDER, 2));
        assert!(!pings.is_answer(&x, HOLDER, 1) && !pings.is_answer(&x, Incarnation(2), 2));
    }

    fn list_to(to: &Name, text: &str, count: u64) -> SaveList {
        let mail = |number| {
            let header = MailHeader {
                seq: 0,
                id: MessageId { incarnation: Incarnation(2), number },
                kind: MessageKind::Direct,
                from: Name::new("y").unwrap(),
                group: None,
                sent_at: Timestamp::default(),
                kept_at: Timestamp::default(),
                to: Some(to.clone()),
                position: 0,
                recipients: 1,
                text_bytes: 0,
            };
            Mail::new(header, Text::new(text).unwrap())
        };
        let request = RequestId { client: Incarnation(2), number: 1 };
        SaveList { request, to: to.clone(), mail: (1..=count).map(mail).collect() }
    }

    #[test]
    fn the_waiting_lists_are_limited_in_number_and_bytes() {
        for (text, most) in [("m".to_owned(), WAITING), ("m".repeat(65_536), WAITING_BYTES / 65_536 / 4)] {
            let (mut pings, x) = (Pings::default(), Name::new("x").unwrap());
            let list = || list_to(&x, &text, 4);
            assert!(pings.add_list(list()).is_some(), "there is no ping");
            pings.start(at(0), &x, HOLDER, LIMIT);
            assert!((0..most).all(|_| pings.add_list(list()).is_none()));
            assert!(pings.add_list(list()).is_some());
        }
    }

    #[test]
    fn the_number_of_waiting_claims_is_limited() {
        let (mut pings, x) = (Pings::default(), Name::new("x").unwrap());
        let claim = RequestId { client: Incarnation(2), number: 1 };
        assert!(!pings.add_claim(&x, claim), "there is no ping");
        pings.start(at(0), &x, HOLDER, LIMIT);
        assert!((0..WAITING).all(|_| pings.add_claim(&x, claim)));
        assert!(!pings.add_claim(&x, claim));
    }
}
