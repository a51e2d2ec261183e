//! Draws a case as a Mermaid sequence diagram: datagrams with losses and copies, typed lines and output, in order of
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::proto::time::Instant;
use crate::runner::lang::ast::ActorId;
use crate::runner::record::sent_datagrams::{SentDatagram, SentDatagrams};
use crate::runner::record::trace::{Trace, TraceKind, TracedDatagram};
use crate::runner::report::outcome::{TranscriptEntry, TranscriptKind};

/// The most statements: Mermaid draws 500 edges at most. The last ones are kept, because the failure is there.
const MAX_STATEMENTS: usize = 400;
/// The longest text of a statement, in characters. 400 of these mostly fit into the 50,000 characters that Mermaid
/// reads.
const MAX_LABEL: usize = 80;
/// A datagram that took longer than this was delayed.
const DELAYED_MICROS: i64 = 5000;

/// One statement of the diagram.
#[derive(Clone, Debug)]
struct DiagramStatement {
    at: Instant,
    text: DiagramText,
}

#[derive(Clone, Debug)]
enum DiagramText {
    Note(ActorId, String),
    /// A datagram. Without `to` it goes to an unknown port.
    Arrow {
        from: ActorId,
        to: Option<ActorId>,
        arrived: bool,
        label: String,
    },
}

/// The diagram of a case.
pub(crate) fn render(traces: &[Trace], transcript: &[TranscriptEntry], began: Instant) -> String {
    let actors: BTreeSet<&ActorId> =
        traces.iter().map(|trace| &trace.actor).chain(transcript.iter().map(|entry| &entry.actor)).collect();
    let mut statements = arrows(traces, actors.get(&ActorId::Server).copied());
    statements.extend(notes(traces, transcript));
    statements.sort_by_key(|statement| statement.at);
    let names: BTreeMap<&ActorId, String> =
        actors.into_iter().enumerate().map(|(n, actor)| (actor, format!("p{n}"))).collect();
    let mut text = "sequenceDiagram\n".to_owned();
    for (actor, id) in &names {
        _ = writeln!(text, "    participant {id} as {}", safe(&actor.to_string()));
    }
    let has_no_receiver = |statement: &DiagramStatement| matches!(statement.text, DiagramText::Arrow { to: None, .. });
    if statements.iter().any(has_no_receiver) {
        text.push_str("    participant nobody\n");
    }
    let omitted = statements.len().saturating_sub(MAX_STATEMENTS);
    if let Some(first) = names.values().next().filter(|_| omitted > 0) {
        _ = writeln!(text, "    Note over {first}: {omitted} earlier ones are left out");
    }
    for statement in &statements[omitted..] {
        let seconds = statement.at.since(began).as_secs_f64();
        match &statement.text {
            DiagramText::Note(actor, note) => {
                _ = writeln!(text, "    Note over {}: {seconds:.3} s {}", names[actor], safe(note))
            }
            DiagramText::Arrow { from, to, arrived, label } => {
                let (arrow, to) = (if *arrived { "->>" } else { "-x" }, to.as_ref().map_or("nobody", |to| &names[to]));
                _ = writeln!(text, "    {}{arrow}{to}: {seconds:.3} s {}", names[from], safe(label));
            }
        }
    }
    text
}

/// Typed lines, actions on actors, and their output, as notes.
fn notes(traces: &[Trace], transcript: &[TranscriptEntry]) -> Vec<DiagramStatement> {
    let offset = offset(traces);
    let shown = traces.iter().filter_map(|trace| match &trace.kind {
        TraceKind::Shown(line) => Some((offset(trace.micros), &trace.actor, line.replace('\n', " / "))),
        _ => None,
    });
    // The events of actors carry the exact times of their output.
    let with_events: BTreeSet<&ActorId> = traces.iter().map(|trace| &trace.actor).collect();
    let transcribed = transcript.iter().filter_map(|entry| match entry.kind {
        TranscriptKind::Shown if with_events.contains(&entry.actor) => None,
        TranscriptKind::Shown => Some((entry.at, &entry.actor, entry.text.clone())),
        TranscriptKind::Typed => Some((entry.at, &entry.actor, format!("types: {}", entry.text))),
        TranscriptKind::Stderr => Some((entry.at, &entry.actor, format!("complains: {}", entry.text))),
        TranscriptKind::Note => Some((entry.at, &entry.actor, format!("({})", entry.text))),
    });
    shown
        .chain(transcribed)
        .map(|(at, actor, note)| DiagramStatement { at, text: DiagramText::Note(actor.clone(), note) })
        .collect()
}

