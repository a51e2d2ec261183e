//! Histories: random or scripted commands, crashes and network faults in a simulation. A random history follows from
//! one seed. At the end of each history all faults are removed, so that the checks can expect a complete recovery.

pub mod check;
mod crowd;
pub mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::proto::config::ServerLimits;
use chat::proto::console::Console;
use chat::proto::rng::Rng;
use chat::proto::time::Instant;
use chat::sim::simulation::{SERVER, Simulation};

/// The time that a healed simulation has to become idle. It is longer than the server waits for a silent client.
const REST: Duration = Duration::from_secs(90);

/// A link that loses half of the datagrams.
const HALF_LOST: LinkModel =
    LinkModel { latency: Duration::from_millis(5), jitter: Duration::from_millis(5), loss: 0.5, ..LinkModel::PERFECT };

/// How one run of a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The client runs, or ended without a signal.
    ByItself,
    /// The client was killed.
    Killed,
    /// The client was asked to shut down.
    Requested,
}

/// One run of a client, from its start to its end.
#[derive(Clone, Debug)]
pub struct ClientRun {
    /// The index in the client's log at which this run begins.
    pub log_from: usize,
    /// The number of commands that were typed.
    pub typed: u64,
    /// Whether `join_group` was ever typed.
    pub joined: bool,
    pub end: RunEnd,
}

/// A client with all its runs.
#[derive(Clone, Debug)]
pub struct TestClient {
    pub index: usize,
    pub name: String,
    pub runs: Vec<ClientRun>,
}

/// A message that was typed.
#[derive(Clone, Debug)]
pub struct TypedMessage {
    pub from: String,
    pub to: Option<String>,
}

/// A history that was run to its end.
pub struct History {
    pub sim: Simulation,
    pub actors: Vec<TestClient>,
    /// The messages that were typed, by text. Each text is typed once.
    pub texts: BTreeMap<String, TypedMessage>,
    /// Texts that were typed after everything was healed.
    pub last_words: BTreeSet<String>,
    /// The time at which those were typed.
    pub well_since: Instant,
    /// Whether the server was ever killed.
    pub server_killed: bool,
    /// The time of the first pause or blocked output. From then on, messages may wait for longer than the limits.
    pub held_up: Option<Instant>,
    /// Clients whose datagrams to the server were ever cut off.
    pub cut_off: BTreeSet<usize>,
    /// The steps of the history, for the transcript.
    pub script: Vec<(Instant, String)>,
    /// Whether this is a crowd: only a kill makes a client silent.
    pub is_crowd: bool,
    rng: Rng,
    originals: usize,
}

/// The random numbers of the history of this seed. Each kind of history has its own.
fn rng(kind: u8, seed: u64) -> Rng {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Rng::new(bytes)
}

impl History {
    /// Runs the history of this seed to its end. Clients have the whole table up to this many names.
    pub fn run(seed: u64, whole_table: usize) -> Self {
        let mut rng = rng(7, seed);
        let nets = LinkModel::PRESETS.len() as u64 + 1;
        let (net_name, net) = match rng.bits() % nets {
            at if at + 1 < nets => LinkModel::PRESETS[at as usize],
            _ => ("half-lost", HALF_LOST),
        };
        let mut history = Self::new(seed, net, ServerLimits { whole_table, ..ServerLimits::default() }, rng);
        history.sim.keep_traffic();
        history.note(format!("network {net_name}"));
        history.originals = 3 + history.below(6);
        for at in 0..history.originals {
            let name = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"][at];
            history.add(name);
            history.pause_between_steps();
        }
        let crashes = history.below(3) > 0;
        for _ in 0..20 + history.below(60) {
            history.pause_between_steps();
            history.step(crashes);
        }
        history.heal();
        history
    }

