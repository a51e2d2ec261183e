//! The backend of a simulated world: the same scenario in virtual time, replayable from its seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::netem::fault::FaultCommand;
pub use crate::netem::link_model::LinkModel;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::server::ServerEvent;
use crate::proto::event::{Body, Event};
use crate::proto::machine::Exit;
use crate::proto::name::Name;
use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::backend::active_faults::{ActiveFaults, command};
use crate::runner::backend::{
    ActorExit, ActorOutput, Backend, BackendError, BackendEvent, InputError, LaunchSpec, MAX_UNREAD, NetworkChange,
};
use crate::runner::lang::ast::{ActorId, Direction, Fault, Need, Signal, Statement, Step};
use crate::sim::simulation::{SERVER, Simulation};

/// The number of SIGHUP.
const HANGUP: u8 = 1;

/// Actors as machines in one world.
pub struct SimulatedBackend {
    world: Simulation,
    actors: BTreeMap<ActorId, SimulatedActor>,
    happened: VecDeque<BackendEvent>,
    standing: ActiveFaults,
}

struct SimulatedActor {
    index: usize,
    launch: LaunchSpec,
    /// How much of its log was told, and how many events of this life.
    told: usize,
    seq: u64,
    runs: bool,
    /// The first signal that asked it to end.
    signal: Option<u8>,
    /// How many bytes of lines wait because it is paused.
    unread: usize,
    /// Nothing can be typed any more.
    closed: bool,
}

impl SimulatedActor {
    /// One that begins its first life.
    fn new(index: usize, launch: LaunchSpec) -> Self {
        Self { index, launch, told: 0, seq: 0, runs: true, signal: None, unread: 0, closed: false }
    }
}

/// Why this case cannot be simulated, if that is so.
#[must_use]
pub fn unsimulable(setup: &[Statement], statements: &[Statement]) -> Option<String> {
    let args = setup.iter().chain(statements).find_map(|statement| match &statement.step {
        Step::Server { args } | Step::Client { args, .. } => args.iter().find(|arg| *arg != "--text"),
        _ => None,
    })?;
    Some(format!("{args} needs a real process"))
}

impl SimulatedBackend {
    /// An empty backend on this network.
    #[must_use]
    pub fn new(seed: u64, net: LinkModel) -> Self {
        Self {
            world: Simulation::without_server(seed, net),
            actors: BTreeMap::new(),
            happened: VecDeque::new(),
            standing: ActiveFaults::default(),
        }
    }

    fn sim_actor(&self, actor: &ActorId) -> Result<&SimulatedActor, BackendError> {
        self.actors.get(actor).ok_or_else(|| BackendError(format!("{actor} was never started")))
    }

    /// Tells what everybody showed since the last time, and who has ended.
    fn gather(&mut self) {
        for (actor, sim_actor) in &mut self.actors {
            for (at, event) in &self.world.log(sim_actor.index)[sim_actor.told..] {
                sim_actor.told += 1;
                sim_actor.seq += 1;
                show(&mut self.happened, actor, sim_actor, *at, event);
            }
            if !sim_actor.runs {
                continue;
            }
            if let Some(ending) = self.world.ending(sim_actor.index).cloned() {
                sim_actor.runs = false;
                // A server that is asked to end has done its work; only a hangup is told by its status.
                let signal = sim_actor.signal.filter(|signal| *actor != ActorId::Server || *signal == HANGUP);
                let status = ending.status.or(signal.map_or(Status::Ok, Status::Signal)).code();
                sim_actor.seq += 1;
                let (at, event) = (self.world.now(), last_word(actor, &ending, status, self.world.unix()));
                show(&mut self.happened, actor, sim_actor, at, &event);
                let end = ActorExit { status, signal: None };
                self.happened.push_back(BackendEvent::Ended { actor: actor.clone(), at, end });
            }
        }
    }

    fn begin(&mut self, actor: &ActorId) {
        if let Some(sim_actor) = self.actors.get_mut(actor) {
            let (index, launch, told) = (sim_actor.index, sim_actor.launch.clone(), sim_actor.told);
            *sim_actor = SimulatedActor { told, ..SimulatedActor::new(index, launch) };
        }
        self.gather();
    }

    fn end_by(&mut self, actor: &ActorId, signal: u8) {
        let Some(sim_actor) = self.actors.get_mut(actor).filter(|sim_actor| sim_actor.runs) else { return };
        if sim_actor.signal.is_none() {
            sim_actor.signal = Some(signal);
            self.world.leave(sim_actor.index);
        }
    }

    fn pause(&mut self, actor: &ActorId, paused: bool) {
        let Some(sim_actor) = self.actors.get_mut(actor).filter(|sim_actor| sim_actor.runs) else { return };
        sim_actor.unread = 0;
        self.world.pause(sim_actor.index, paused);
    }

