//! The launcher: a small shell that waits for the command which makes this program a server or a client.

use std::io::{BufRead, BufReader, stdin};

use crate::cli::{self, EarlyExit, Role};
use crate::io::input::{InputLine, read_line};
use crate::io::terminal;
use crate::proto::status::Status;
use crate::ui::editor::{LineEditor, Typed};
use crate::ui::line_source::LineSource;
use crate::ui::printer::{answer, print_error};

const PROMPT: &str = "$ ";

const HELP: &str = "\
ChatApp -s PORT                                       start the server
ChatApp -c NAME SERVER-IP SERVER-PORT CLIENT-PORT     start a client
ChatApp --help                                        show all options
help                                                  show these lines
exit                                                  leave
Ports are 1024 to 65535, or 0 for a free one. Instead of ChatApp, chat or nothing at all will do.
";

/// What came of the launcher.
pub enum LauncherResult {
    /// This is to be started, with the lines that follow.
    Start(Role, LineSource),
    /// Nothing is.
    End(Status),
}

/// What a line asks for.
enum Asked {
    Nothing,
    Help,
    Exit,
    Start(Role),
    Answer(EarlyExit),
}

/// Reads lines until one of them starts something, or until they end.
pub fn run() -> LauncherResult {
    if terminal::can_edit()
        && let Ok(editor) = LineEditor::new("launcher-history")
    {
        return edited(editor);
    }
    unedited(BufReader::new(stdin()), terminal::is_input())
}

fn edited(mut editor: LineEditor) -> LauncherResult {
    loop {
        let line = match editor.read(PROMPT) {
            Typed::Line(line) => line,
            Typed::Interrupt => return LauncherResult::End(Status::Signal(2)),
            Typed::Hangup => return LauncherResult::End(Status::Signal(1)),
            Typed::End | Typed::Background => return LauncherResult::End(Status::Ok),
        };
        match asked(&line) {
            Asked::Start(role) => return LauncherResult::Start(role, LineSource::Editor(Box::new(editor))),
            Asked::Exit => return LauncherResult::End(Status::Ok),
            other => _ = respond(other),
        }
    }
}

/// Without an editor: no prompt, and a mistake is remembered in the exit status.
fn unedited(mut lines: impl BufRead + Send + 'static, is_typed: bool) -> LauncherResult {
    let mut status = Status::Ok;
    while let Some(line) = read_line(&mut lines) {
        let line = match line {
            InputLine::Whole(line) => String::from_utf8_lossy(&line).into_owned(),
            InputLine::Long { .. } => "a line of more than 64 KiB".to_owned(),
            InputLine::Broken(kind) => {
                print_error(&format!("The input could not be read: {kind}."));
                status = status.or(Status::Environment);
                break;
            }
            InputLine::End => break,
        };
        match asked(&line) {
            Asked::Start(role) => {
                return LauncherResult::Start(role, LineSource::Lines { reader: Box::new(lines), is_typed });
            }
            Asked::Exit => break,
            other => status = status.or(respond(other)),
        }
    }
    LauncherResult::End(status)
}

fn asked(line: &str) -> Asked {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Asked::Nothing;
    }
    let Some(mut words) = shlex::split(line) else {
        return Asked::Answer(EarlyExit::Wrong("A quote in this line is not closed.".to_owned()));
    };
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["help"] => return Asked::Help,
        ["exit"] => return Asked::Exit,
        ["ChatApp" | "chat"] => return Asked::Help,
        ["ChatApp" | "chat", ..] => {}
        [first, ..] if first.starts_with('-') => words.insert(0, "chat".to_owned()),
        [first, ..] => {
            return Asked::Answer(EarlyExit::Wrong(format!(
                "There is no command {first:?} here; type ChatApp -s PORT, ChatApp -c NAME SERVER-IP SERVER-PORT \
                 CLIENT-PORT, help or exit."
            )));
        }
        [] => return Asked::Nothing,
    }
    match cli::parse(words) {
        Ok(Role::Launcher) => Asked::Help,
        Ok(role) => Asked::Start(role),
        Err(answer) => Asked::Answer(answer),
    }
}

fn respond(asked: Asked) -> Status {
    match asked {
        Asked::Help => answer(HELP),
        Asked::Answer(EarlyExit::Text(text)) => answer(&text),
        Asked::Answer(EarlyExit::Wrong(sentence)) => {
            print_error(&sentence);
            return Status::Usage;
        }
        Asked::Answer(EarlyExit::Refused(status, text)) => {
            print_error(&text);
            return status;
        }
        Asked::Nothing | Asked::Exit | Asked::Start(_) => {}
    }
    Status::Ok
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(line: &str) -> bool {
        matches!(asked(line), Asked::Start(_))
    }

    #[test]
    fn a_role_may_be_asked_for_in_every_usual_way() {
        for line in
            ["ChatApp -s 8888", "chat -s 8888", " -s 8888 ", "-c x 127.0.0.1 8888 9999", "ChatApp -c x ::1 8888 0"]
        {
            assert!(starts(line), "{line}");
        }
        assert!(matches!(asked("ChatApp"), Asked::Help));
        assert!(matches!(asked("  "), Asked::Nothing));
        assert!(matches!(asked("exit"), Asked::Exit));
    }

    #[test]
    fn everything_else_is_answered_in_one_sentence() {
        for line in ["ls", "ChatApp -s", "ChatApp -s 80", "chat -c x", "-s '8888", "ChatApp -x", "exit now"] {
            let Asked::Answer(EarlyExit::Wrong(sentence)) = asked(line) else { panic!("{line} was no mistake") };
            assert!(sentence.ends_with(['.', '?']) && !sentence.contains('\n'), "{line}: {sentence}");
        }
    }

    #[test]
    fn the_rest_of_a_pipe_belongs_to_what_was_started() {
        let input = "\n# first\nChatApp -c x 127.0.0.1 8888 9999\nsend y hi\nexit\n";
        let LauncherResult::Start(Role::Client(options), source) = unedited(BufReader::new(input.as_bytes()), false)
        else {
            panic!("nothing was started");
        };
        assert_eq!((options.name.as_str(), options.port), ("x", 9999));
        assert!(!source.is_typed());
        let mut rest = String::new();
        source.into_reader().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "send y hi\nexit\n");
    }
}