    /// Runs a history in which clients with these names type these lines, one after each time `every`. The server
    /// crashes when `dies_at` records were synced, or right before the next one is synced, and restarts at once.
    pub fn scripted(
        names: &[&str],
        lines: &[(usize, &str)],
        every: Duration,
        dies_at: Option<usize>,
        before_next: bool,
    ) -> Self {
        let mut history = Self::new(1, LinkModel::PERFECT, ServerLimits::default(), Rng::new([1; 32]));
        history.sim.disk().dies_at = dies_at;
        history.sim.disk().dies_before_next = before_next;
        history.originals = names.len();
        for name in names {
            history.add(name);
            history.sim.run_for(every);
        }
        for (at, line) in lines {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            let (to, text) = match words.as_slice() {
                ["send", to, text] => (Some((*to).to_owned()), *text),
                ["send_all" | "send_group", ..] => (None, line.split_once(' ').expect("a text").1),
                _ => (None, ""),
            };
            history.texts.insert(text.to_owned(), TypedMessage { from: names[*at].to_owned(), to });
            history.type_line(*at, line);
            history.sim.run_for(every);
        }
        history.heal();
        history
    }

    fn new(seed: u64, net: LinkModel, limits: ServerLimits, rng: Rng) -> Self {
        let mut sim = Simulation::without_server(seed, net);
        sim.limits = limits;
        sim.start(SERVER);
        Self {
            sim,
            actors: Vec::new(),
            texts: BTreeMap::new(),
            last_words: BTreeSet::new(),
            well_since: Instant::ZERO,
            server_killed: false,
            held_up: None,
            cut_off: BTreeSet::new(),
            script: Vec::new(),
            is_crowd: false,
            rng,
            originals: 0,
        }
    }

    fn below(&mut self, n: usize) -> usize {
        (self.rng.bits() % n as u64) as usize
    }

    fn any_name(&mut self) -> String {
        let at = self.below(self.originals);
        self.actors[at].name.clone()
    }

    /// The clients to which a client sends direct messages.
    fn correspondents(&self, at: usize) -> Vec<usize> {
        if self.is_crowd { vec![(at + 1) % self.originals] } else { (0..self.originals).collect() }
    }

    fn note(&mut self, what: String) {
        self.script.push((self.sim.now(), what));
    }

    fn pause_between_steps(&mut self) {
        let most = [1, 1, 20_000, 200_000, 1_200_000][self.below(5)];
        let micros = self.below(most) as u64;
        self.sim.run_for(Duration::from_micros(micros));
    }

    fn add(&mut self, name: &str) {
        let index = self.sim.client(name);
        self.note(format!("start {name} as {index}"));
        let run = ClientRun { log_from: 0, typed: 0, joined: false, end: RunEnd::ByItself };
        self.actors.push(TestClient { index, name: name.to_owned(), runs: vec![run] });
    }

    fn is_running(&self, at: usize) -> bool {
        self.sim.client_machine(self.actors[at].index).is_some()
    }

    fn start(&mut self, at: usize) {
        let index = self.actors[at].index;
        let log_from = self.sim.log(index).len();
        self.note(format!("start {} again", self.actors[at].name));
        self.sim.start(index);
        self.actors[at].runs.push(ClientRun { log_from, typed: 0, joined: false, end: RunEnd::ByItself });
    }

    fn kill(&mut self, at: usize) {
        self.note(format!("kill {}", self.actors[at].name));
        self.last_run(at).end = RunEnd::Killed;
        self.sim.kill(self.actors[at].index);
    }

    fn last_run(&mut self, at: usize) -> &mut ClientRun {
        self.actors[at].runs.last_mut().expect("a run")
    }

    fn type_line(&mut self, at: usize, line: &str) {
        if self.is_running(at) && !self.sim.is_paused(self.actors[at].index) {
            self.last_run(at).typed += 1;
            self.last_run(at).joined |= line.starts_with("join_group");
            let shown: String = line.chars().take(60).collect();
            self.note(format!("{}> {shown}", self.actors[at].name));
            self.sim.type_line(self.actors[at].index, line);
        }
    }

