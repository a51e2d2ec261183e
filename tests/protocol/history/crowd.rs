//! Crowds: histories with many clients, bursts of messages to many, readers that are slow or offline, logs that keep few
//! messages, and a bottleneck before some of the clients. No datagram is cut off and no program is paused.

use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::proto::config::{Retention, ServerLimits};
use chat::sim::simulation::SERVER;

use crate::history::{History, rng};

/// The number of clients.
const CLIENTS: usize = 50;
/// The most messages of one burst.
const BURST: usize = 150;
/// The most clients that send a burst at once.
const SENDERS: usize = 3;
/// The most clients that de-register at once.
const LEAVERS: usize = 8;
/// The most steps.
const STEPS: usize = 40;
/// The most bytes per second of probes to one client: a full datagram each 40 ms. Probes do not back off, so that a
/// bottleneck must carry those to all its clients. Otherwise its queue stays full and may lose all pings of one of them.
const PROBES_A_CLIENT: usize = 30_000;
/// The networks beyond the bottleneck. They lose few datagrams, so that nobody is silent by chance.
const NETS: [(&str, LinkModel); 3] =
    [("perfect", LinkModel::PERFECT), ("lan", LinkModel::LAN), ("transatlantic", LinkModel::TRANSATLANTIC)];

impl History {
    /// Runs the crowd of this seed to its end.
    pub fn crowd(seed: u64) -> Self {
        let mut rng = rng(8, seed);
        let mut below = |n: usize| (rng.bits() % n as u64) as usize;
        let (name, net) = NETS[below(NETS.len())];
        let messages = [60, 60, 60, 200, 200, 10_000][below(6)];
        let retention = Retention { messages, ..Retention::default() };
        let mut history = Self::new(seed, net, ServerLimits { retention, ..ServerLimits::default() }, rng);
        history.note(format!("a crowd, network {name}, logs of {messages} messages"));
        history.is_crowd = true;
        history.originals = CLIENTS;
        history.narrow(net);
        for at in 0..CLIENTS {
            history.add(&format!("c{at}"));
        }
        history.sim.run_for(Duration::from_secs(2));
        history.type_line(0, "create_group g");
        history.sim.run_for(Duration::from_secs(1));
        for at in 0..CLIENTS {
            if history.below(2) == 0 {
                history.type_line(at, "join_group g");
            }
        }
        let crashes = history.below(3) == 0;
        for _ in 0..STEPS / 2 + history.below(STEPS / 2) {
            let most = [1, 20_000, 200_000, 3_000_000][history.below(4)];
            let micros = history.below(most) as u64;
            history.sim.run_for(Duration::from_micros(micros));
            history.crowd_step(crashes);
        }
        history.heal();
        history
    }

    /// Puts the first clients behind a bottleneck, which they share in each direction.
    fn narrow(&mut self, net: LinkModel) {
        let bandwidth = [500_000, 1_250_000, 2_500_000][self.below(3)];
        let clients = 1..=1 + self.below((bandwidth / PROBES_A_CLIENT).min(CLIENTS / 2));
        let queue = [30, 50, 100][self.below(3)];
        self.note(format!("a bottleneck of {bandwidth} bytes/s and {queue} datagrams before {clients:?}"));
        let bottleneck = LinkModel { bandwidth: bandwidth as u64, queue, ..net };
        let down: Vec<_> = clients.clone().map(|client| (SERVER, client)).collect();
        let up: Vec<_> = clients.map(|client| (client, SERVER)).collect();
        for routes in [down, up] {
            self.sim.share_path(&routes);
            let (from, to) = routes[0];
            self.sim.set_path(from, to, bottleneck);
        }
    }

    fn crowd_step(&mut self, crashes: bool) {
        let at = self.below(CLIENTS);
        let index = self.actors[at].index;
        match self.below(100) {
            0..15 => {
                for _ in 0..=self.below(SENDERS) {
                    let at = self.below(CLIENTS);
                    self.burst(at, "send_all");
                }
            }
            15..25 => {
                self.type_line(at, "join_group g");
                self.burst(at, "send_group");
            }
            25..35 => {
                let to = self.actors[self.correspondents(at)[0]].name.clone();
                for _ in 0..=self.below(80) {
                    let text = self.text(at, Some(to.clone()), false);
                    self.type_line(at, &format!("send {to} {text}"));
                }
            }
            35..45 => self.set_blocked(index, true),
            45..50 => self.set_blocked(index, false),
            50..60 => {
                for _ in 0..=self.below(LEAVERS) {
                    let at = self.below(CLIENTS);
                    self.type_line(at, "dereg");
                }
            }
            60..65 => self.type_line(at, "reg"),
            65..70 => self.type_line(at, "join_group g"),
            70..75 => self.type_line(at, "leave_group"),
            75..85 if crashes && self.is_running(at) => self.kill(at),
            75..88 if crashes && !self.is_running(at) => self.start(at),
            88..90 if crashes => self.end_and_start_server(),
            _ => {
                let text = self.text(at, None, true);
                self.type_line(at, &format!("send_all {text}"));
            }
        }
    }

    /// A client types many messages at once.
    fn burst(&mut self, at: usize, command: &str) {
        for _ in 0..=self.below(BURST) {
            let text = self.text(at, None, false);
            self.type_line(at, &format!("{command} {text}"));
        }
    }

    fn set_blocked(&mut self, index: usize, blocked: bool) {
        self.note(format!("block {index}: {blocked}"));
        self.held_up.get_or_insert(self.sim.now());
        self.sim.block(index, blocked);
    }
}
