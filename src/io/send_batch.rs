//! Sends many datagrams in few system calls.
//!
//! Consecutive datagrams of one length to one destination leave by segmentation offload in one call (`quinn-udp`).
//! `quinn-udp` cannot send to many destinations in one call. The other datagrams share calls of `sendmmsg`.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;

use mio::net::UdpSocket;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use quinn_udp::{Transmit as Segments, UdpSockRef, UdpSocketState};

use crate::io::sender::Transmit;

/// The most datagrams of one call to many destinations.
const CALL_DATAGRAMS: usize = 64;
/// The most bytes of one call with segmentation offload. The system's limit is one IP packet with its headers.
const CALL_BYTES: usize = 65_000;

/// Buffers that the calls share.
#[derive(Debug)]
pub(super) struct SendBatch {
    segments: Vec<u8>,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Default for SendBatch {
    fn default() -> Self {
        Self { segments: Vec::new(), headers: MultiHeaders::preallocate(CALL_DATAGRAMS, None) }
    }
}

impl SendBatch {
    /// Sends these datagrams, those to one destination in order. An error loses only its datagram.
    pub(super) fn send(&mut self, socket: &UdpSocket, offload: &UdpSocketState, mut transmits: Vec<Transmit>) {
        group(&mut transmits);
        let mut rest = transmits.as_slice();
        let mut singles = Vec::new();
        while let Some(first) = rest.first() {
            let run = run_length(rest, offload.max_gso_segments());
            let (segments, others) = rest.split_at(run);
            rest = others;
            if run == 1 {
                singles.push(first);
                continue;
            }
            if singles.last().is_some_and(|(to, _)| *to == first.0) {
                self.send_singles(socket, &mut singles);
            }
            if self.send_segments(socket, offload, segments).is_err_and(|why| why.kind() != io::ErrorKind::WouldBlock) {
                // Maybe the system has no offload for this route. `offload` remembers that.
                singles.extend(segments);
            }
        }
        self.send_singles(socket, &mut singles);
    }

    fn send_segments(&mut self, socket: &UdpSocket, offload: &UdpSocketState, all: &[Transmit]) -> io::Result<()> {
        let (destination, first) = (all[0].0, &all[0].1);
        self.segments.clear();
        all.iter().for_each(|(_, bytes)| self.segments.extend_from_slice(bytes));
        let (contents, segment_size) = (self.segments.as_slice(), Some(first.len()));
        let segments = Segments { destination, ecn: None, contents, segment_size, src_ip: None };
        offload.try_send(UdpSockRef::from(socket), &segments)
    }

    fn send_singles(&mut self, socket: &UdpSocket, singles: &mut Vec<&Transmit>) {
        let mut rest = singles.as_slice();
        while let [(to, bytes), others @ ..] = rest {
            let sent = if others.is_empty() {
                socket.send_to(bytes, *to).map(|_| 1)
            } else {
                self.send_many(socket, &rest[..rest.len().min(CALL_DATAGRAMS)]).map_err(io::Error::from)
            };
            match sent {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                // A call stops at a datagram that cannot be sent. The next one reports its error: it is lost.
                sent => rest = &rest[sent.unwrap_or(1).max(1)..],
            }
        }
        singles.clear();
    }

    /// Returns the number of datagrams that were sent, or the error of the first one.
    fn send_many(&mut self, socket: &UdpSocket, all: &[&Transmit]) -> Result<usize, Errno> {
        let contents: Vec<_> = all.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
        let addresses: Vec<_> = all.iter().map(|(to, _)| Some(SockaddrStorage::from(*to))).collect();
        let none: [ControlMessage<'_>; 0] = [];
        let sent = sendmmsg(socket.as_raw_fd(), &mut self.headers, &contents, addresses, none, MsgFlags::empty())?;
        Ok(sent.count())
    }
}

/// Brings the datagrams to one destination together, in order. Destinations stay in the order of their first datagrams.
fn group(transmits: &mut [Transmit]) {
    if transmits.is_sorted_by(|(a, _), (b, _)| a == b) {
        return;
    }
    let mut ranks = BTreeMap::<SocketAddr, usize>::new();
    for (to, _) in transmits.iter() {
        let next = ranks.len();
        ranks.entry(*to).or_insert(next);
    }
    transmits.sort_by_key(|(to, _)| ranks.get(to).copied());
}

/// The number of datagrams from the first one on that can leave as segments of one call: they have the destination and
/// the length of the first one, only the last one may be shorter.
fn run_length(transmits: &[Transmit], most: usize) -> usize {
    let [(to, first), others @ ..] = transmits else { return 0 };
    let (mut count, mut bytes) = (1, first.len());
    for (_, next) in others.iter().take_while(|(other, next)| other == to && next.len() <= first.len()) {
        bytes += next.len();
        if count >= most || bytes > CALL_BYTES || next.is_empty() {
            break;
        }
        count += 1;
        if next.len() < first.len() {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transmit(port: u16, length: usize, number: u8) -> Transmit {
        (SocketAddr::from(([127, 0, 0, 1], port)), vec![number; length])
    }

    #[test]
    fn datagrams_to_one_destination_come_together_in_order() {
        let all = [(1, 9), (2, 9), (1, 8), (3, 7), (2, 5), (1, 9)];
        let mut transmits: Vec<_> = (0..).zip(all).map(|(n, (port, length))| transmit(port, length, n)).collect();
        group(&mut transmits);
        assert_eq!(transmits.iter().map(|(_, bytes)| bytes[0]).collect::<Vec<_>>(), [0, 2, 5, 1, 4, 3]);
    }

    #[test]
    fn segments_have_one_length_and_only_the_last_one_may_be_shorter() {
        let run = |lengths: &[usize], most| {
            let all: Vec<_> = lengths.iter().map(|length| transmit(1, *length, 0)).collect();
            run_length(&all, most)
        };
        assert_eq!(run(&[5, 5, 5], 64), 3);
        assert_eq!(run(&[5, 5, 4, 5], 64), 3);
        assert_eq!(run(&[5, 6], 64), 1);
        assert_eq!(run(&[5, 0], 64), 1, "an empty segment would not leave");
        assert_eq!(run(&[0, 0], 64), 1);
        assert_eq!(run(&[5; 9], 1), 1, "without offload");
        assert_eq!(run(&[5; 100], 64), 64);
        assert_eq!(run(&[1_200; 64], 64), CALL_BYTES / 1_200);
        assert_eq!(run_length(&[transmit(1, 5, 0), transmit(2, 5, 0)], 64), 1);
    }
}