/// Converts civil time to the time of the runner, so that no event is read before it happened.
fn offset(traces: &[Trace]) -> impl Fn(i64) -> Instant {
    let micros = |at: Instant| i64::try_from(at.micros()).unwrap_or(i64::MAX);
    let least = traces.iter().map(|trace| micros(trace.read_at) - trace.micros).min().unwrap_or(0);
    move |civil| Instant::from_micros(u64::try_from(civil.saturating_add(least)).unwrap_or(0))
}

/// Every datagram once, as an arrow.
fn arrows(traces: &[Trace], server: Option<&ActorId>) -> Vec<DiagramStatement> {
    let at = offset(traces);
    let mut sent = SentDatagrams::new(traces, server);
    let mut arrows = Vec::new();
    let mut draw = |micros, from: &ActorId, to: Option<&ActorId>, arrived, label| {
        let text = DiagramText::Arrow { from: from.clone(), to: to.cloned(), arrived, label };
        arrows.push(DiagramStatement { at: at(micros), text });
    };
    // Faults come first: a datagram that a fault dropped cannot have arrived.
    for trace in traces {
        if let TraceKind::Fault(datagram, fault) = &trace.kind {
            let copy = sent.take_lost(trace, datagram).and_then(|lost| lost.copy);
            let label = format!("{}, lost ({fault})", label_of(datagram, copy));
            draw(trace.micros, &trace.actor, sent.owner(datagram.port), false, label);
        }
    }
    let mut arrivals: Vec<(&Trace, &TracedDatagram, Option<&str>)> = traces.iter().filter_map(arrival).collect();
    arrivals.sort_by_key(|(trace, ..)| trace.micros);
    for (trace, datagram, reason) in arrivals {
        if let Some(from) = sent.owner(datagram.port) {
            let is_reported = sent.has_reported(from, trace.micros);
            let label = arrived(trace, datagram, reason, sent.take_arrived(trace, datagram, from), is_reported);
            draw(trace.micros, from, Some(&trace.actor), true, label);
        }
    }
    for datagram in sent.unpaired() {
        let to = sent.owner(datagram.datagram.port);
        let is_lost = sent.is_traced(to);
        let outcome = if is_lost { ", not seen to arrive" } else { "" };
        let label = format!("{}{outcome}", label_of(datagram.datagram, datagram.copy));
        draw(datagram.micros, datagram.from, to, !is_lost, label);
    }
    arrows
}

/// A datagram that arrived, and the reason why it was ignored.
fn arrival(trace: &Trace) -> Option<(&Trace, &TracedDatagram, Option<&str>)> {
    match &trace.kind {
        TraceKind::Received(datagram) => Some((trace, datagram, None)),
        TraceKind::Dropped(datagram, reason) => Some((trace, datagram, Some(reason))),
        _ => None,
    }
}

fn arrived(
    trace: &Trace,
    datagram: &TracedDatagram,
    reason: Option<&str>,
    sent: Option<SentDatagram<'_>>,
    is_reported: bool,
) -> String {
    let mut label = label_of(datagram, sent.and_then(|sent| sent.copy));
    let late = sent.map(|sent| trace.micros.saturating_sub(sent.micros));
    match late {
        // The network duplicated the datagram: the sender reported no further transmission.
        None if is_reported => label.push_str(", once more"),
        Some(late) if late >= DELAYED_MICROS => _ = write!(label, ", {} ms on the way", late / 1000),
        None | Some(_) => {}
    }
    if let Some(reason) = reason {
        _ = write!(label, ", not taken: {reason}");
    }
    label
}

fn label_of(datagram: &TracedDatagram, copy: Option<u64>) -> String {
    let copy_note = copy.map_or_else(String::new, |copy| format!(" (copy {copy})"));
    format!("{}{copy_note}", datagram.frame)
}

