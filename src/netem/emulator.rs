//! The network emulator: accepts every datagram, drops some, and returns the others when they are due.
//!
//! One instance is behind the socket of a program ([`FaultCommand`] sets its faults) and one between the actors of
//! a simulation ([`LinkModel`] describes its links). After each [`Emulator::send`], drain
//! [`Emulator::due`], then wait until [`Emulator::deadline`].

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::netem::fault::{Fault, FaultCommand};
use crate::netem::link_model::LinkModel;
use crate::proto::event::reason::FaultKind;
use crate::proto::rng::Rng;
use crate::proto::time::Instant;

/// The most datagrams held back. When this many are held, further ones leave at once.
pub const HELD: usize = 65_536;
/// The most addresses with faults of their own that commands can set.
pub const ADDRESSES: usize = 4_096;
/// The most paths with state from their last datagrams. On further paths, each datagram is treated as the first one.
pub const PATHS: usize = 65_536;
/// The longest time that a reordered datagram waits for its successor.
pub const REORDER_WAITS: Duration = Duration::from_millis(30);

/// An emulated network. `K` identifies a path: a destination address, or a pair of actors.
#[derive(Clone, Debug, PartialEq)]
pub struct Emulator<K> {
    rng: Rng,
    /// The link of all paths without a link of their own.
    link: LinkModel,
    links: BTreeMap<K, LinkModel>,
    /// Paths that lead through the link of another path, and that path.
    shared: BTreeMap<K, K>,
    /// The faults of single paths, and of all paths (`None`). Both apply to a datagram.
    faults: BTreeMap<Option<K>, PathFaults>,
    /// The state of links. A link is identified by its path, or by the first of the paths that share it.
    memory: BTreeMap<K, PathMemory>,
    /// Datagrams that are held back, in the order in which they will leave.
    held: BTreeMap<Place, (K, Vec<u8>)>,
    /// The number of places assigned so far.
    places: u64,
}

/// When a held datagram leaves, and its rank among those that leave at the same time.
type Place = (Instant, u64);

/// Faults of one path, or of all paths.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PathFaults {
    /// The number of next datagrams that are dropped.
    drop: u32,
    cut: bool,
    /// The other faults, as a link in sequence with the link of the path.
    link: LinkModel,
}

impl Default for PathFaults {
    fn default() -> Self {
        Self { drop: 0, cut: false, link: LinkModel::TRANSPARENT }
    }
}

/// State of a link from one datagram to the next.
#[derive(Clone, Debug, Default, PartialEq)]
struct PathMemory {
    lost_last: bool,
    /// When the bytes sent so far have passed the bandwidth limit.
    busy_until: Instant,
    /// When the transmission of each datagram begins that waits for the bandwidth, in order.
    queue: VecDeque<Instant>,
    /// The place of each copy of the datagram that waits for its successor.
    waiting: Vec<Place>,
}

impl PathMemory {
    fn is_needed(&self, now: Instant) -> bool {
        self.lost_last || self.busy_until > now || !self.waiting.is_empty()
    }

    /// Whether a datagram finds as many waiting ones as may wait.
    fn is_queue_full(&mut self, now: Instant, link: &LinkModel) -> bool {
        while self.queue.front().is_some_and(|begins| *begins <= now) {
            self.queue.pop_front();
        }
        link.queue > 0 && self.queue.len() >= link.queue
    }

    /// Transmits a datagram of `bytes` bytes after all earlier ones.
    fn transmit(&mut self, now: Instant, link: &LinkModel, bytes: usize) {
        let begins = self.busy_until.max(now);
        if link.queue > 0 && begins > now {
            self.queue.push_back(begins);
        }
        self.busy_until = begins + link.transmission_time(bytes);
    }
}

/// The random numbers of one datagram. Each datagram uses the same number of them, so that runs with the same seed and
/// different probabilities stay comparable.
struct Draws {
    loss: f64,
    duplicate: f64,
    reorder: f64,
    jitter: [u64; 2],
}

impl Draws {
    fn new(rng: &mut Rng) -> Self {
        Self { loss: fraction(rng), duplicate: fraction(rng), reorder: fraction(rng), jitter: [rng.bits(), rng.bits()] }
    }
}

