//! Every scenario on the simulated network, with many seeds; and the seeds that once failed.

use assert_cmd::Command;

fn simulate(arguments: &[&str]) -> String {
    let mut files: Vec<String> = std::fs::read_dir("scenarios")
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".chat"))
        .collect();
    files.sort();
    let mut command = Command::cargo_bin("chat").unwrap();
    let output = command.args(["run", "--simulate"]).args(arguments).args(files).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn every_scenario_passes_on_every_net_that_delivers_a_notice_in_three() {
    for net in ["lan", "transatlantic", "wifi-lossy"] {
        simulate(&["--seeds", "10", "--net", net]);
    }
}

#[test]
fn a_run_is_replayed_byte_for_byte() {
    let arguments = ["--verbose", "--seed", "7", "--net", "wifi-lossy"];
    let times = regex::Regex::new(r"; \d+\.\d+ s \(own overhead[^\n]*\n$").unwrap();
    let (first, second) = (simulate(&arguments), simulate(&arguments));
    // The last line tells how long the run really took.
    assert_eq!(times.replace(&first, ""), times.replace(&second, ""));
}

/// A late acknowledgement reached a server before the registration that it belonged to: the client was told that it
/// is not known, and began anew on a link that the server went on with.
#[test]
fn a_client_that_begins_anew_is_welcome() {
    simulate(&["--seed", "43", "--net", "wifi-lossy", "--case", "groups are kept over a restart"]);
}

/// A datagram of the old holder of a name came late and was taken for its answer.
#[test]
fn a_late_datagram_is_no_sign_of_life() {
    simulate(&["--seed", "6", "--net", "wifi-lossy", "--case", "a name whose holder is gone"]);
}
