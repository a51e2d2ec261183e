//! The rows of the bench: what each one measures, and with which numbers.

mod crowd;
mod direct;
mod fan_out;
mod mail;
mod start;

use std::time::Duration;

use crate::report::Round;

/// Time limit of one measurement. What takes longer is reported as unfinished.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// The sizes of a run, relative to those of the table.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub factor: f64,
    /// The number of sockets that the system allows.
    pub sockets_max: usize,
}

impl Scale {
    /// A number of messages or clients, at least 2.
    fn of(self, full: usize) -> usize {
        ((full as f64 * self.factor).round() as usize).max(2)
    }

    /// A number of thin clients.
    fn clients(self, full: usize) -> usize {
        self.of(full).min(self.sockets_max)
    }
}

/// A row that can be measured alone by its name.
pub struct Row {
    pub name: &'static str,
    pub title: fn(Scale) -> String,
    pub rounds: usize,
    pub measure: fn(Scale) -> Round,
}

pub const ROWS: &[Row] = &[
    Row { name: "round-trip", title: direct::round_trip_title, rounds: 5, measure: direct::round_trip },
    Row { name: "pipe", title: direct::pipe_title, rounds: 3, measure: direct::pipe },
    Row { name: "to-50", title: fan_out::to_50_title, rounds: 3, measure: fan_out::to_50 },
    Row { name: "to-1000", title: fan_out::to_1000_title, rounds: 3, measure: fan_out::to_1000 },
    Row { name: "join-1000", title: crowd::join_1000_title, rounds: 3, measure: crowd::join_1000 },
    Row { name: "join-10000", title: crowd::join_10000_title, rounds: 3, measure: crowd::join_10000 },
    Row { name: "held", title: crowd::held_title, rounds: 1, measure: crowd::held },
    Row { name: "saves", title: mail::saves_title, rounds: 3, measure: mail::saves },
    Row { name: "mail", title: mail::mail_title, rounds: 3, measure: mail::mail },
    Row { name: "start", title: start::start_title, rounds: 3, measure: start::start },
    Row { name: "idle", title: start::idle_title, rounds: 1, measure: start::idle },
];

/// A number with commas between thousands.
fn grouped(number: usize) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", grouped(number / 1_000), number % 1_000) }
}

/// Lines of a script: `command` before each number, which the readers check.
fn numbered(command: &str, count: usize) -> String {
    (0..count).map(|number| format!("{command} hello {number}\n")).collect()
}
