//! The backend of a simulated network: it runs a scenario in virtual time. A seed replays a run exactly.

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
const SIGHUP: u8 = 1;

/// Actors as machines in one simulation.
pub struct SimulatedBackend {
    simulation: Simulation,
    actors: BTreeMap<ActorId, SimulatedActor>,
    events: VecDeque<BackendEvent>,
    active_faults: ActiveFaults,
}

struct SimulatedActor {
    index: usize,
    launch: LaunchSpec,
    /// The number of reported entries of its log. `seq` counts the events of this incarnation.
    reported: usize,
    seq: u64,
    is_running: bool,
    /// The first signal that requested its exit.
    signal: Option<u8>,
    /// The bytes of lines that were typed during a pause.
    unread: usize,
    /// The input is closed.
    is_closed: bool,
}

impl SimulatedActor {
    /// An actor at the start of its first incarnation.
    fn new(index: usize, launch: LaunchSpec) -> Self {
        Self { index, launch, reported: 0, seq: 0, is_running: true, signal: None, unread: 0, is_closed: false }
    }
}

/// The reason why this case cannot be simulated, if it cannot.
#[must_use]
pub fn unsimulable(setup: &[Statement], statements: &[Statement]) -> Option<String> {
    let args = setup.iter().chain(statements).find_map(|statement| match &statement.step {
        Step::Server { args } | Step::Client { args, .. } => args.iter().find(|arg| *arg != "--text"),
        _ => None,
    })?;
    Some(format!("{args} needs a real process"))
}

impl SimulatedBackend {
    /// Creates an empty backend on this network.
    #[must_use]
    pub fn new(seed: u64, net: LinkModel) -> Self {
        Self {
            simulation: Simulation::without_server(seed, net),
            actors: BTreeMap::new(),
            events: VecDeque::new(),
            active_faults: ActiveFaults::default(),
        }
    }

    fn sim_actor(&self, actor: &ActorId) -> Result<&SimulatedActor, BackendError> {
        self.actors.get(actor).ok_or_else(|| BackendError(format!("{actor} was never started")))
    }

    /// Queues the new log entries and exits of all actors.
    fn collect_events(&mut self) {
        for (actor, sim_actor) in &mut self.actors {
            for (at, event) in &self.simulation.log(sim_actor.index)[sim_actor.reported..] {
                sim_actor.reported += 1;
                sim_actor.seq += 1;
                push_output(&mut self.events, actor, sim_actor, *at, event);
            }
            if !sim_actor.is_running {
                continue;
            }
            if let Some(exit) = self.simulation.ending(sim_actor.index).cloned() {
                sim_actor.is_running = false;
                // A server exits with status 0 after SIGTERM and SIGINT. Only SIGHUP shows in its status.
                let signal = sim_actor.signal.filter(|signal| *actor != ActorId::Server || *signal == SIGHUP);
                let status = exit.status.or(signal.map_or(Status::Ok, Status::Signal)).code();
                sim_actor.seq += 1;
                let (at, event) = (self.simulation.now(), exit_event(actor, &exit, status, self.simulation.unix()));
                push_output(&mut self.events, actor, sim_actor, at, &event);
                let end = ActorExit { status, signal: None };
                self.events.push_back(BackendEvent::Ended { actor: actor.clone(), at, end });
            }
        }
    }

    fn reset_actor(&mut self, actor: &ActorId) {
        if let Some(sim_actor) = self.actors.get_mut(actor) {
            let (index, launch, reported) = (sim_actor.index, sim_actor.launch.clone(), sim_actor.reported);
            *sim_actor = SimulatedActor { reported, ..SimulatedActor::new(index, launch) };
        }
        self.collect_events();
    }

    fn request_exit(&mut self, actor: &ActorId, signal: u8) {
        let Some(sim_actor) = self.actors.get_mut(actor).filter(|sim_actor| sim_actor.is_running) else { return };
        if sim_actor.signal.is_none() {
            sim_actor.signal = Some(signal);
            self.simulation.leave(sim_actor.index);
        }
    }