/// No faults, on links that change nothing, with the seed 0.
impl<K: Copy + Ord> Default for Emulator<K> {
    fn default() -> Self {
        Self::new(0, LinkModel::TRANSPARENT)
    }
}

impl<K: Copy + Ord> Emulator<K> {
    /// A network without faults, with this link on each path.
    #[must_use]
    pub fn new(seed: u64, link: LinkModel) -> Self {
        let (links, shared, faults, memory, held) = Default::default();
        Self { rng: Rng::from_number(seed), link, links, shared, faults, memory, held, places: 0 }
    }

    /// Replaces the links of all paths.
    pub fn set_link(&mut self, link: LinkModel) {
        self.link = link;
        self.links.clear();
    }

    /// Replaces the link of one path and of those that share it, until [`Emulator::heal`].
    pub fn set_path_link(&mut self, path: K, link: LinkModel) {
        self.links.insert(self.link_of(path), link);
    }

    /// Leads these paths through one link, for good. They share its bandwidth, its queue, its bursts of losses and its
    /// reordering. Call it before the first datagram of these paths, and only once for each.
    pub fn share_link(&mut self, paths: &[K]) {
        if let Some((first, others)) = paths.split_first() {
            self.shared.extend(others.iter().map(|path| (*path, *first)));
        }
    }

    /// Adds a fault to one path, or to all paths (`None`). It replaces an earlier fault of the same kind there, except
    /// that drops add up.
    pub fn add_fault(&mut self, path: Option<K>, fault: Fault) {
        let faults = self.faults.entry(path).or_default();
        match fault {
            Fault::Drop(count) => faults.drop = faults.drop.saturating_add(count),
            Fault::Loss(percent) => faults.link.loss = percent.probability(),
            Fault::Delay(delay) => faults.link.latency = delay,
            Fault::Duplicate(percent) => faults.link.duplicate = percent.probability(),
            Fault::Reorder(percent) => faults.link.reorder = percent.probability(),
            Fault::Cut => faults.cut = true,
        }
    }

    /// Removes all faults and the links of single paths. Datagrams that are held back still arrive.
    pub fn heal(&mut self) {
        self.faults.clear();
        self.links.clear();
    }

    /// Whether every datagram leaves at once and unchanged, and none is held back.
    #[must_use]
    pub fn is_transparent(&self) -> bool {
        self.faults.is_empty() && self.links.is_empty() && self.link == LinkModel::TRANSPARENT && self.is_empty()
    }

    /// Whether no datagram is held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Accepts a datagram and holds it until it is due. Returns the fault if one dropped the datagram.
    pub fn send(&mut self, now: Instant, path: K, bytes: &[u8]) -> Option<FaultKind> {
        let draws = Draws::new(&mut self.rng);
        if let Some(fault) = self.take_cut_or_drop(path) {
            return Some(fault);
        }
        let link = self.whole_link(path);
        let mut memory = self.memory.remove(&self.link_of(path)).unwrap_or_default();
        let lost = draws.loss < link.loss_after(memory.lost_last);
        memory.lost_last = lost && link.burst > 0.0;
        let lost = lost || memory.is_queue_full(now, &link);
        if !lost {
            self.hold_copies(now, path, bytes, &link, &draws, &mut memory);
        }
        if memory.is_needed(now) && self.memory.len() < PATHS {
            self.memory.insert(self.link_of(path), memory);
        }
        lost.then_some(FaultKind::Loss)
    }

    /// Returns the earliest datagram that is due, with its path. Call until `None`.
    pub fn due(&mut self, now: Instant) -> Option<(K, Vec<u8>)> {
        let entry = self.held.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (place, (path, bytes)) = entry.remove_entry();
        let link = self.link_of(path);
        if let Some(memory) = self.memory.get_mut(&link) {
            memory.waiting.retain(|waiting| *waiting != place);
            if !memory.is_needed(now) {
                self.memory.remove(&link);
            }
        }
        Some((path, bytes))
    }

