//! Tests the structure of the source: imports point down, the core imports no effects, one file prints, types have
//! different names, the top level is fixed. Clippy checks rules about single types and functions: `.ci/clippy.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use regex::Regex;

use crate::support::root;

/// The modules that each folder of `src` may import besides itself. `lib.rs` and `main.rs` may import all.
const ALLOWED_IMPORTS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("netem", &["proto"]),
    ("script", &["proto"]),
    ("io", &["netem", "proto"]),
    ("sim", &["netem", "proto"]),
    ("runner", &["script", "sim", "io", "netem", "proto"]),
    ("cli", &["runner", "script", "io", "netem", "proto"]),
    ("ui", &["cli", "runner", "script", "io", "netem", "proto"]),
];

/// Folders without effects. Each denies clippy's disallowed types and methods.
const PURE: &[&str] = &["proto", "netem", "script", "sim"];

/// Modules and crates with effects, because clippy can only ban types and functions. `std::{` could hide a module.
const EFFECTS: &[&str] = &[
    "std::fs",
    "std::io",
    "std::env",
    "std::thread",
    "std::os",
    "std::{",
    "rusqlite",
    "mio",
    "nix",
    "getrandom",
    "signal_hook",
    "socket2",
    "rustyline",
    "tempfile",
];

/// The only file that prints. Clippy finds printing macros, unless an `allow` hides them.
const PRINTER: &str = "ui/printer.rs";
const PRINTING: &[&str] = &["io::stdout()", "io::stderr()", "clippy::print_stdout", "clippy::print_stderr"];

const TOP_LEVEL: &[&str] =
    &[".ci", ".gitignore", "Cargo.lock", "Cargo.toml", "LICENSE", "Makefile", "README.md", "scenarios", "src", "tests"];

/// The text of every source file below a folder of the repository, by its path from that folder.
fn files(folder: &str) -> BTreeMap<String, String> {
    let (base, mut found, mut folders) = (root().join(folder), BTreeMap::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&base).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn sources() -> BTreeMap<String, String> {
    files("src")
}

/// The lines of code with their numbers, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.starts_with("//"))
}

/// The top-level modules that a line names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, found)| word(&line[at + found.len()..]))
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
}

/// Every import that is not allowed, as `FILE:LINE: message`.
fn wrong_imports(sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in sources {
        let Some((own, _)) = file.split_once('/') else { continue };
        let allowed = ALLOWED_IMPORTS.iter().find(|(module, _)| *module == own).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            wrong.push(format!("{file}: no such folder is planned"));
            continue;
        };
        for (at, line) in code(text) {
            for target in named(line).filter(|to| *to != own && !allowed.contains(to)) {
                wrong.push(format!("{file}:{at}: {own} may not import `{target}`"));
            }
        }
    }
    wrong
}

