//! Fault commands such as `loss=30%,delay=20ms,seed=7`: their data, parser and printer.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::time::parse_duration;

/// A fault of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This number of next datagrams is dropped.
    Drop(u32),
    /// Each datagram is dropped with this probability.
    Loss(Percent),
    /// Each datagram is delayed by this time.
    Delay(Duration),
    /// Each datagram arrives twice with this probability.
    Duplicate(Percent),
    /// Each datagram arrives after its successor with this probability.
    Reorder(Percent),
    /// All datagrams are dropped.
    Cut,
}

/// A probability, in hundredths of a percent: 0 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// 100 %, in hundredths of a percent.
    pub const CERTAIN: u16 = 10_000;

    /// A probability from hundredths of a percent; `None` above 100 %.
    #[must_use]
    pub fn new(hundredths: u16) -> Option<Self> {
        (hundredths <= Self::CERTAIN).then_some(Self(hundredths))
    }

    /// The probability as a number from 0 to 1.
    #[must_use]
    pub fn probability(self) -> f64 {
        f64::from(self.0) / f64::from(Self::CERTAIN)
    }

    /// Parses `30%` or `0.5%`. The number has at most two decimals.
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

/// A command that changes the faults of one program: `loss=30%,delay=20ms,seed=7`, `to=127.0.0.1:9,drop=2`, `heal`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCommand {
    /// Whether all earlier faults are removed first.
    pub heal: bool,
    /// The seed of a new sequence of random numbers.
    pub seed: Option<u64>,
    /// The destination of the affected datagrams; `None` means all destinations.
    pub to: Option<SocketAddr>,
    /// The faults, in the order of the command.
    pub faults: Vec<Fault>,
}

impl std::str::FromStr for FaultCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WORDS: &str = "loss=30%, delay=20ms, duplicate=10%, reorder=10%, drop=2, cut, to=IP:PORT, seed=7 or heal";
        let mut command = Self::default();
        for item in text.split(',') {
            let (word, value) = item.split_once('=').unwrap_or((item, ""));
            let wrong = || format!("A fault is {WORDS}, separated by commas, and {item:?} is not.");
            let percent = || Percent::parse(value).ok_or_else(wrong);
            match (word, value) {
                ("heal", "") => command.heal = true,
                ("cut", "") => command.faults.push(Fault::Cut),
                ("seed", _) => command.seed = Some(value.parse().map_err(|_| wrong())?),
                ("to", _) => command.to = Some(value.parse().map_err(|_| wrong())?),
                ("drop", _) => command.faults.push(Fault::Drop(value.parse().map_err(|_| wrong())?)),
                ("loss", _) => command.faults.push(Fault::Loss(percent()?)),
                ("duplicate", _) => command.faults.push(Fault::Duplicate(percent()?)),
                ("reorder", _) => command.faults.push(Fault::Reorder(percent()?)),
                ("delay", _) => command.faults.push(Fault::Delay(parse_duration(value.trim()).map_err(|_| wrong())?)),
                _ => return Err(wrong()),
            }
        }
        Ok(command)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_parses_back_to_itself() {
        let text = "seed=7,to=127.0.0.1:9,drop=2,loss=0.05%,delay=1500us,duplicate=10%,reorder=100%,cut";
        let command: FaultCommand = text.parse().unwrap();
        assert_eq!(command.to_string(), text);
        assert_eq!("heal".parse::<FaultCommand>().map(|command| command.heal), Ok(true));
        for wrong in ["", "loss", "loss=30", "loss=101%", "loss=-1%", "loss=1.234%", "delay=20", "to=x", "drop=-1"] {
            let error = wrong.parse::<FaultCommand>().unwrap_err();
            assert!(error.starts_with("A fault is loss=30%"), "{wrong}: {error}");
        }
    }
}
