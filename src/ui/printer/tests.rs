//! Tests of the printer: written events, displayed events, and output that cannot be written.

use super::*;
use crate::proto::name::Name;
use crate::proto::time::Timestamp;
use std::sync::mpsc;

/// Passes each write to a channel, then blocks until the test answers it.
struct Sink {
    written: mpsc::Sender<String>,
    answers: mpsc::Receiver<io::Result<()>>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
        self.answers.recv().unwrap().map(|()| bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Rig {
    printer: Printer,
    written: mpsc::Receiver<String>,
    answer: mpsc::Sender<io::Result<()>>,
    woken: mpsc::Receiver<()>,
}

fn rig(json: bool) -> Rig {
    rig_with(json, None)
}

/// A printer that writes to `direct` while it takes the bytes, and to the sink of the test otherwise.
fn rig_with(json: bool, direct: Option<File>) -> Rig {
    let (written_in, written) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    let (wake_in, woken) = mpsc::channel();
    let style = OutputStyle { json, terminal: false, me: "x".to_owned() };
    let sink = Box::new(Sink { written: written_in, answers });
    let printer = Printer::to((sink, direct), style, None, Arc::new(move || _ = wake_in.send(()))).unwrap();
    Rig { printer, written, answer, woken }
}

fn event(body: ClientEvent) -> Event {
    Event { at: Timestamp::default(), cmd: None, group: None, body: Body::Client(body) }
}

fn created(group: &str) -> Event {
    event(ClientEvent::GroupCreated { group: group.parse().unwrap() })
}

#[test]
fn an_event_counts_as_displayed_when_it_is_written() {
    let rig = rig(false);
    rig.printer.display(vec![created("g")]);
    assert_eq!(rig.written.recv().unwrap(), ">>> [Group g created by Server.]\n");
    assert_eq!(rig.printer.displayed(), 0);
    rig.answer.send(Ok(())).unwrap();
    rig.woken.recv().unwrap();
    assert_eq!(rig.printer.displayed(), 1);
}

#[test]
fn every_line_has_its_prompt() {
    let rig = rig(false);
    let groups = ["g", "h"].map(|group| group.parse().unwrap()).to_vec();
    let mut list = event(ClientEvent::Groups { groups });
    list.group = Some(Name::new("here").unwrap());
    rig.printer.display(vec![list]);
    let expected = ">>> (here) [Available group chats:]\n>>> (here) g\n>>> (here) h\n";
    assert_eq!(rig.written.recv().unwrap(), expected);
    rig.answer.send(Ok(())).unwrap();
}

#[test]
fn seq_has_no_gaps_and_the_exit_event_comes_last() {
    let rig = rig(true);
    rig.printer.display(vec![created("a")]);
    rig.written.recv().unwrap();
    rig.printer.display(vec![created("b")]);
    rig.printer.display_uncounted(created("c"));
    for _ in 0..3 {
        rig.answer.send(Ok(())).unwrap();
    }
    rig.printer.close(event(ClientEvent::Exit { status: 4, shown: false }), || false);
    let rest: String = rig.written.try_iter().collect();
    let seqs: Vec<u64> = rest
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, [2, 3, 4]);
    assert!(rest.ends_with("\"event\":\"exit\",\"status\":4}\n"), "{rest}");
    assert_eq!(rig.printer.displayed(), 2);
}

#[test]
fn no_event_counts_as_displayed_after_the_reader_closed_the_output() {
    let rig = rig(false);
    rig.answer.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
    rig.printer.display(vec![created("g")]);
    rig.woken.recv().unwrap();
    assert_eq!(rig.printer.gone(), Some(Gone::Reader));
    rig.printer.display(vec![created("h")]);
    rig.printer.close(created("i"), || false);
    assert_eq!(rig.printer.displayed(), 0);
    assert_eq!(rig.written.try_iter().count(), 1);
}

#[test]
fn close_gives_up_on_a_blocked_output() {
    let rig = rig(false);
    rig.printer.display(vec![created("g")]);
    rig.written.recv().unwrap();
    let mut asked = 0;
    rig.printer.close(created("h"), || {
        asked += 1;
        asked > 2
    });
    assert_eq!(rig.printer.displayed(), 0);
}

/// A pipe whose writing end never waits.
fn pipe() -> (File, File) {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
    (reader.into(), writer.into())
}

fn read_available(pipe: &mut File) -> String {
    let mut bytes = Vec::new();
    let error = io::Read::read_to_end(pipe, &mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_pipe_with_room_is_written_at_once() {
    let (mut reader, writer) = pipe();
    let rig = rig_with(false, Some(writer));
    rig.printer.display(vec![created("g"), created("h")]);
    assert_eq!(rig.printer.displayed(), 2);
    let expected = ">>> [Group g created by Server.]\n>>> [Group h created by Server.]\n";
    assert_eq!(read_available(&mut reader), expected);
    rig.printer.close(created("i"), || true);
}

#[test]
fn the_thread_goes_on_where_a_pipe_became_full() {
    let (mut reader, mut writer) = pipe();
    let mut free = 0;
    while let Ok(count) = writer.write(&[b'x'; 4096]) {
        free += count;
    }
    // One page of the pipe is free again.
    io::Read::read_exact(&mut reader, &mut [0; 4096]).unwrap();
    let rig = rig_with(true, Some(writer));
    let events: Vec<Event> = (0..100).map(|n| created(&format!("g{n}"))).collect();
    rig.printer.display(events.clone());
    let rest = rig.written.recv().unwrap();
    assert_eq!(rig.printer.displayed(), 0);
    // The thread waits in its write. Further events stay behind it.
    rig.printer.display(vec![created("last")]);
    rig.answer.send(Ok(())).unwrap();
    rig.woken.recv().unwrap();
    assert!(rig.written.recv().unwrap().contains("last"));
    assert_eq!(rig.printer.displayed(), 100);
    rig.answer.send(Ok(())).unwrap();
    rig.woken.recv().unwrap();
    assert_eq!(rig.printer.displayed(), 101);
    let direct = read_available(&mut reader);
    let all: String = (1..).zip(&events).map(|(seq, event)| event.json(seq, "x") + "\n").collect();
    assert_eq!(direct[free - 4096..].to_owned() + &rest, all);
}

#[test]
fn a_closed_pipe_is_noticed_at_once() {
    let (reader, writer) = pipe();
    drop(reader);
    let rig = rig_with(false, Some(writer));
    rig.printer.display(vec![created("g")]);
    assert_eq!((rig.printer.gone(), rig.printer.displayed()), (Some(Gone::Reader), 0));
}
