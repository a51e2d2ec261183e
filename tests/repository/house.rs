//! The house stands as it was planned: imports point one way, the core is pure, one file prints, the top level is small.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::root;

/// Who may import from whom, beside itself. `lib.rs` and `main.rs` are the top.
const ARROWS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("netem", &["proto"]),
    ("script", &["proto"]),
    ("io", &["netem", "proto"]),
    ("sim", &["netem", "proto"]),
    ("runner", &["script", "sim", "io", "netem", "proto"]),
    ("cli", &["runner", "script", "io", "netem", "proto"]),
    ("ui", &["cli", "runner", "script", "io", "netem", "proto"]),
];

/// What would make a run of the core depend on anything but its inputs.
const IMPURE: &[&str] = &[
    "std::net::UdpSocket",
    "std::net::Tcp",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "println!",
    "print!",
    "dbg!",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process::Command",
    "std::process::exit",
    "std::io",
    "HashMap",
    "HashSet",
    "getrandom",
    "rusqlite",
    "mio::",
    "nix::",
];

/// The parts of the house that touch nothing.
const PURE: &[&str] = &["proto/", "netem/", "script/", "sim/"];

/// The only file that prints, and what printing looks like.
const PRINTER: &str = "ui/printer.rs";
const PRINTING: &[&str] = &["println!", "print!", "eprintln!", "eprint!", "dbg!", "io::stdout()", "io::stderr()"];

const TOP_LEVEL: &[&str] =
    &[".ci", ".gitignore", "Cargo.lock", "Cargo.toml", "LICENSE", "Makefile", "README.md", "scenarios", "src", "tests"];

/// Every source file below `src`: its path from there, and its text.
fn sources() -> BTreeMap<String, String> {
    let (src, mut found, mut folders) = (root().join("src"), BTreeMap::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The lines of code with their numbers: no comments, not the words of documentation.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.starts_with("//"))
}

/// The modules of the top that a line names, by `crate::` or by climbing with `super::` from a module that deep.
fn named(line: &str, depth: usize) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        found.push(word(&line[at + "crate::".len()..]));
    }
    let climb = "super::".repeat(depth);
    for (at, _) in line.match_indices(&climb) {
        let target = word(line[at..].trim_start_matches("super::"));
        found.extend(ARROWS.iter().map(|(module, _)| *module).find(|module| *module == target));
    }
    found
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
}

/// Every arrow that points up, as `FILE:LINE: module`.
fn wrong_arrows(sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in sources {
        let Some((own, _)) = file.split_once('/') else { continue };
        let allowed = ARROWS.iter().find(|(module, _)| *module == own).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            wrong.push(format!("{file}: no such part of the house is planned"));
            continue;
        };
        let depth = file.trim_end_matches("/mod.rs").split('/').count();
        for (at, line) in code(text) {
            for target in named(line, depth).into_iter().filter(|to| *to != own && !allowed.contains(to)) {
                wrong.push(format!("{file}:{at}: {own} may not import `{target}`"));
            }
        }
    }
    wrong
}

/// Every line of these files that holds one of these words, as `FILE:LINE: word`. Words begin where words begin.
fn holding(sources: &BTreeMap<String, String>, words: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources.iter().filter(|(file, _)| wanted(file)) {
        for (at, line) in code(text) {
            let begins = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let holds = |word: &&&str| line.match_indices(**word).any(|(at, _)| begins(at));
            found.extend(words.iter().filter(holds).map(|word| format!("{file}:{at}: {word}")));
        }
    }
    found
}

#[test]
fn imports_point_one_way() {
    assert_eq!(wrong_arrows(&sources()), Vec::<String>::new());
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let text = [
        "use crate::io::socket::Socket;",
        "    let x = crate::ui::printer::answer();",
        "use super::super::sim::world::World;",
        "use crate::{io::clock::Clock};",
        "// crate::io is not used here",
        "use crate::proto::name::Name; use super::io;",
    ];
    let sources = BTreeMap::from([("proto/name.rs".to_owned(), text.join("\n"))]);
    let found = ["1: proto may not import `io`", "2: proto may not import `ui`", "3: proto may not import `sim`"];
    let mut expected: Vec<String> = found.iter().map(|line| format!("proto/name.rs:{line}")).collect();
    expected.push("proto/name.rs:4: proto may not import ``".to_owned());
    assert_eq!(wrong_arrows(&sources), expected);
    let elsewhere = BTreeMap::from([("util/x.rs".to_owned(), String::new())]);
    assert_eq!(wrong_arrows(&elsewhere), ["util/x.rs: no such part of the house is planned"]);
}

#[test]
fn the_core_is_pure() {
    assert_eq!(
        holding(&sources(), IMPURE, |file| PURE.iter().any(|part| file.starts_with(part))),
        Vec::<String>::new()
    );
}

#[test]
fn one_file_prints() {
    // To ask whether it is a terminal is no printing.
    let sources = sources().into_iter().map(|(file, text)| (file, text.replace("io::stdout().is_terminal()", "")));
    let sources = sources.collect();
    assert_eq!(holding(&sources, PRINTING, |file| file != PRINTER), Vec::<String>::new());
    assert_ne!(holding(&sources, PRINTING, |file| file == PRINTER), Vec::<String>::new(), "the words find nothing");
}

#[test]
fn every_file_begins_with_what_it_promises() {
    let bare = |(file, text): (String, String)| (!text.starts_with("//! ")).then_some(file);
    assert_eq!(sources().into_iter().filter_map(bare).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn nothing_else_stands_at_the_top() {
    let listed = Command::new("git").args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(root()).output();
    let tracked: BTreeSet<String> = match listed {
        Ok(listed) if listed.status.success() && !listed.stdout.is_empty() => {
            let names = String::from_utf8(listed.stdout).unwrap();
            let tops = names.split_terminator('\0').map(|name| name.split('/').next().unwrap_or(name).to_owned());
            tops.collect()
        }
        // Not a clone, but an unpacked archive: what stands there is what there is, beside what was built.
        _ => {
            let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !["target", ".git"].contains(&name.as_str())).collect()
        }
    };
    let expected: BTreeSet<String> = TOP_LEVEL.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(tracked.difference(&expected).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(tracked.contains("Cargo.toml") && tracked.contains("src"), "{tracked:?}");
}
