//! Console: executes the commands that are typed at the server's own terminal.

use std::collections::BTreeMap;

use crate::proto::console::{Console, WORDS};
use crate::proto::event::reason::{Problem, Reason};
use crate::proto::event::sentences::Sentence;
use crate::proto::event::server::{ServerEvent, WaitingMail};
use crate::proto::server::Server;

impl Server {
    pub(super) fn console(&mut self, command: Console) {
        match command {
            Console::Table => {
                self.say(ServerEvent::Clients { version: self.table.version(), clients: self.table.view() });
            }
            Console::Groups => {
                self.say(ServerEvent::Groups { name: None, groups: self.groups.names() });
            }
            Console::Mail => {
                let mut readers: BTreeMap<_, usize> = BTreeMap::new();
                for (name, messages) in self.mail.readers().chain(self.logs.waiting_readers()) {
                    *readers.entry(name.clone()).or_default() += messages;
                }
                let waiting = readers.into_iter().map(|(name, messages)| WaitingMail { name, messages }).collect();
                self.say(ServerEvent::Mail { waiting });
            }
            Console::Stats => self.say(ServerEvent::Stats { stats: self.stats() }),
            Console::Help => {
                let rows = WORDS.iter().map(|(word, does)| format!("{word:7} {does}"));
                self.say(ServerEvent::Help { message: rows.collect::<Vec<_>>().join("\n") });
            }
            Console::Exit => self.end(),
            Console::Unknown(meant) => {
                let help = meant.as_ref().map_or(Sentence::TypeHelp, |word| Sentence::DidYouMean { word });
                let message = format!("{}\n{help}", Sentence::InvalidCommand);
                self.say(ServerEvent::Error {
                    code: Problem::Command(Reason::InvalidCommand),
                    message,
                    definite: true,
                });
            }
        }
    }

    fn stats(&self) -> BTreeMap<&'static str, u64> {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        BTreeMap::from([
            ("accepted", self.counters.accepted),
            ("datagrams_dropped", self.output.datagrams.dropped),
            ("datagrams_in", self.output.datagrams.received),
            ("datagrams_out", self.output.datagrams.sent),
            ("delivered", self.counters.delivered),
            ("groups", count(self.groups.len())),
            ("links", count(self.links.len())),
            ("messages_kept", count(self.mail.len() + self.logs.len())),
            ("names", count(self.table.len())),
            ("records", self.records),
            ("saved", self.counters.saved),
        ])
    }
}
