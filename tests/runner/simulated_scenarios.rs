//! Runs every scenario on the simulated network with many seeds, repeats the seeds that once failed, and compares
//! verdicts of the simulation with verdicts of real processes.

use crate::support::{PROGRAM, program, root, undo_nohup};
use chat::runner::backend::simulated::LinkModel;
use chat::runner::run::{RunOptions, SimulationOptions, run};
use tempfile::TempDir;

fn simulate(arguments: &[&str]) -> String {
    let mut files: Vec<String> = std::fs::read_dir("scenarios")
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".chat"))
        .collect();
    files.sort();
    let run = program(["run", "--simulate"]).args(arguments).args(files).folder(root()).run();
    assert_eq!(run.status, Some(0), "{}{}", run.stdout, run.stderr);
    run.stdout
}

#[test]
fn every_scenario_passes_on_the_nets_that_lose_few_datagrams() {
    for net in ["lan", "transatlantic", "wifi-lossy"] {
        simulate(&["--seeds", "10", "--net", net]);
    }
}

#[test]
fn a_run_is_replayed_byte_for_byte() {
    let arguments = ["--verbose", "--seed", "7", "--net", "wifi-lossy"];
    let times = regex::Regex::new(r"; \d+\.\d+ s \(own overhead[^\n]*\n$").unwrap();
    let (first, second) = (simulate(&arguments), simulate(&arguments));
    // The last line reports the real duration of the run.
    assert_eq!(times.replace(&first, ""), times.replace(&second, ""));
}

/// Regression: a late acknowledgement reached a server before the registration that it belonged to. The server answered
/// that the client is unknown, and the client opened a new link while the server kept using the old one.
#[test]
fn a_client_that_opens_a_new_link_is_welcome() {
    simulate(&["--seed", "43", "--net", "wifi-lossy", "--case", "groups are kept over a restart"]);
}

/// Regression: a late datagram of the old holder of a name was taken for an answer to a ping.
#[test]
fn a_late_datagram_does_not_answer_a_ping() {
    simulate(&["--seed", "6", "--net", "wifi-lossy", "--case", "a name whose holder is gone"]);
}

/// Runs all cases. Returns the verdict and title of each case, and the cause of each failure.
fn verdicts(text: &str, simulation: Option<SimulationOptions>) -> Vec<String> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.chat");
    std::fs::write(&file, text).unwrap();
    let program = Some(PROGRAM.into());
    let options = RunOptions { files: vec![file], program, simulation, jobs: 4, ..RunOptions::default() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    run(&options, &mut out, &mut err);
    assert_eq!(String::from_utf8_lossy(&err), "");
    let said = |line: &str| {
        let words: Vec<&str> = line.split("  ").filter(|words| !words.is_empty()).collect();
        match *words.as_slice() {
            [verdict @ ("PASS" | "FAIL" | "SKIP"), title, ..] => Some(format!("{verdict} {title}")),
            ["cause", cause, ..] => Some(cause.trim().to_owned()),
            _ => None,
        }
    };
    String::from_utf8(out).unwrap().lines().filter_map(said).collect()
}

/// Runs these cases on real processes and simulated. Both must return the expected verdicts.
fn assert_same_verdicts(text: &str, expected: &[&str]) {
    undo_nohup();
    let simulation = SimulationOptions { first: 1, seeds: 1, net: ("perfect", LinkModel::PERFECT) };
    assert_eq!(verdicts(text, Some(simulation)), expected, "simulated");
    assert_eq!(verdicts(text, None), expected, "on processes");
}

#[test]
fn a_paused_actor_reads_its_input_when_it_is_resumed() {
    let text = r#"case "a line"
server
client x y
pause x
x> send y hi
y!< x: hi
resume x
y< x: hi
x< [Message received by y.]
case "the end of its input"
server
client x y
pause x
x> send y hi
eof x
sleep 300ms
x alive
resume x
x exits 0
y< x: hi
case "a word to the server"
server
client x
pause server
server> exit
sleep 300ms
server alive
resume server
server exits 0
case "another word to the server"
server
pause server
server> help
server!< {*}End the server{*}
resume server
server<~ {*}End the server{*}
"#;
    assert_same_verdicts(
        text,
        &["PASS a line", "PASS the end of its input", "PASS a word to the server", "PASS another word to the server"],
    );
}

#[test]
fn a_paused_actor_receives_signals_when_it_is_resumed() {
    let paused = |signal: &str, actor: &str, status: u8| {
        format!(
            "case \"{signal} {actor}\"\nserver\nclient x y\npause {actor}\n{signal} {actor}\nsleep 300ms\n\
             {actor} alive\nresume {actor}\n{actor} exits {status}\n"
        )
    };
    let ends = [("term", "x", 143), ("interrupt", "x", 130), ("hangup", "x", 129)];
    let of_server = [("term", "server", 0), ("interrupt", "server", 0), ("hangup", "server", 129)];
    let text: String =
        ends.iter().chain(&of_server).map(|(signal, actor, status)| paused(signal, actor, *status)).collect();
    let expected: Vec<String> =
        ends.iter().chain(&of_server).map(|(signal, actor, _)| format!("PASS {signal} {actor}")).collect();
    assert_same_verdicts(&text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_paused_actor_is_killed_at_once_and_can_be_restarted() {
    let text = r#"case "killed"
server
client x y
pause x
x> send y hi
kill x
x exits 137
restart x
y!< x: hi
case "a client is restarted"
server
client x y
pause x
restart x
x> send y hi
y< x: hi
case "a server is restarted"
server
client x y
pause server
restart server
x> send_all hi
y< [Channel_Message x: hi]
"#;
    assert_same_verdicts(text, &["PASS killed", "PASS a client is restarted", "PASS a server is restarted"]);
}

#[test]
fn signals_end_a_server_with_the_documented_status() {
    let text: String = [("term", 0), ("interrupt", 0), ("hangup", 129)]
        .map(|(signal, status)| format!("case \"{signal}\"\nserver\n{signal} server\nserver exits {status}\n"))
        .concat();
    assert_same_verdicts(&text, &["PASS term", "PASS interrupt", "PASS hangup"]);
}

#[test]
fn a_line_that_cannot_be_typed_is_reported() {
    let long = format!("set v={}\n{}", "a".repeat(1000), "set v=${v}${v}\n".repeat(6));
    let text = format!(
        "case \"closed\"\nserver\nclient x\npause x\neof x\nx> table\n\
         case \"much\"\nserver\nclient x\npause x\n{long}{most}x alive\nkill x\n\
         case \"too much\"\nserver\nclient x\npause x\n{long}{most}{most}",
        most = "x> ${v}\n".repeat(60),
    );
    assert_same_verdicts(
        &text,
        &[
            "FAIL closed",
            "MISTAKE: x cannot be typed to, its input is closed",
            "PASS much",
            "FAIL too much",
            "MISTAKE: x does not read its input, and more than 4 MiB wait already",
        ],
    );
}
