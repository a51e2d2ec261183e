//! Profiles: with a profile, a scenario also fits a program with another wording, prompt or start command, and each
//! fault of such a program is found.

use std::fs;
use std::path::PathBuf;

use crate::support::{program, root};
use tempfile::TempDir;

/// The profile for the wording of the peer with `--fault other-words`.
const WORDS: &str = r#"
prompt = "chat> "

[wording]
"[Welcome, You are registered.]" = "Welcome!"
"[Message received by {who}.]" = "ACK from {who} <"
"[No ACK from {who}, message sent to server.]" = "{who} is silent, asking the server"
"[Exiting]" = "Good bye"
"{who}: {when} {text}" = "{who} said ({when}): {text}"
"{who}: {text}" = "{who} says {text}"
"#;

fn scenario(name: &str) -> String {
    fs::read_to_string(root().join("scenarios").join(name)).unwrap()
}

/// A folder with a profile and a scenario. Runs are started there.
struct ProfileFolder {
    folder: TempDir,
}

impl ProfileFolder {
    /// `faults` are faults of the peer. Without any, the profile has no command.
    fn new(profile: &str, faults: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let faults: String = faults.iter().map(|fault| format!(" --fault {fault}")).collect();
        let peer = root().join("tests/peers/chatapp.py");
        let command = format!("command = \"python3 {}{faults}\"\n", peer.display());
        let command = if faults.is_empty() { String::new() } else { command };
        fs::write(folder.path().join("class.toml"), command + profile).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a scenario. Returns the report and the status.
    fn run_scenario(&self, options: &[&str], text: &str) -> (String, Option<i32>) {
        fs::write(self.path("a.chat"), text).unwrap();
        program(["run"]).args(options).arg("a.chat").folder(&self.folder).run().combined()
    }

    fn run_with_profile(&self, text: &str) -> (String, Option<i32>) {
        self.run_scenario(&["--profile", "class.toml"], text)
    }
}

#[test]
fn a_program_with_another_wording_passes_only_with_its_profile() {
    let class = ProfileFolder::new(WORDS, &["other-words"]);
    for name in ["test-case-1.chat", "test-case-2.chat"] {
        let (report, status) = class.run_with_profile(&scenario(name));
        assert!(status == Some(0) && report.contains("1 case: 1 passed"), "{report}");
    }
    let bare = ProfileFolder::new("", &["other-words"]);
    let (report, status) = bare.run_with_profile("server\nclient x y\nx> send y hi\nx< [Message received by y.]\n");
    assert_eq!(status, Some(5), "{report}");
    // A program with the wording of the contract still passes.
    let plain = ProfileFolder::new(WORDS, &["none"]);
    let (report, status) = plain.run_with_profile(&scenario("test-case-1.chat"));
    assert!(status == Some(0) && report.contains("1 case: 1 passed"), "{report}");
}

#[test]
fn the_profile_translates_every_kind_of_pattern() {
    let class = ProfileFolder::new(WORDS, &["other-words"]);
    let text = "server\nclient x y\n\
        x< /^\\[Welcome, (?<whom>\\w+) are/\nset text=what is this\nx> send y ${text}\n\
        y<~ {from}: ${text}\nx< [Message {done} by {by}]\nx!< [No ACK from {*}\n\
        x> send ${by} ${from} ${done} ${whom}\ny< x: x received You\n";
    let (report, status) = class.run_with_profile(text);
    assert_eq!(status, Some(5), "a name is taken with its full stop: {report}");
    assert!(report.contains("[Client y. does not exist.]"), "{report}");
    let (report, status) = class.run_with_profile(&text.replace("{by}]", "{by}.]"));
    assert_eq!(status, Some(0), "{report}");
}

#[test]
fn every_fault_is_found_in_another_wording() {
    let two = "server\nclient x y\n";
    let twice = format!("{two}x> send y hi\ny< x: hi\ny!<2s x: hi\n");
    let words = format!("{two}x> send y hi\ny< x: hi\nx< [Message received by y.]\n");
    let leaves = format!("{two}y> dereg y\ny< [You are Offline. Bye.]\ny!< {{*}}\ny alive\n");
    let silent = format!("{two}kill y\nmark\nx> send y hi\nx!<1s [No ACK from {{*}}\n");
    for (fault, text, status, cause) in [
        ("shows-twice", &twice, 4, "DUPLICATE: y showed it again: `x says hi`"),
        ("no-brackets", &words, 5, "WRONG TEXT: x showed something else within 4s"),
        ("exits-on-dereg", &leaves, 4, "EXITED"),
        ("never-mind", &silent, 4, "FORBIDDEN: x showed `y is silent, asking the server`"),
    ] {
        let (report, code) = ProfileFolder::new(WORDS, &["other-words", fault]).run_with_profile(text);
        assert_eq!(code, Some(status), "{fault}: {report}");
        assert!(report.contains(cause), "{fault}: {report}");
        if fault == "no-brackets" {
            // The report shows both lines in the wording of the program, not of the contract.
            assert!(report.contains("expected  ACK from y <\n"), "{report}");
            assert!(report.contains("nearest   Message received by y"), "{report}");
        }
    }
}

#[test]
fn missing_brackets_fail_unless_the_profile_allows_them() {
    let text = "server\nclient x y\nx> send y hi\nx< [Message received by y.]\n";
    let wording = "[wording]\n\"[Message received by {who}.]\" = \"Message received by {who}\"\n";
    for (profile, options, status) in [
        ("", &["--profile", "class.toml"][..], 5),
        ("", &["--profile", "class.toml", "--match", "loose"], 0),
        (wording, &["--profile", "class.toml"], 0),
        (wording, &["--profile", "class.toml", "--match", "loose"], 0),
    ] {
        let (report, code) = ProfileFolder::new(profile, &["no-brackets"]).run_scenario(options, text);
        assert_eq!(code, Some(status), "{profile}{options:?} {report}");
        assert_eq!(status == 5, report.contains("WRONG TEXT"), "{report}");
    }
}

/// A program that prints its folder and an environment variable.
const PRINTS_ENVIRONMENT: &str =
    "command = \"sh -c 'echo it is $COLOUR in ${PWD##*/}; sleep 1000'\"\n[environment]\nCOLOUR = \"blue\"\n";

#[test]
fn options_override_the_profile() {
    let class =
        ProfileFolder::new(&PRINTS_ENVIRONMENT.replace("[env", "folder = \"rooms\"\nready = \"it is {*}\"\n[env"), &[]);
    fs::create_dir(class.path("rooms")).unwrap();
    fs::create_dir(class.path("other")).unwrap();
    let profile = &["--profile", "class.toml"];
    for (options, shown) in [
        (&[][..], "it is blue in rooms"),
        (&["--impl-dir", "other"], "it is blue in other"),
        (&["--impl", "sh -c 'echo it is a $COLOUR day; sleep 1000'"], "it is a blue day"),
    ] {
        let (report, status) = class.run_scenario(&[profile, options].concat(), &format!("client x\nx< {shown}\n"));
        assert_eq!(status, Some(0), "{report}");
    }
    let options = ["--ready", "never", "--time-scale", "0.1", "--capabilities", ""];
    let (report, status) = class.run_scenario(&[&profile[..], &options].concat(), "client x\n");
    assert!(status == Some(5) && report.contains("NOT READY"), "{report}");
    // The replay command has the same options.
    assert!(report.contains(" --profile class.toml --impl-dir rooms --ready never --capabilities '' "), "{report}");
    let needs = "case \"a\" needs=groups\nclient x\ncase \"b\" needs=offline\nclient x\n";
    let class = ProfileFolder::new(&("capabilities = [\"groups\"]\n".to_owned() + PRINTS_ENVIRONMENT), &[]);
    let (report, _) = class.run_scenario(profile, needs);
    assert!(report.contains("PASS  a  ") && report.contains("SKIP  b  "), "{report}");
    let (report, _) = class.run_scenario(&[profile, &["--capabilities", "offline"][..]].concat(), needs);
    assert!(report.contains("SKIP  a  ") && report.contains("PASS  b  "), "{report}");
}

#[test]
fn an_unusable_profile_is_refused() {
    let class = ProfileFolder::new("prompt = \"$ \"\n", &[]);
    for (options, status, said) in [
        (
            &["--profile", "class.toml"][..],
            1,
            "class.toml names no command: add --impl COMMAND, or command to the file.",
        ),
        (&["--profile", "none.toml"], 3, "The file none.toml cannot be read: No such file or directory"),
        (&["--profile", "a.chat"], 2, "--> a.chat:1:"),
        (&["--profile", "class.toml", "--simulate"], 1, "exclude each other"),
        (&["--ready", "a"], 1, "--ready needs the program that it is about: add --impl COMMAND."),
    ] {
        let (report, code) = class.run_scenario(options, "server\n");
        assert!(code == Some(status) && report.contains(said), "{options:?} {report}");
    }
}
