//! `chat run --bless`: rewrites expectations that failed by their text, and nothing else.

use std::path::Path;

use crate::support::program;

const BEFORE: &str = "# A comment with x< x: hello\n\
server\n\
client x y\n\
case \"several checks\"\n\
check \"first\"\n\
x> send y hello\n\
y<5s x: hallo  \r\n\
check \"second\"\n\
x< [Message {what} by y!]\n\
check \"third\"\n\
x,y< [Client tables updated.]\n\
check \"fourth\"\n\
y< /x: hallo/\n\
case \"one more\"\n\
set who=y\n\
x> dereg x\n\
x< [You are Off line. Bye.]\n";

/// The file after the run. Lines with a list of actors or a regular expression stay unchanged.
const AFTER: &str = "# A comment with x< x: hello\n\
server\n\
client x y\n\
case \"several checks\"\n\
check \"first\"\n\
x> send y hello\n\
y<5s x: hello  \r\n\
check \"second\"\n\
x< [Message {what} by y.]\n\
check \"third\"\n\
x,y< [Client tables updated.]\n\
check \"fourth\"\n\
y< /x: hallo/\n\
case \"one more\"\n\
set who=y\n\
x> dereg x\n\
x< [You are Offline. Bye.]\n";

fn bless(folder: &Path, ci: &str) -> (String, Option<i32>) {
    // The limits are short: all expected lines arrive at once.
    let run = program(["run", "a.chat", "--bless", "--time-scale", "0.25"]).folder(folder).env("CI", ci).run();
    (run.stderr, run.status)
}

#[test]
fn texts_are_replaced_by_the_output_and_wildcards_stay() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.chat");
    std::fs::write(&file, BEFORE).unwrap();
    let (said, status) = bless(folder.path(), "");
    let expected = "a.chat:7: `x: hallo` is now `x: hello`\n\
                    a.chat:9: `[Message {what} by y!]` is now `[Message {what} by y.]`\n\
                    a.chat:17: `[You are Off line. Bye.]` is now `[You are Offline. Bye.]`\n";
    // This run still fails. Only another run shows whether the new text passes.
    assert_eq!((said.as_str(), status), (expected, Some(5)));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), AFTER);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_passing_file_stays_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.chat");
    std::fs::write(&file, "server\nclient x\nx> dereg x\nx< [You are {*}. Bye.]\n").unwrap();
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(bless(folder.path(), ""), (String::new(), Some(0)));
    assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), before);
}

#[test]
fn bless_is_refused_in_ci() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.chat"), BEFORE).unwrap();
    let sentence = "--bless is refused where CI is set: a person has to look at what it rewrites.\n".to_owned();
    assert_eq!(bless(folder.path(), "true"), (sentence, Some(1)));
    assert_eq!(std::fs::read_to_string(folder.path().join("a.chat")).unwrap(), BEFORE);
}