    fn pause(&mut self, actor: &ActorId, paused: bool) {
        let Some(sim_actor) = self.actors.get_mut(actor).filter(|sim_actor| sim_actor.is_running) else { return };
        sim_actor.unread = 0;
        self.simulation.pause(sim_actor.index, paused);
    }

    fn kill(&mut self, actor: &ActorId) {
        let Some(sim_actor) = self.actors.get_mut(actor).filter(|sim_actor| sim_actor.is_running) else { return };
        sim_actor.is_running = false;
        self.simulation.kill(sim_actor.index);
        let end = ActorExit { status: 137, signal: Some(9) };
        self.events.push_back(BackendEvent::Ended { actor: actor.clone(), at: self.simulation.now(), end });
    }

    fn add_fault(&mut self, direction: &Direction, fault: Fault) -> Result<(), BackendError> {
        let commands = self.actors.iter().filter_map(|(actor, sim_actor)| {
            Some((sim_actor.index, command(actor, direction, fault, |to| self.addr(to))?))
        });
        let commands: Vec<_> = commands.collect();
        commands.into_iter().try_for_each(|(index, command)| self.execute(index, &command))
    }

    fn addr(&self, actor: &ActorId) -> Option<SocketAddr> {
        self.actors.get(actor).map(|sim_actor| self.simulation.addr(sim_actor.index))
    }

    fn execute(&mut self, index: usize, command: &FaultCommand) -> Result<(), BackendError> {
        self.simulation.faults(index).execute(command).map_err(BackendError)
    }
}

fn push_output(
    events: &mut VecDeque<BackendEvent>,
    actor: &ActorId,
    sim_actor: &SimulatedActor,
    at: Instant,
    event: &Event,
) {
    if sim_actor.launch.text {
        let lines = event.line().unwrap_or_default();
        let lines = lines.split('\n').filter(|line| !line.is_empty());
        events.extend(lines.map(|line| {
            let (actor, output) = (actor.clone(), ActorOutput::Line(line.to_owned()));
            BackendEvent::Output { actor, at, output }
        }));
    } else if let Ok(value) = serde_json::from_str(&event.json(sim_actor.seq, &sim_actor.launch.name)) {
        events.push_back(BackendEvent::Output { actor: actor.clone(), at, output: ActorOutput::Event(value) });
    }
}

/// The `exit` event. In a real program, the shell creates it.
fn exit_event(actor: &ActorId, exit: &Exit, status: u8, at: crate::proto::time::Timestamp) -> Event {
    let body = match actor {
        ActorId::Server => Body::Server(ServerEvent::Exit { status }),
        ActorId::Client(_) => Body::Client(ClientEvent::Exit { status, shown: exit.exiting }),
    };
    Event { at, cmd: None, group: exit.group.clone(), body }
}

impl Backend for SimulatedBackend {
    fn now(&self) -> Instant {
        self.simulation.now()
    }