    fn kill(&mut self, actor: &ActorId) {
        let Some(sim_actor) = self.actors.get_mut(actor).filter(|sim_actor| sim_actor.runs) else { return };
        sim_actor.runs = false;
        self.world.kill(sim_actor.index);
        let end = ActorExit { status: 137, signal: Some(9) };
        self.happened.push_back(BackendEvent::Ended { actor: actor.clone(), at: self.world.now(), end });
    }

    fn add_fault(&mut self, way: &Direction, fault: Fault) -> Result<(), BackendError> {
        let commands = self
            .actors
            .iter()
            .filter_map(|(actor, sim_actor)| Some((sim_actor.index, command(actor, way, fault, |to| self.addr(to))?)));
        let commands: Vec<_> = commands.collect();
        commands.into_iter().try_for_each(|(index, command)| self.execute(index, &command))
    }

    fn addr(&self, actor: &ActorId) -> Option<SocketAddr> {
        self.actors.get(actor).map(|sim_actor| self.world.addr(sim_actor.index))
    }

    fn execute(&mut self, index: usize, command: &FaultCommand) -> Result<(), BackendError> {
        self.world.faults(index).execute(command).map_err(BackendError)
    }
}

fn show(
    happened: &mut VecDeque<BackendEvent>,
    actor: &ActorId,
    sim_actor: &SimulatedActor,
    at: Instant,
    event: &Event,
) {
    if sim_actor.launch.text {
        let lines = event.line().unwrap_or_default();
        let lines = lines.split('\n').filter(|line| !line.is_empty());
        happened.extend(lines.map(|line| {
            let (actor, output) = (actor.clone(), ActorOutput::Line(line.to_owned()));
            BackendEvent::Output { actor, at, output }
        }));
    } else if let Ok(value) = serde_json::from_str(&event.json(sim_actor.seq, &sim_actor.launch.name)) {
        happened.push_back(BackendEvent::Output { actor: actor.clone(), at, output: ActorOutput::Event(value) });
    }
}

/// The `exit` event, which a real program's shell makes.
fn last_word(actor: &ActorId, ending: &Exit, status: u8, at: crate::proto::time::Timestamp) -> Event {
    let body = match actor {
        ActorId::Server => Body::Server(ServerEvent::Exit { status }),
        ActorId::Client(_) => Body::Client(ClientEvent::Exit { status, shown: ending.exiting }),
    };
    Event { at, cmd: None, group: ending.group.clone(), body }
}

impl Backend for SimulatedBackend {
    fn now(&self) -> Instant {
        self.world.now()
    }

    fn next(&mut self, until: Instant) -> BackendEvent {
        loop {
            if let Some(happening) = self.happened.pop_front() {
                return happening;
            }
            let more = self.world.step(until);
            self.gather();
            if !more && self.happened.is_empty() {
                return BackendEvent::Time;
            }
        }
    }

    fn start(&mut self, launch: &LaunchSpec) -> Result<(), BackendError> {
        let index = match &launch.actor {
            ActorId::Server => SERVER,
            ActorId::Client(_) => match Name::new(&launch.name) {
                Ok(name) => self.world.enter(name),
                Err(why) => {
                    let (actor, at) = (launch.actor.clone(), self.world.now());
                    let output = ActorOutput::Stderr(why.to_string());
                    self.happened.push_back(BackendEvent::Output { actor: actor.clone(), at, output });
                    let end = ActorExit { status: Status::Usage.code(), signal: None };
                    self.happened.push_back(BackendEvent::Ended { actor, at, end });
                    return Ok(());
                }
            },
        };
        // The faults are in force for its first datagram.
        for command in self.standing.commands(&launch.actor, |to| self.addr(to)) {
            self.execute(index, &command)?;
        }
        self.world.start(index);
        self.actors.insert(launch.actor.clone(), SimulatedActor::new(index, launch.clone()));
        self.gather();
        Ok(())
    }

    fn restart(&mut self, actor: &ActorId) -> Result<(), BackendError> {
        let sim_actor = self.sim_actor(actor)?;
        if sim_actor.runs {
            return Err(BackendError(format!("{actor} still runs")));
        }
        let index = sim_actor.index;
        self.world.start(index);
        self.begin(actor);
        Ok(())
    }

    fn type_line(&mut self, actor: &ActorId, line: &str) -> Result<(), BackendError> {
        let index = self.sim_actor(actor)?.index;
        let paused = self.world.is_paused(index);
        if let Some(sim_actor) = self.actors.get_mut(actor) {
            let refused = |why: InputError| BackendError(format!("{actor} {why}"));
            if sim_actor.closed {
                return Err(refused(InputError::Closed));
            }
            sim_actor.unread += if paused { line.len() + 1 } else { 0 };
            if sim_actor.unread > MAX_UNREAD {
                return Err(refused(InputError::Unread));
            }
        }
        if *actor == ActorId::Server {
            if let Some(word) = crate::proto::console::parse(line.as_bytes()) {
                self.world.console(word);
            }
        } else {
            self.world.type_line(index, line);
        }
        self.gather();
        Ok(())
    }