    /// When the next datagram leaves.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.held.keys().next().map(|(at, _)| *at)
    }

    fn take_cut_or_drop(&mut self, path: K) -> Option<FaultKind> {
        let scopes = [Some(path), None];
        if scopes.iter().any(|scope| self.faults.get(scope).is_some_and(|faults| faults.cut)) {
            return Some(FaultKind::Cut);
        }
        for scope in scopes {
            if let Some(faults) = self.faults.get_mut(&scope).filter(|faults| faults.drop > 0) {
                faults.drop -= 1;
                return Some(FaultKind::Drop);
            }
        }
        None
    }

    /// The link of a path, combined with the faults of the path and of all paths.
    fn whole_link(&self, path: K) -> LinkModel {
        let link = self.links.get(&self.link_of(path)).copied().unwrap_or(self.link);
        let faults = [Some(path), None].map(|scope| self.faults.get(&scope));
        faults.into_iter().flatten().fold(link, |link, faults| link.and_then(faults.link))
    }

    /// The path that identifies the link of `path`.
    fn link_of(&self, path: K) -> K {
        self.shared.get(&path).copied().unwrap_or(path)
    }

    /// Holds a datagram that is not lost, once or twice.
    fn hold_copies(
        &mut self,
        now: Instant,
        path: K,
        bytes: &[u8],
        link: &LinkModel,
        draws: &Draws,
        memory: &mut PathMemory,
    ) {
        let copies = 1 + usize::from(draws.duplicate < link.duplicate);
        let is_full = self.held.len() + copies > HELD;
        if link.bandwidth > 0 && !is_full {
            memory.transmit(now, link, bytes.len());
        }
        let earliest = now.max(memory.busy_until) + link.latency;
        let arrivals = draws.jitter.map(|draw| if is_full { now } else { earliest + part(link.jitter, draw) });
        let arrivals = &arrivals[..copies];
        let predecessor = std::mem::take(&mut memory.waiting);
        // A datagram that overtakes does not wait itself. Otherwise every datagram would be late and none out of order.
        let waits = predecessor.is_empty() && !is_full && draws.reorder < link.reorder;
        for arrival in arrivals {
            let place = self.hold(if waits { *arrival + REORDER_WAITS } else { *arrival }, path, bytes.to_vec());
            memory.waiting.extend(waits.then_some(place));
        }
        let first = arrivals.iter().copied().min().unwrap_or(now);
        for place in predecessor {
            if let Some((path, bytes)) = self.held.remove(&place) {
                // It leaves right after this one, but no earlier than without the fault.
                let own = place.0 - REORDER_WAITS;
                self.hold(place.0.min(own.max(first)), path, bytes);
            }
        }
    }

    fn hold(&mut self, leaves: Instant, path: K, bytes: Vec<u8>) -> Place {
        self.places += 1;
        let place = (leaves, self.places);
        self.held.insert(place, (path, bytes));
        place
    }
}

impl Emulator<SocketAddr> {
    /// Executes a command. Datagrams that are held back still arrive.
    ///
    /// # Errors
    /// One sentence, if [`ADDRESSES`] addresses already have faults. Then nothing changes.
    pub fn execute(&mut self, command: &FaultCommand) -> Result<(), String> {
        let is_new = !command.faults.is_empty() && command.to.is_some() && !self.faults.contains_key(&command.to);
        let addresses = self.faults.len() - usize::from(self.faults.contains_key(&None));
        if is_new && !command.heal && addresses >= ADDRESSES {
            return Err(format!(
                "At most {ADDRESSES} addresses can have faults of their own; heal undoes all of them."
            ));
        }
        if command.heal {
            self.heal();
        }
        if let Some(seed) = command.seed {
            self.rng = Rng::from_number(seed);
        }
        for fault in &command.faults {
            self.add_fault(command.to, *fault);
        }
        Ok(())
    }
}

/// A random number from 0 to 1, excluding 1.
fn fraction(rng: &mut Rng) -> f64 {
    (rng.bits() >> 11) as f64 / (1u64 << 53) as f64
}

/// A random duration from zero to `whole`, in microseconds.
fn part(whole: Duration, draw: u64) -> Duration {
    let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(draw % micros.saturating_add(1))
}

#[cfg(test)]
mod tests;