/// Escapes text for Mermaid, on one line, cut at [`MAX_LABEL`].
fn safe(text: &str) -> String {
    let cut: String = text.chars().take(MAX_LABEL).collect();
    let mut safe = String::with_capacity(cut.len());
    for c in cut.chars() {
        match c {
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => safe.push(' '),
            '#' | ';' | '<' | '>' | '&' | '%' | '"' | '\\' | '`' => _ = write!(safe, "#{};", u32::from(c)),
            c => safe.push(c),
        }
    }
    if cut.len() < text.len() {
        safe.push('…');
    }
    // In Mermaid, the word `end` closes a block.
    safe.split(' ')
        .map(|word| if word.eq_ignore_ascii_case("end") { "#101;nd" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// An actor's event, this many microseconds after the start. The runner reads it 100 microseconds later.
    fn event(actor: &str, micros: u64, mut event: Value) -> Trace {
        event["ts"] = json!(format!("2026-01-02T03:04:05.{micros:06}Z"));
        Trace::of(&named_actor(actor), Instant::from_micros(micros + 100), &event).unwrap()
    }

    fn named_actor(name: &str) -> ActorId {
        if name == "server" { ActorId::Server } else { ActorId::Client(name.parse().unwrap()) }
    }

    fn datagram(kind: &str, actor: &str, micros: u64, port: u16, frame: &str) -> Trace {
        let peer = format!("127.0.0.1:{port}");
        event(
            actor,
            micros,
            json!({"event": kind, "peer": peer, "frame": frame, "bytes": 9, "fault": "loss", "reason": "noise"}),
        )
    }

    fn drawn(traces: &[Trace], transcript: &[TranscriptEntry]) -> Vec<String> {
        let text = render(traces, transcript, Instant::from_micros(100));
        text.lines().map(str::to_owned).collect()
    }

    fn listening() -> Vec<Trace> {
        let x = event("x", 0, json!({"event": "started", "addr": "127.0.0.1:1001"}));
        vec![x, event("y", 0, json!({"event": "started", "addr": "[::1]:1002"}))]
    }

    #[test]
    fn sent_datagrams_pair_with_received_ones() {
        let mut traces = listening();
        let mut copy_note = datagram("sent", "x", 3000, 1002, "msg");
        copy_note.kind = match copy_note.kind {
            TraceKind::Sent { datagram, .. } => TraceKind::Sent { datagram, copy: Some(1) },
            other => other,
        };
        traces.extend([
            datagram("sent", "x", 1000, 1002, "msg"),
            datagram("fault", "x", 1000, 1002, "msg"),
            copy_note,
            datagram("received", "y", 4000, 1001, "msg"),
            datagram("received", "y", 4001, 1001, "msg"),
            event("y", 4002, json!({"event": "message", "line": "x: hi"})),
            datagram("sent", "y", 5000, 1001, "head"),
            datagram("dropped", "x", 25_000, 1002, "head"),
            datagram("sent", "x", 30_000, 9999, "hello"),
        ]);
        let expected = [
            "sequenceDiagram",
            "    participant p0 as x",
            "    participant p1 as y",
            "    participant nobody",
            "    p0-xp1: 0.001 s msg, lost (loss)",
            "    p0->>p1: 0.004 s msg (copy 1)",
            "    p0->>p1: 0.004 s msg, once more",
            "    Note over p1: 0.004 s x: hi",
            "    p1->>p0: 0.025 s head, 20 ms on the way, not taken: noise",
            "    p0-xnobody: 0.030 s hello, not seen to arrive",
        ];
        assert_eq!(drawn(&traces, &[]), expected);
    }

    #[test]
    fn a_number_pairs_a_datagram_exactly() {
        let numbered = |kind: &str, actor: &str, micros, port, n: u64| {
            let mut trace = datagram(kind, actor, micros, port, "msg");
            match &mut trace.kind {
                TraceKind::Sent { datagram, .. } | TraceKind::Received(datagram) => {
                    datagram.number = Some(("1".repeat(32), n));
                }
                _ => {}
            }
            trace
        };
        let mut traces = listening();
        traces.extend([
            numbered("sent", "x", 1000, 1002, 1),
            numbered("sent", "x", 2000, 1002, 2),
            // The fault has no number: the second datagram arrived, so it dropped the first.
            datagram("fault", "x", 2000, 1002, "msg"),
            numbered("sent", "x", 9000, 1002, 3),
            numbered("received", "y", 10_000, 1001, 3),
            numbered("received", "y", 10_001, 1001, 2),
            numbered("received", "y", 10_002, 1001, 2),
            event("x", 11_000, json!({"event": "exit", "line": "[Exiting]"})),
        ]);
        let expected = [
            "    p0-xp1: 0.002 s msg, lost (loss)",
            "    p0->>p1: 0.010 s msg",
            "    p0->>p1: 0.010 s msg, 8 ms on the way",
            "    p0->>p1: 0.010 s msg, once more",
            "    Note over p0: 0.011 s [Exiting]",
        ];
        assert_eq!(drawn(&traces, &[])[3..], expected);
    }

    #[test]
    fn unreported_datagrams_are_not_called_lost() {
        // y is killed before it reports its datagrams. The server never reports any.
        let mut traces = listening();
        traces.extend([
            event("x", 1, json!({"event": "started", "addr": "127.0.0.1:1001", "server": "127.0.0.1:1000"})),
            datagram("sent", "y", 500, 1001, "msg"),
            datagram("received", "x", 1000, 1002, "head"),
            event("y", 2000, json!({"event": "started", "addr": "127.0.0.1:1002"})),
            datagram("sent", "x", 3000, 1000, "hello"),
            datagram("received", "x", 4000, 1000, "welcome"),
        ]);
        let server = TranscriptEntry {
            at: Instant::from_micros(100),
            actor: ActorId::Server,
            kind: TranscriptKind::Note,
            text: "a".to_owned(),
        };
        let expected = [
            "    Note over p0: 0.000 s (a)",
            "    p2-xp1: 0.001 s msg, not seen to arrive",
            "    p2->>p1: 0.001 s head",
            "    p1->>p0: 0.003 s hello",
            "    p0->>p1: 0.004 s welcome",
        ];
        assert_eq!(drawn(&traces, &[server])[4..], expected);
    }

    #[test]
    fn typed_and_shown_lines_are_notes() {
        let entry = |at, actor: &str, kind, text: &str| TranscriptEntry {
            at: Instant::from_micros(at),
            actor: named_actor(actor),
            kind,
            text: text.to_owned(),
        };
        let transcript = [
            entry(100, "server", TranscriptKind::Note, "started"),
            entry(1100, "x", TranscriptKind::Typed, "send y the ENDS; # of it"),
            entry(2100, "x", TranscriptKind::Shown, "told by its events"),
            entry(2100, "server", TranscriptKind::Shown, "told by the transcript"),
            entry(3100, "server", TranscriptKind::Stderr, "no"),
        ];
        let expected = [
            "sequenceDiagram",
            "    participant p0 as server",
            "    participant p1 as x",
            "    participant p2 as y",
            "    Note over p0: 0.000 s (started)",
            "    Note over p1: 0.001 s types: send y the ENDS#59; #35; of it",
            "    Note over p0: 0.002 s told by the transcript",
            "    Note over p0: 0.003 s complains: no",
        ];
        assert_eq!(drawn(&listening(), &transcript), expected);
        assert_eq!(safe("the end is END"), "the #101;nd is #101;nd");
        assert_eq!(safe(&"é".repeat(MAX_LABEL + 1)).chars().count(), MAX_LABEL + 1);
    }

    #[test]
    fn the_last_statements_are_kept() {
        let line = |n: u64| event("x", n, json!({"event": "mail", "line": n.to_string()}));
        let traces: Vec<Trace> = (0..=MAX_STATEMENTS as u64).map(line).collect();
        let shown = drawn(&traces, &[]);
        assert_eq!(shown.len(), 3 + MAX_STATEMENTS);
        assert_eq!(shown[2], "    Note over p0: 1 earlier ones are left out");
        assert!(shown[3].ends_with(" s 1") && shown.last().unwrap().ends_with(" s 400"));
        assert!(!drawn(&traces[1..], &[]).concat().contains("left out"));
    }

    proptest! {
        #[test]
        fn any_text_makes_one_statement(text in any::<String>(), more in "[;#<>%\\\\\n\r end]{0,20}") {
            let line = event("x", 0, json!({"event": "mail", "line": text + &more}));
            let shown = drawn(&[line], &[]);
            prop_assert_eq!(shown.len(), 3);
            let text = shown[2].strip_prefix("    Note over p0: 0.000 s ").unwrap();
            // A semicolon or a number sign occurs only inside an entity.
            let rest = regex::Regex::new("#[0-9]+;").unwrap().replace_all(text, "");
            prop_assert!(!rest.contains([';', '#', '<', '>', '%', '\n', '\r']), "{}", text);
            prop_assert!(text.split(' ').all(|word| !word.eq_ignore_ascii_case("end")), "{}", text);
        }
    }
}
