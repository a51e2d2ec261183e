//! Completion of words at the prompt: commands, and the names and groups in the events so far. Also the prompt itself,
//! which shows the entered group.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::proto::command::COMMANDS;
use crate::proto::console::WORDS;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::{Body, Event, prompt};
use crate::proto::name::Name;

/// The maximum of remembered names, and of remembered groups.
const MAX_KNOWN: usize = 10_000;

/// The maximum of completions of one word.
const MAX_OFFERED: usize = 256;

/// Learns from events on one thread and answers the line editor on another. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Completion {
    known: Arc<Mutex<KnownNames>>,
}

#[derive(Debug, Default)]
struct KnownNames {
    /// Console commands instead of chat commands.
    of_server: bool,
    names: BTreeSet<Name>,
    groups: BTreeSet<Name>,
    entered: Option<Name>,
}

impl Completion {
    /// Completion of console commands.
    #[must_use]
    pub fn of_server() -> Self {
        let known = KnownNames { of_server: true, ..KnownNames::default() };
        Self { known: Arc::new(Mutex::new(known)) }
    }

    /// Learns names, groups and the entered group from an event.
    pub fn learn(&self, event: &Event) {
        use ClientEvent as C;
        let mut known = self.known();
        match &event.body {
            Body::Client(C::Table { changed: rows, .. } | C::Clients { clients: rows, .. }) => {
                for row in rows {
                    remember(&mut known.names, &row.name);
                }
            }
            Body::Client(C::Groups { groups }) => groups.iter().for_each(|group| remember(&mut known.groups, group)),
            Body::Client(C::GroupCreated { group } | C::GroupExists { group }) => {
                remember(&mut known.groups, group);
            }
            Body::Client(C::Joined { group }) => {
                remember(&mut known.groups, group);
                known.entered = Some(group.clone());
            }
            Body::Client(C::Left { .. } | C::Removed { .. } | C::Offline { .. } | C::Registered { .. }) => {
                known.entered = None;
            }
            _ => {}
        }
    }

    /// The current prompt.
    #[must_use]
    pub fn prompt(&self) -> String {
        prompt(self.known().entered.as_ref())
    }

    /// The byte offset of the last word of `line`, and its completions in alphabetical order.
    #[must_use]
    pub fn complete(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(' ').map_or(0, |blank| blank + 1);
        let (before, word) = line.split_at(start);
        let known = self.known();
        let fitting = |names: &BTreeSet<Name>, end: &str| -> Vec<String> {
            let fits = names.iter().filter(|name| name.as_str().starts_with(word));
            fits.take(MAX_OFFERED).map(|name| format!("{name}{end}")).collect()
        };
        let candidates = match before.trim() {
            "" if known.of_server => words(word),
            "" => commands(word),
            "help" => commands(word).iter().map(|command| command.trim_end().to_owned()).collect(),
            "send" => fitting(&known.names, " "),
            "join_group" => fitting(&known.groups, ""),
            _ => Vec::new(),
        };
        (start, candidates)
    }

    fn known(&self) -> MutexGuard<'_, KnownNames> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember(set: &mut BTreeSet<Name>, name: &Name) {
    if set.len() < MAX_KNOWN {
        set.insert(name.clone());
    }
}

fn words(word: &str) -> Vec<String> {
    WORDS.iter().filter(|(name, _)| name.starts_with(word)).map(|(name, _)| (*name).to_owned()).collect()
}

fn commands(word: &str) -> Vec<String> {
    let fits = COMMANDS.iter().filter(|usage| usage.name.starts_with(word));
    fits.map(|usage| format!("{}{}", usage.name, if usage.words.is_empty() { "" } else { " " })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::ClientInfo;
    use crate::proto::event::reason::RemovalReason;
    use crate::proto::id::Incarnation;
    use crate::proto::time::Timestamp;

    fn learn(completion: &Completion, body: ClientEvent) {
        completion.learn(&Event { at: Timestamp::default(), cmd: None, group: None, body: Body::Client(body) });
    }

    fn table(names: &[String]) -> ClientEvent {
        let row = |name: &String| ClientInfo { name: name.parse().unwrap(), addr: String::new(), online: true };
        let (version, incarnation, total, online_count) = (1, Incarnation(1), names.len(), names.len());
        ClientEvent::Table {
            partial: false,
            version,
            incarnation,
            changed: names.iter().map(row).collect(),
            total,
            online_count,
        }
    }

    #[test]
    fn commands_names_and_groups_are_completed() {
        let completion = Completion::default();
        learn(&completion, table(&["yvonne".to_owned(), "yves".to_owned(), "x".to_owned()]));
        learn(&completion, ClientEvent::GroupCreated { group: "g".parse().unwrap() });
        let complete = |line: &str| completion.complete(line).1;
        assert_eq!(complete("sen"), ["send ", "send_all ", "send_group "]);
        assert_eq!(complete("list_"), ["list_groups", "list_members"]);
        assert_eq!(completion.complete("send yv"), (5, vec!["yves ".to_owned(), "yvonne ".to_owned()]));
        assert_eq!(complete("join_group "), ["g"]);
        assert_eq!(complete("help send_"), ["send_all", "send_group"]);
        assert_eq!(complete("send y yv"), Vec::<String>::new());
        assert_eq!(Completion::of_server().complete("st").1, ["stats"]);
    }

    #[test]
    fn the_prompt_follows_the_group() {
        let completion = Completion::default();
        let group: Name = "g".parse().unwrap();
        assert_eq!(completion.prompt(), ">>> ");
        learn(&completion, ClientEvent::Joined { group: group.clone() });
        assert_eq!(completion.prompt(), ">>> (g) ");
        learn(&completion, ClientEvent::Removed { group, reason: RemovalReason::RegisteredAgain });
        assert_eq!(completion.prompt(), ">>> ");
    }

    #[test]
    fn remembered_names_and_completions_have_limits() {
        let completion = Completion::default();
        let names: Vec<String> = (0..=MAX_KNOWN).map(|n| format!("n{n}")).collect();
        learn(&completion, table(&names));
        assert_eq!(completion.known().names.len(), MAX_KNOWN);
        assert_eq!(completion.complete("send n").1.len(), MAX_OFFERED);
    }
}