    fn next(&mut self, until: Instant) -> BackendEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let more = self.simulation.step(until);
            self.collect_events();
            if !more && self.events.is_empty() {
                return BackendEvent::Time;
            }
        }
    }

    fn start(&mut self, launch: &LaunchSpec) -> Result<(), BackendError> {
        let index = match &launch.actor {
            ActorId::Server => SERVER,
            ActorId::Client(_) => match Name::new(&launch.name) {
                Ok(name) => self.simulation.enter(name),
                Err(why) => {
                    let (actor, at) = (launch.actor.clone(), self.simulation.now());
                    let output = ActorOutput::Stderr(why.to_string());
                    self.events.push_back(BackendEvent::Output { actor: actor.clone(), at, output });
                    let end = ActorExit { status: Status::Usage.code(), signal: None };
                    self.events.push_back(BackendEvent::Ended { actor, at, end });
                    return Ok(());
                }
            },
        };
        // The faults must apply to its first datagram.
        for command in self.active_faults.commands(&launch.actor, |to| self.addr(to)) {
            self.execute(index, &command)?;
        }
        self.simulation.start(index);
        self.actors.insert(launch.actor.clone(), SimulatedActor::new(index, launch.clone()));
        self.collect_events();
        Ok(())
    }

    fn restart(&mut self, actor: &ActorId) -> Result<(), BackendError> {
        let sim_actor = self.sim_actor(actor)?;
        if sim_actor.is_running {
            return Err(BackendError(format!("{actor} still runs")));
        }
        let index = sim_actor.index;
        self.simulation.start(index);
        self.reset_actor(actor);
        Ok(())
    }

    fn type_line(&mut self, actor: &ActorId, line: &str) -> Result<(), BackendError> {
        let index = self.sim_actor(actor)?.index;
        let paused = self.simulation.is_paused(index);
        if let Some(sim_actor) = self.actors.get_mut(actor) {
            let refused = |why: InputError| BackendError(format!("{actor} {why}"));
            if sim_actor.is_closed {
                return Err(refused(InputError::Closed));
            }
            sim_actor.unread += if paused { line.len() + 1 } else { 0 };
            if sim_actor.unread > MAX_UNREAD {
                return Err(refused(InputError::Unread));
            }
        }
        if *actor == ActorId::Server {
            if let Some(word) = crate::proto::console::parse(line.as_bytes()) {
                self.simulation.console(word);
            }
        } else {
            self.simulation.type_line(index, line);
        }
        self.collect_events();
        Ok(())
    }

    fn close_input(&mut self, actor: &ActorId) {
        let Some(sim_actor) = self.actors.get_mut(actor).filter(|sim_actor| !sim_actor.is_closed) else { return };
        sim_actor.is_closed = true;
        // A server continues after the end of its input.
        if *actor != ActorId::Server {
            self.simulation.finish(sim_actor.index);
            self.collect_events();
        }
    }

    fn signal(&mut self, actor: &ActorId, signal: Signal) -> Result<(), BackendError> {
        self.sim_actor(actor)?;
        match signal {
            Signal::Kill => self.kill(actor),
            Signal::Term => self.request_exit(actor, 15),
            Signal::Interrupt => self.request_exit(actor, 2),
            Signal::Hangup => self.request_exit(actor, SIGHUP),
            Signal::Pause => self.pause(actor, true),
            Signal::Resume => self.pause(actor, false),
        }
        self.collect_events();
        Ok(())
    }

    fn unmet_need(&self, _need: Need) -> Option<String> {
        None
    }

    fn change_network(&mut self, change: &NetworkChange<'_>) -> Result<(), BackendError> {
        let new = self.active_faults.apply(change);
        if matches!(change, NetworkChange::Heal) {
            let heal = FaultCommand { heal: true, ..FaultCommand::default() };
            let indices: Vec<usize> = self.actors.values().map(|sim_actor| sim_actor.index).collect();
            return indices.into_iter().try_for_each(|index| self.execute(index, &heal));
        }
        new.iter().try_for_each(|(direction, fault)| self.add_fault(direction, *fault))
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

    /// Runs a scenario and returns its transcript with exact times.
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
    fn one_seed_gives_one_transcript_byte_for_byte() {
        let first = transcript(7, CASE, LinkModel::LAN);
        assert_eq!(first, transcript(7, CASE, LinkModel::LAN));
        assert_ne!(first, transcript(8, CASE, LinkModel::LAN));
    }

    #[test]
    fn faults_for_all_actors_apply_to_later_actors() {
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
    fn a_running_actor_is_not_restarted() {
        let mut backend = SimulatedBackend::new(1, LinkModel::LAN);
        let launch = LaunchSpec { actor: ActorId::Server, name: "server".to_owned(), args: Vec::new(), text: false };
        backend.start(&launch).expect("a start");
        assert_eq!(backend.restart(&ActorId::Server), Err(BackendError("server still runs".to_owned())));
        backend.signal(&ActorId::Server, Signal::Kill).expect("a signal");
        assert_eq!(backend.restart(&ActorId::Server), Ok(()));
    }

    #[test]
    fn options_that_need_a_real_process_are_reported() {
        let text = "case \"c\"\nserver --db x.db\nclient x -- --text\n";
        let scenario = load(Path::new("test.chat"), &mut |_| Ok(text.as_bytes().to_vec())).expect("a scenario");
        let reason = unsimulable(&scenario.setup, &scenario.cases[0].statements);
        assert_eq!(reason.as_deref(), Some("--db needs a real process"));
    }
}
