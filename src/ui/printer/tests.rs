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
    let (written_in, written) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    let (wake_in, woken) = mpsc::channel();
    let style = OutputStyle { json, terminal: false, me: "x".to_owned() };
    let sink = Box::new(Sink { written: written_in, answers });
    let printer = Printer::to(sink, style, None, Arc::new(move || _ = wake_in.send(()))).unwrap();
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
    rig.printer.display(created("g"));
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
    rig.printer.display(list);
    let expected = ">>> (here) [Available group chats:]\n>>> (here) g\n>>> (here) h\n";
    assert_eq!(rig.written.recv().unwrap(), expected);
    rig.answer.send(Ok(())).unwrap();
}

#[test]
fn seq_has_no_gaps_and_the_exit_event_comes_last() {
    let rig = rig(true);
    rig.printer.display(created("a"));
    rig.written.recv().unwrap();
    rig.printer.display(created("b"));
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
    rig.printer.display(created("g"));
    rig.woken.recv().unwrap();
    assert_eq!(rig.printer.gone(), Some(Gone::Reader));
    rig.printer.display(created("h"));
    rig.printer.close(created("i"), || false);
    assert_eq!(rig.printer.displayed(), 0);
    assert_eq!(rig.written.try_iter().count(), 1);
}

#[test]
fn close_gives_up_on_a_blocked_output() {
    let rig = rig(false);
    rig.printer.display(created("g"));
    rig.written.recv().unwrap();
    let mut asked = 0;
    rig.printer.close(created("h"), || {
        asked += 1;
        asked > 2
    });
    assert_eq!(rig.printer.displayed(), 0);
}