/// Every line of the wanted files that contains one of these words, as `FILE:LINE: word`. A word must start at a word
/// boundary.
fn lines_with(sources: &BTreeMap<String, String>, words: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<String> {
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
fn imports_point_down() {
    assert_eq!(wrong_imports(&sources()), Vec::<String>::new());
}

#[test]
fn an_import_that_points_up_is_found() {
    let text = [
        "use crate::io::socket::Socket;",
        "    let x = crate::ui::printer::answer();",
        "use crate::{io::clock::Clock};",
        "// crate::io is not used here",
        "use crate::proto::name::Name;",
    ];
    let sources = BTreeMap::from([("proto/name.rs".to_owned(), text.join("\n"))]);
    let found = ["1: proto may not import `io`", "2: proto may not import `ui`"];
    let mut expected: Vec<String> = found.iter().map(|line| format!("proto/name.rs:{line}")).collect();
    expected.push("proto/name.rs:3: proto may not import ``".to_owned());
    assert_eq!(wrong_imports(&sources), expected);
    let elsewhere = BTreeMap::from([("util/x.rs".to_owned(), String::new())]);
    assert_eq!(wrong_imports(&elsewhere), ["util/x.rs: no such folder is planned"]);
}

#[test]
fn the_core_has_no_effects() {
    let is_pure = |file: &str| PURE.iter().any(|part| file.split('/').next() == Some(part));
    assert_eq!(lines_with(&sources(), EFFECTS, is_pure), Vec::<String>::new());
    for part in PURE {
        let text = &sources()[&format!("{part}/mod.rs")];
        assert!(text.contains("#![deny(clippy::disallowed_methods, clippy::disallowed_types)]"), "{part}");
    }
}

#[test]
fn one_file_prints() {
    // Asking whether the output is a terminal prints nothing.
    let sources = sources().into_iter().map(|(file, text)| (file, text.replace("io::stdout().is_terminal()", "")));
    let sources = sources.collect();
    assert_eq!(lines_with(&sources, PRINTING, |file| file != PRINTER), Vec::<String>::new());
    assert_ne!(lines_with(&sources, PRINTING, |file| file == PRINTER), Vec::<String>::new(), "the words find nothing");
}

#[test]
fn every_file_begins_with_its_responsibility() {
    for folder in ["src", "tests"] {
        let bare = |(file, text): (String, String)| (!text.starts_with("//! ")).then_some(file);
        assert_eq!(files(folder).into_iter().filter_map(bare).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[test]
fn imports_begin_at_the_crate() {
    // A test module may import everything from its parent.
    let climbs = Regex::new(r"super::super|\buse super::[^*]").unwrap();
    for folder in ["src", "tests"] {
        let files = files(folder);
        let lines = files.iter().filter(|(file, _)| *file != "repository/house.rs").flat_map(|(file, text)| {
            let wrong = code(text).filter(|(_, line)| climbs.is_match(line));
            wrong.map(move |(at, line)| format!("{folder}/{file}:{at}: {line}"))
        });
        assert_eq!(lines.collect::<Vec<_>>(), Vec::<String>::new());
    }
}

/// The names of the types of a file. Skips associated types, which are indented, and test modules, which may reuse
/// names.
fn types(text: &str) -> Vec<&str> {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let definition = Regex::new(r"(?m)^(?:pub(?:\([a-z]+\))? )?(?:struct|enum|union|trait|type) (\w+)").unwrap();
    definition.captures_iter(text).map(|found| found.extract::<1>().1[0]).collect()
}

#[test]
fn no_two_types_share_a_name() {
    let sources = sources();
    let mut homes = BTreeMap::<&str, Vec<&str>>::new();
    for (file, text) in sources.iter().filter(|(file, _)| !file.ends_with("tests.rs")) {
        types(text).into_iter().for_each(|name| homes.entry(name).or_default().push(file));
    }
    assert!(homes.len() > 100, "only {} types were found", homes.len());
    homes.retain(|_, files| files.len() > 1);
    assert_eq!(homes, BTreeMap::new());
}

#[test]
fn the_map_of_the_source_names_each_folder() {
    let map = fs::read_to_string(root().join("src/README.md")).unwrap();
    let row = Regex::new(r"(?m)^\| `([a-z]+)/` \|").unwrap();
    let named: BTreeSet<String> = row.captures_iter(&map).map(|found| found[1].to_owned()).collect();
    let entries = fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    let folders: BTreeSet<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(named, folders);
    let planned: BTreeSet<String> = ALLOWED_IMPORTS.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(planned, folders);
}

#[test]
fn the_top_level_has_only_the_planned_entries() {
    let listed = Command::new("git").args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(root()).output();
    let tracked: BTreeSet<String> = match listed {
        Ok(listed) if listed.status.success() && !listed.stdout.is_empty() => {
            let names = String::from_utf8(listed.stdout).unwrap();
            let tops = names.split_terminator('\0').map(|name| name.split('/').next().unwrap_or(name).to_owned());
            tops.collect()
        }
        // Without git, such as in an unpacked archive, all files except build output count.
        _ => {
            let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !["target", ".git"].contains(&name.as_str())).collect()
        }
    };
    let expected: BTreeSet<String> = TOP_LEVEL.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(tracked, expected);
}
