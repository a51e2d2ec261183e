//! `chat run --record`: the files in the folder of a case.

use std::path::Path;

use crate::support::program;
use serde_json::Value;

/// The first two datagrams of x are lost. Later y is killed. The server writes text instead of JSON.
const CASE: &str = "
case \"x speaks; y is / gone\"
server --text
client x -- --fault drop=2
client y
x> send y hi
x< [Message received by y.]
kill y
x> send y again
x< [No ACK from y, message sent to server.]
restart y
y< /x: (.* )?again/
";

fn run(folder: &Path, options: &[&str]) -> (String, Option<i32>) {
    std::fs::write(folder.join("a.chat"), CASE).unwrap();
    program(["run", "a.chat"]).args(options).folder(folder).run().combined()
}

/// The lines of a diagram without times and without consecutive duplicates.
fn statements(diagram: &str) -> Vec<String> {
    let time = regex::Regex::new(r"[0-9.]+ s |, [0-9]+ ms on the way").unwrap();
    let mut lines: Vec<String> = diagram.lines().map(|line| time.replace_all(line.trim(), "").into_owned()).collect();
    lines.dedup();
    lines
}

#[test]
fn a_record_has_all_output_and_every_datagram() {
    let folder = tempfile::tempdir().unwrap();
    let (said, status) = run(folder.path(), &["--record", "kept/here"]);
    assert_eq!(status, Some(0), "{said}");
    let case = folder.path().join("kept/here/01-x-speaks-y-is-gone");
    let read = |name: &str| std::fs::read_to_string(case.join(name)).unwrap();
    let mut names: Vec<String> =
        std::fs::read_dir(&case).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = ["diagram.mmd", "server.err", "server.out", "timeline.txt", "x.err", "x.jsonl", "y.err", "y.jsonl"];
    assert_eq!(names, expected);

    // Output is recorded byte for byte: both incarnations of y, each numbered without gaps, and the prompt of the
    // server.
    assert!(read("server.out").starts_with(">>> [Server listening on port "));
    let seqs = |name| -> Vec<u64> {
        read(name).lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect()
    };
    let y = seqs("y.jsonl");
    let second = (1..y.len()).find(|n| y[*n] == 1).expect("a second life");
    assert!(y[..second].iter().copied().eq(1..=second as u64), "{y:?}");
    assert!(read("x.jsonl").contains("\"event\":\"sent\""));

    let timeline = read("timeline.txt");
    for line in ["x     > send y hi", "y       x: hi", "y     # killed", "y     # started again"] {
        assert!(timeline.lines().any(|shown| shown.ends_with(line)), "{line}\n{timeline}");
    }

    let diagram = statements(&read("diagram.mmd"));
    let all = diagram.join("\n");
    assert_eq!(
        diagram[..4],
        ["sequenceDiagram", "participant p0 as server", "participant p1 as x", "participant p2 as y"]
    );
    let order = [
        "p1-xp0: hello, lost (drop)",
        "p1->>p0: hello",
        "p0->>p1: welcome",
        "Note over p1: types: send y hi",
        "p1->>p2: msg",
        "Note over p2: x: hi",
        "p2->>p1: head",
        "Note over p2: (killed)",
        "p1-xp2: msg, not seen to arrive",
        "p1-xp2: msg (copy 1), not seen to arrive",
        "Note over p1: [No ACK from y, message sent to server.]",
        "Note over p2: (started again)",
    ];
    let mut rest = diagram.iter();
    for line in order {
        assert!(rest.any(|shown| shown == line), "{line} in its place\n{all}");
    }
}

#[test]
fn an_unwritable_record_is_reported_and_the_run_continues() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let (said, status) = run(folder.path(), &["--record", "file"]);
    assert!(said.contains("The record file/01-x-speaks-y-is-gone cannot be written: "), "{said}");
    assert_eq!(status, Some(3));
    let (said, status) = run(folder.path(), &["--record", "kept", "--simulate"]);
    assert_eq!((said.as_str(), status), ("--record and --simulate exclude each other.\n", Some(1)));
}