    /// A text that was never typed before. With `long`, it may take up to a hundred datagrams.
    fn text(&mut self, at: usize, to: Option<String>, long: bool) -> String {
        let length = match self.below(100) {
            0..2 if long => 1 + self.below(65_000),
            2..10 => 1 + self.below(2_000),
            _ => 1,
        };
        let mut text = format!("m{}", self.texts.len());
        while text.len() < length {
            text.push(['.', 'ä', '\u{1}', '"', '😀', 'x'][self.below(6)]);
        }
        self.texts.insert(text.clone(), TypedMessage { from: self.actors[at].name.clone(), to });
        text
    }

    fn step(&mut self, crashes: bool) {
        let at = self.below(self.actors.len());
        match self.below(100) {
            0..50 => self.send(at),
            50..58 => {
                let text = self.text(at, None, true);
                self.type_line(at, &format!("send_all {text}"));
            }
            58..62 => self.type_line(at, "dereg"),
            62..66 => self.type_line(at, "reg"),
            66..80 => self.group_command(at),
            _ if !crashes => self.type_line(at, "table"),
            80..88 => self.disturb_network(at),
            _ => self.disturb_actor(at),
        }
    }

    fn send(&mut self, at: usize) {
        let to = match self.below(20) {
            0 => "nobody".to_owned(),
            _ => self.any_name(),
        };
        let count = if self.below(10) == 0 { 1 + self.below(80) } else { 1 };
        for _ in 0..count {
            let text = self.text(at, Some(to.clone()), count == 1);
            self.type_line(at, &format!("send {to} {text}"));
        }
    }

    fn group_command(&mut self, at: usize) {
        let group = ["g", "h"][self.below(2)];
        match self.below(10) {
            0 | 1 => self.type_line(at, &format!("create_group {group}")),
            2..5 => self.type_line(at, &format!("join_group {group}")),
            5 => self.type_line(at, "leave_group"),
            6 => self.type_line(at, "list_groups"),
            7 => self.type_line(at, "list_members"),
            _ => {
                let text = self.text(at, None, true);
                self.type_line(at, &format!("send_group {text}"));
            }
        }
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.sim.cut(from, to);
        if to == SERVER {
            self.cut_off.insert(from);
        }
    }

    fn disturb_network(&mut self, at: usize) {
        let index = self.actors[at].index;
        let other = self.below(self.originals + 1);
        match self.below(6) {
            0 | 1 => {
                self.note(format!("cut {index} and {other}"));
                self.cut(index, other);
                self.cut(other, index);
            }
            2 => {
                self.note(format!("cut from {index} to {other}"));
                self.cut(index, other);
            }
            3 => {
                let count = 1 + self.below(5) as u32;
                self.note(format!("drop {count} from {index} to {other}"));
                self.sim.drop_next(index, other, count);
            }
            _ => {
                self.note("heal".to_owned());
                self.sim.heal();
            }
        }
    }

    fn disturb_actor(&mut self, at: usize) {
        let index = self.actors[at].index;
        match self.below(20) {
            0..4 => self.end_and_start_server(),
            4..9 if self.is_running(at) => self.kill(at),
            4..9 => self.start(at),
            9 if self.is_running(at) && !self.sim.is_paused(index) => {
                self.note(format!("ask {} to leave", self.actors[at].name));
                self.last_run(at).end = RunEnd::Requested;
                self.sim.leave(index);
            }
            10 if self.is_running(at) && !self.sim.is_paused(index) => {
                self.note(format!("end of input of {}", self.actors[at].name));
                self.sim.finish(index);
            }
            9..13 if !self.is_running(at) => self.start(at),
            11..14 => {
                let index = if self.below(4) == 0 { SERVER } else { index };
                let paused = !self.sim.is_paused(index);
                self.note(format!("pause {index}: {paused}"));
                self.held_up.get_or_insert(self.sim.now());
                self.sim.pause(index, paused);
            }
            14..16 => {
                let blocked = self.below(2) == 0;
                self.note(format!("block {index}: {blocked}"));
                self.held_up.get_or_insert(self.sim.now());
                self.sim.block(index, blocked);
            }
            17 => {
                let full = self.below(2) == 0;
                self.note(format!("disk full: {full}"));
                self.sim.disk().full = full;
            }
            16 if self.actors.len() < self.originals + 2 => {
                let name = self.any_name();
                self.add(&name);
            }
            _ => self.send(at),
        }
    }

