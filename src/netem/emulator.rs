//! Faults of the network, decided at the sender: what is swallowed, late, doubled or overtaken, seeded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::netem::fault::{Fault, FaultCommand, Percent};
use crate::proto::event::reason::FaultKind;
use crate::proto::rng::Rng;
use crate::proto::time::Instant;

/// The most datagrams held back at once; beyond that they leave at once.
pub const HELD: usize = 65_536;
/// The most addresses that have faults of their own.
pub const WAYS: usize = 4_096;
/// How long a datagram waits at most for the one that is to overtake it.
pub const REORDER_WAITS: Duration = Duration::from_millis(30);

/// What happens on the way to one address, or to anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rules {
    drop: u32,
    loss: u16,
    delay: Duration,
    duplicate: u16,
    reorder: u16,
    cut: bool,
}

/// The faults of one program, and the datagrams they hold back.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    rng: Rng,
    ways: BTreeMap<Option<SocketAddr>, Rules>,
    /// What waits to be overtaken, by its place in the air.
    overtaken: BTreeMap<SocketAddr, Vec<(Instant, u64)>>,
    /// What is held back, by when it leaves and in which order.
    air: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    count: u64,
}

/// No faults, and those to come with the seed 0.
impl Default for Faults {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Faults {
    /// No faults, and the random numbers for those to come.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (ways, overtaken, air) = Default::default();
        Self { rng: Rng::from_number(seed), ways, overtaken, air, count: 0 }
    }

    /// Carries an order out. What is held back already still arrives.
    ///
    /// # Errors
    /// One sentence, when [`WAYS`] addresses have faults already; nothing is changed then.
    pub fn obey(&mut self, order: &FaultCommand) -> Result<(), String> {
        let is_new = !order.faults.is_empty() && order.to.is_some() && !self.ways.contains_key(&order.to);
        if is_new && !order.heal && self.ways.len() >= WAYS {
            return Err(format!("At most {WAYS} addresses can have faults of their own; heal undoes all of them."));
        }
        if order.heal {
            self.ways.clear();
        }
        if let Some(seed) = order.seed {
            self.rng = Rng::from_number(seed);
        }
        for fault in &order.faults {
            let rules = self.ways.entry(order.to).or_default();
            match *fault {
                Fault::Drop(count) => rules.drop = rules.drop.saturating_add(count),
                Fault::Loss(percent) => rules.loss = percent.hundredths(),
                Fault::Delay(delay) => rules.delay = delay,
                Fault::Duplicate(percent) => rules.duplicate = percent.hundredths(),
                Fault::Reorder(percent) => rules.reorder = percent.hundredths(),
                Fault::Cut => rules.cut = true,
            }
        }
        Ok(())
    }