    fn close_input(&mut self, actor: &ActorId) {
        let Some(sim_actor) = self.actors.get_mut(actor).filter(|sim_actor| !sim_actor.closed) else { return };
        sim_actor.closed = true;
        // A server goes on.
        if *actor != ActorId::Server {
            self.world.finish(sim_actor.index);
            self.gather();
        }
    }

    fn signal(&mut self, actor: &ActorId, signal: Signal) -> Result<(), BackendError> {
        self.sim_actor(actor)?;
        match signal {
            Signal::Kill => self.kill(actor),
            Signal::Term => self.end_by(actor, 15),
            Signal::Interrupt => self.end_by(actor, 2),
            Signal::Hangup => self.end_by(actor, HANGUP),
            Signal::Pause => self.pause(actor, true),
            Signal::Resume => self.pause(actor, false),
        }
        self.gather();
        Ok(())
    }

    fn unmet_need(&self, _need: Need) -> Option<String> {
        None
    }

    fn change_network(&mut self, change: &NetworkChange<'_>) -> Result<(), BackendError> {
        let new = self.standing.apply(change);
        if matches!(change, NetworkChange::Heal) {
            let heal = FaultCommand { heal: true, ..FaultCommand::default() };
            let everybody: Vec<usize> = self.actors.values().map(|sim_actor| sim_actor.index).collect();
            return everybody.into_iter().try_for_each(|index| self.execute(index, &heal));
        }
        new.iter().try_for_each(|(way, fault)| self.add_fault(way, *fault))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::runner::exec::executor::{ExecSettings, run_case};
    use crate::runner::lang::load;
    use crate::runner::report::attempt::Attempt;
    use crate::runner::report::outcome::{CaseInfo, Verdict};

    /// Runs a scenario; returns what everybody showed, in order, with exact times.
    fn transcript(seed: u64, text: &str, net: LinkModel) -> String {
        let scenario = load(Path::new("test.chat"), &mut |_| Ok(text.as_bytes().to_vec())).expect("a scenario");
        let case = &scenario.cases[0];
        let info = CaseInfo {
            file: "test.chat".into(),
            title: case.title.clone(),
            points: None,
            visibility: case.visibility,
            span: case.span.clone(),
            steps: case.statements.len(),
            attempt: Attempt::default(),
        };
        let mut backend = SimulatedBackend::new(seed, net);
        let result = run_case(info, &scenario.setup, case, &mut backend, &ExecSettings::default(), &mut ());
        assert!(matches!(result.verdict, Verdict::Passed), "{:?}", result.verdict);
        format!("{:?}", result.transcript)
    }

    const CASE: &str = r#"case "mail"
server
client x y
x> send y hi
y< x: hi
x> dereg x
x< [You are Offline. Bye.]
loss *->* 20%
y> send x are you there?
y< [Messages received by the server and saved]
kill server
restart server
heal
x> reg x
x< [You have messages]
x< y: {*} are you there?
interrupt x
x exits 130
"#;

    #[test]
    fn a_scenario_is_played_in_virtual_time_and_replayed_byte_for_byte() {
        let first = transcript(7, CASE, LinkModel::LAN);
        assert_eq!(first, transcript(7, CASE, LinkModel::LAN));
        assert_ne!(first, transcript(8, CASE, LinkModel::LAN));
    }

    #[test]
    fn faults_of_everybody_are_those_of_who_comes_later_too() {
        let text = "case \"c\"\nserver\ncut * server\nclient x\nx< [Server not responding]\nheal\nclient y\n\
                    y< [Welcome, You are registered.]\n";
        transcript(7, text, LinkModel::LAN);
    }

    #[test]
    fn the_first_signal_counts() {
        let text = "case \"c\"\nserver\nclient x\npause x\ninterrupt x\nterm x\nresume x\nx exits 130\n\
                    pause server\nterm server\nhangup server\nresume server\nserver exits 0\n";
        transcript(7, text, LinkModel::LAN);
    }

    #[test]
    fn who_still_runs_is_not_started_again() {
        let mut backend = SimulatedBackend::new(1, LinkModel::LAN);
        let launch = LaunchSpec { actor: ActorId::Server, name: "server".to_owned(), args: Vec::new(), text: false };
        backend.start(&launch).expect("a start");
        assert_eq!(backend.restart(&ActorId::Server), Err(BackendError("server still runs".to_owned())));
        backend.signal(&ActorId::Server, Signal::Kill).expect("a signal");
        assert_eq!(backend.restart(&ActorId::Server), Ok(()));
    }

    #[test]
    fn what_needs_a_real_process_is_said() {
        let text = "case \"c\"\nserver --db x.db\nclient x -- --text\n";
        let scenario = load(Path::new("test.chat"), &mut |_| Ok(text.as_bytes().to_vec())).expect("a scenario");
        let reason = unsimulable(&scenario.setup, &scenario.cases[0].statements);
        assert_eq!(reason.as_deref(), Some("--db needs a real process"));
    }
}