    fn end_and_start_server(&mut self) {
        if self.sim.server_machine().is_some() {
            self.note("kill the server".to_owned());
            self.server_killed = true;
            self.sim.kill(SERVER);
            if self.below(2) == 0 {
                self.pause_between_steps();
                self.note("start the server at once".to_owned());
                self.sim.start(SERVER);
            }
        } else {
            self.note("start the server".to_owned());
            self.sim.start(SERVER);
        }
    }

    /// Removes all faults, restarts all clients, sends the last messages, and waits until everything is idle.
    fn heal(&mut self) {
        self.note("everything heals".to_owned());
        self.sim.heal();
        self.sim.disk().full = false;
        self.sim.set_net(LinkModel::PERFECT);
        if self.sim.server_machine().is_none() {
            self.sim.start(SERVER);
        }
        for index in 0..=self.actors.len() {
            if self.sim.is_paused(index) {
                self.sim.pause(index, false);
            }
            self.sim.block(index, false);
        }
        for at in self.originals..self.actors.len() {
            if self.is_running(at) {
                self.kill(at);
            }
        }
        self.sim.run_for(REST);
        for _ in 0..2 {
            for at in 0..self.originals {
                if self.is_running(at) {
                    self.type_line(at, "leave_group");
                    self.type_line(at, "reg");
                } else {
                    self.start(at);
                }
            }
            self.sim.run_for(REST);
        }
        self.well_since = self.sim.now();
        // Each client sends on each link that it used. This also makes every link drop its aborted messages.
        for at in 0..self.originals {
            for to in self.correspondents(at) {
                let to = self.actors[to].name.clone();
                let text = self.text(at, Some(to.clone()), false);
                self.last_words.insert(text.clone());
                self.type_line(at, &format!("send {to} {text}"));
            }
        }
        self.sim.run_for(REST);
        self.sim.console(Console::Table);
        for at in 0..self.originals {
            self.type_line(at, "table");
        }
        self.sim.run_for(Duration::from_secs(1));
        // A keep-alive may be under way at any moment, so the simulation is idle only between two of them.
        for _ in 0..1000 {
            if self.sim.is_idle() {
                return;
            }
            self.sim.run_for(Duration::from_micros(100));
        }
    }

    /// Whether a run under this name may have ended before the server received all its acknowledgements.
    pub fn ended_unheard(&self, name: &str) -> bool {
        let mut actors = self.actors.iter().filter(|actor| actor.name == name);
        let cut_short = |actor: &TestClient| actor.runs.iter().any(|run| run.end != RunEnd::ByItself);
        actors.any(|actor| cut_short(actor) || self.cut_off.contains(&actor.index))
    }

    /// The steps of the history and the events of all actors, in order of time.
    pub fn transcript(&self) -> String {
        let mut lines: Vec<(Instant, String)> = self.script.clone();
        for index in 0..=self.actors.len() {
            let name = if index == SERVER { "server" } else { &self.actors[index - 1].name };
            for (at, event) in self.sim.log(index) {
                let shown: String = event.json(0, name).chars().take(300).collect();
                lines.push((*at, format!("    {index} {shown}")));
            }
        }
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().map(|(at, line)| format!("{at:?} {line}\n")).collect()
    }

    /// The clients that run at the end.
    pub fn present(&self) -> &[TestClient] {
        &self.actors[..self.originals]
    }
}