    /// Whether there is nothing that could happen to a datagram.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ways.is_empty() && self.air.is_empty()
    }

    /// Takes a datagram to be sent; [`Faults::due`] gives back what is to be sent and when. Returns by which fault it
    /// was swallowed, if it was.
    pub fn send(&mut self, now: Instant, to: SocketAddr, bytes: &[u8]) -> Option<FaultKind> {
        let ways = [Some(to), None].map(|way| self.ways.get(&way).copied().unwrap_or_default());
        if ways.iter().any(|rules| rules.cut) {
            return Some(FaultKind::Cut);
        }
        for way in [Some(to), None] {
            if let Some(rules) = self.ways.get_mut(&way).filter(|rules| rules.drop > 0) {
                rules.drop -= 1;
                return Some(FaultKind::Drop);
            }
        }
        if ways.iter().any(|rules| self.chance(rules.loss)) {
            return Some(FaultKind::Loss);
        }
        let delay = ways[0].delay.saturating_add(ways[1].delay);
        let copies = 1 + usize::from(ways.iter().any(|rules| self.chance(rules.duplicate)));
        let overtaken = self.overtaken.remove(&to).unwrap_or_default();
        // One that overtakes is not overtaken itself, or all of them would be late and none out of order.
        let held = ways.iter().any(|rules| self.chance(rules.reorder)) && overtaken.is_empty();
        let is_full = self.air.len() + copies > HELD;
        let arrives = if is_full { now } else { now + delay };
        let leaves = if held && !is_full { arrives + REORDER_WAITS } else { arrives };
        for _ in 0..copies {
            let place = self.hold(leaves, to, bytes.to_vec());
            if held && !is_full {
                self.overtaken.entry(to).or_default().push(place);
            }
        }
        // What waited to be overtaken leaves right behind this one.
        for place in overtaken {
            if let Some((to, bytes)) = self.air.remove(&place) {
                self.hold(place.0.min(arrives), to, bytes);
            }
        }
        None
    }

    fn hold(&mut self, leaves: Instant, to: SocketAddr, bytes: Vec<u8>) -> (Instant, u64) {
        self.count += 1;
        self.air.insert((leaves, self.count), (to, bytes));
        (leaves, self.count)
    }

    /// The next datagram that leaves now.
    pub fn due(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        let entry = self.air.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (place, datagram) = entry.remove_entry();
        if let Some(waiting) = self.overtaken.get_mut(&datagram.0) {
            waiting.retain(|other| *other != place);
            if waiting.is_empty() {
                self.overtaken.remove(&datagram.0);
            }
        }
        Some(datagram)
    }

    /// When the next one does.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.air.keys().next().map(|(at, _)| *at)
    }

    fn chance(&mut self, hundredths: u16) -> bool {
        self.rng.bits() % u64::from(Percent::CERTAIN) < u64::from(hundredths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(1_000_000);

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn faults(order: &str) -> Faults {
        let mut faults = Faults::new(7);
        faults.obey(&order.parse().unwrap()).unwrap();
        faults
    }

    fn arrivals(faults: &mut Faults, until: Instant) -> Vec<u8> {
        std::iter::from_fn(|| faults.due(until)).map(|(_, bytes)| bytes[0]).collect()
    }

    #[test]
    fn so_many_are_dropped_and_no_more_and_only_there() {
        let mut faults = faults("to=127.0.0.1:9,drop=2");
        assert_eq!(faults.send(NOW, addr(8), &[0]), None);
        let swallowed = [1, 2, 3].map(|n| faults.send(NOW, addr(9), &[n]));
        assert_eq!(swallowed, [Some(FaultKind::Drop), Some(FaultKind::Drop), None]);
        assert_eq!(arrivals(&mut faults, NOW), [0, 3]);
        assert_eq!(faults.deadline(), None);
    }

    #[test]
    fn a_share_is_lost_the_same_one_for_the_same_seed() {
        let lost = |seed: u64| -> Vec<bool> {
            let mut faults = faults(&format!("loss=30%,seed={seed}"));
            (0..1000).map(|_| faults.send(NOW, addr(9), &[0]).is_some()).collect()
        };
        assert_eq!(lost(7), lost(7));
        assert_ne!(lost(7), lost(8));
        let count = lost(7).into_iter().filter(|lost| *lost).count();
        assert!((250..350).contains(&count), "{count}");
    }

    #[test]
    fn what_is_delayed_or_overtaken_arrives_later() {
        let mut delayed = faults("delay=20ms");
        delayed.send(NOW, addr(9), &[1]);
        assert_eq!(arrivals(&mut delayed, NOW + Duration::from_micros(19_999)), [] as [u8; 0]);
        assert_eq!(arrivals(&mut delayed, NOW + Duration::from_millis(20)), [1]);
        let mut overtaken = faults("reorder=100%");
        overtaken.send(NOW, addr(9), &[1]);
        overtaken.obey(&"heal".parse().unwrap()).unwrap();
        assert_eq!(arrivals(&mut overtaken, NOW), [] as [u8; 0]);
        overtaken.send(NOW, addr(9), &[2]);
        assert_eq!(arrivals(&mut overtaken, NOW), [2, 1]);
        let mut alone = faults("reorder=100%");
        alone.send(NOW, addr(9), &[1]);
        assert_eq!(alone.deadline(), Some(NOW + REORDER_WAITS));
    }

    #[test]
    fn a_cut_lets_nothing_pass_until_it_is_healed_and_doubles_come_twice() {
        let mut faults = faults("cut");
        assert!(!faults.is_idle() && Faults::default().is_idle());
        assert_eq!(faults.send(NOW, addr(9), &[1]), Some(FaultKind::Cut));
        faults.obey(&"heal,duplicate=100%".parse().unwrap()).unwrap();
        assert_eq!(faults.send(NOW, addr(9), &[2]), None);
        assert_eq!(arrivals(&mut faults, NOW), [2, 2]);
    }

    #[test]
    fn if_each_is_to_be_overtaken_every_other_one_is() {
        let mut faults = faults("reorder=100%");
        for n in 1..=4 {
            faults.send(NOW, addr(9), &[n]);
        }
        assert_eq!(arrivals(&mut faults, NOW), [2, 1, 4, 3]);
        faults.send(NOW, addr(9), &[5]);
        assert_eq!(arrivals(&mut faults, NOW + REORDER_WAITS), [5]);
        assert!(faults.overtaken.is_empty() && faults.deadline().is_none());
    }

    #[test]
    fn what_is_held_back_has_a_limit_and_so_have_the_addresses() {
        let mut late = faults("delay=1s,reorder=100%");
        for _ in 0..=HELD {
            late.send(NOW, addr(9), &[1]);
        }
        assert_eq!(late.air.len(), HELD + 1);
        assert_eq!(arrivals(&mut late, NOW), [1]);

        let mut many = Faults::new(7);
        let order =
            |n: usize| format!("to=127.0.0.{}:{},drop=1", n / 256 + 1, 1024 + n % 256).parse::<FaultCommand>().unwrap();
        for n in 0..WAYS {
            assert_eq!(many.obey(&order(n)), Ok(()));
        }
        assert_eq!(many.obey(&order(0)), Ok(()));
        let sentence = "At most 4096 addresses can have faults of their own; heal undoes all of them.";
        assert_eq!(many.obey(&order(WAYS)), Err(sentence.to_owned()));
        assert_eq!(many.obey(&FaultCommand { heal: true, ..order(WAYS) }), Ok(()));
        assert_eq!(many.ways.len(), 1);
    }
}
