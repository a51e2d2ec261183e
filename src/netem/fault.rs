//! Faults of the network, decided at the sender: what is swallowed, late, doubled or overtaken, seeded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::event::reason::FaultKind;
use crate::proto::rng::Rng;
use crate::proto::time::{Instant, parse_duration};

/// The most datagrams held back at once; beyond that they leave at once.
pub const HELD: usize = 65_536;
/// The most addresses that have faults of their own.
pub const WAYS: usize = 4_096;
/// How long a datagram waits at most for the one that is to overtake it.
pub const REORDER_WAITS: Duration = Duration::from_millis(30);

/// What happens to datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next so many are swallowed.
    Drop(u32),
    /// Each is swallowed with this probability.
    Loss(Percent),
    /// Each arrives later by this.
    Delay(Duration),
    /// Each arrives twice with this probability.
    Duplicate(Percent),
    /// Each arrives behind the one after it with this probability.
    Reorder(Percent),
    /// Nothing passes.
    Cut,
}

/// A probability, in hundredths of a percent: 0 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// Certainty, in hundredths of a percent.
    pub const CERTAIN: u16 = 10_000;

    /// This many hundredths of a percent, if it is a probability.
    #[must_use]
    pub fn new(hundredths: u16) -> Option<Self> {
        (hundredths <= Self::CERTAIN).then_some(Self(hundredths))
    }

    /// In hundredths of a percent.
    #[must_use]
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// Reads `30%` or `0.5%`, with at most two decimals.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let number = word.strip_suffix('%')?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |word: &str| !word.is_empty() && word.len() <= 3 && word.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 2 {
            return None;
        }
        let part: u16 = format!("{part:0<2}").parse().ok()?;
        Self::new(whole.parse::<u16>().ok()?.checked_mul(100)?.checked_add(part)?)
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{}%", self.0 / 100),
            part => write!(f, "{}.{part:02}%", self.0 / 100),
        }
    }
}

/// An order to the faults of one program, as it is written: `loss=30%,delay=20ms,seed=7`, `to=127.0.0.1:9,drop=2`,
/// `heal`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCommand {
    /// Undo everything first.
    pub heal: bool,
    /// Begin a new sequence of random numbers.
    pub seed: Option<u64>,
    /// Only datagrams to this address; to anybody otherwise.
    pub to: Option<SocketAddr>,
    /// What happens to them.
    pub faults: Vec<Fault>,
}

impl std::str::FromStr for FaultCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WORDS: &str = "loss=30%, delay=20ms, duplicate=10%, reorder=10%, drop=2, cut, to=IP:PORT, seed=7 or heal";
        let mut order = Self::default();
        for item in text.split(',') {
            let (word, value) = item.split_once('=').unwrap_or((item, ""));
            let wrong = || format!("A fault is {WORDS}, separated by commas, and {item:?} is not.");
            let percent = || Percent::parse(value).ok_or_else(wrong);
            match (word, value) {
                ("heal", "") => order.heal = true,
                ("cut", "") => order.faults.push(Fault::Cut),
                ("seed", _) => order.seed = Some(value.parse().map_err(|_| wrong())?),
                ("to", _) => order.to = Some(value.parse().map_err(|_| wrong())?),
                ("drop", _) => order.faults.push(Fault::Drop(value.parse().map_err(|_| wrong())?)),
                ("loss", _) => order.faults.push(Fault::Loss(percent()?)),
                ("duplicate", _) => order.faults.push(Fault::Duplicate(percent()?)),
                ("reorder", _) => order.faults.push(Fault::Reorder(percent()?)),
                ("delay", _) => order.faults.push(Fault::Delay(parse_duration(value.trim()).map_err(|_| wrong())?)),
                _ => return Err(wrong()),
            }
        }
        Ok(order)
    }
}

impl std::fmt::Display for FaultCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut words = Vec::new();
        words.extend(self.heal.then(|| "heal".to_owned()));
        words.extend(self.seed.map(|seed| format!("seed={seed}")));
        words.extend(self.to.map(|to| format!("to={to}")));
        words.extend(self.faults.iter().map(|fault| match fault {
            Fault::Drop(count) => format!("drop={count}"),
            Fault::Loss(percent) => format!("loss={percent}"),
            Fault::Delay(delay) => format!("delay={}us", delay.as_micros()),
            Fault::Duplicate(percent) => format!("duplicate={percent}"),
            Fault::Reorder(percent) => format!("reorder={percent}"),
            Fault::Cut => "cut".to_owned(),
        }));
        f.write_str(&words.join(","))
    }
}

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
                Fault::Loss(percent) => rules.loss = percent.0,
                Fault::Delay(delay) => rules.delay = delay,
                Fault::Duplicate(percent) => rules.duplicate = percent.0,
                Fault::Reorder(percent) => rules.reorder = percent.0,
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
    fn orders_are_read_as_they_are_written() {
        let text = "seed=7,to=127.0.0.1:9,drop=2,loss=0.05%,delay=1500us,duplicate=10%,reorder=100%,cut";
        let order: FaultCommand = text.parse().unwrap();
        assert_eq!(order.to_string(), text);
        assert_eq!("heal".parse::<FaultCommand>().map(|order| order.heal), Ok(true));
        for wrong in ["", "loss", "loss=30", "loss=101%", "loss=-1%", "loss=1.234%", "delay=20", "to=x", "drop=-1"] {
            let error = wrong.parse::<FaultCommand>().unwrap_err();
            assert!(error.starts_with("A fault is loss=30%"), "{wrong}: {error}");
        }
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
