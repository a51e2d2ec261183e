//! The launcher: a small shell whose commands start a server or a client in this process.

use std::io::{BufRead, BufReader, stdin};

use crate::cli::{self, EarlyExit, Role};
use crate::io::input::{InputLine, read_line};
use crate::io::terminal;
use crate::proto::event::sentences::Sentence;
use crate::proto::status::Status;
use crate::ui::editor::{LineEditor, Typed};
use crate::ui::line_source::LineSource;
use crate::ui::printer::{print_error, print_text};

const PROMPT: &str = "$ ";

const HELP: &str = "\
ChatApp -s PORT                                       start the server
ChatApp -c NAME SERVER-IP SERVER-PORT CLIENT-PORT     start a client
ChatApp --help                                        show all options
help                                                  show these lines
exit                                                  leave
Ports are 1024 to 65535, or 0 for a free one. Instead of ChatApp, chat or nothing at all will do.
";

/// Result of the launcher.
pub enum LauncherResult {
    /// Start this role with the following lines as its input.
    Start(Role, LineSource),
    /// End with this status.
    End(Status),
}

/// A parsed line.
enum LauncherCommand {
    Nothing,
    Help,
    Exit,
    Start(Role),
    Answer(EarlyExit),
}

/// Reads lines until one of them starts a role, or until they end.
pub fn run() -> LauncherResult {
    if terminal::can_edit()
        && let Ok(editor) = LineEditor::new("launcher-history")
    {
        return run_with_editor(editor);
    }
    run_without_editor(BufReader::new(stdin()), terminal::is_input())
}

fn run_with_editor(mut editor: LineEditor) -> LauncherResult {
    loop {
        let line = match editor.read(PROMPT) {
            Typed::Line(line) => line,
            Typed::Interrupt => return LauncherResult::End(Status::Signal(2)),
            Typed::Hangup => return LauncherResult::End(Status::Signal(1)),
            Typed::End | Typed::Background => return LauncherResult::End(Status::Ok),
        };
        match parse(&line) {
            LauncherCommand::Start(role) => return LauncherResult::Start(role, LineSource::Editor(Box::new(editor))),
            LauncherCommand::Exit => return LauncherResult::End(Status::Ok),
            other => _ = respond(other),
        }
    }
}

/// Reads lines without a prompt. The first mistake decides the exit status.
fn run_without_editor(mut lines: impl BufRead + Send + 'static, is_typed: bool) -> LauncherResult {
    let mut status = Status::Ok;
    while let Some(line) = read_line(&mut lines) {
        let line = match line {
            InputLine::Whole(line) => String::from_utf8_lossy(&line).into_owned(),
            InputLine::Long { .. } => "a line of more than 64 KiB".to_owned(),
            InputLine::Broken(kind) => {
                print_error(&Sentence::InputUnreadable { reason: &kind }.to_string());
                status = status.or(Status::Environment);
                break;
            }
            InputLine::End => break,
        };
        match parse(&line) {
            LauncherCommand::Start(role) => {
                return LauncherResult::Start(role, LineSource::Lines { reader: Box::new(lines), is_typed });
            }
            LauncherCommand::Exit => break,
            other => status = status.or(respond(other)),
        }
    }
    LauncherResult::End(status)
}

fn parse(line: &str) -> LauncherCommand {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return LauncherCommand::Nothing;
    }
    let Some(mut words) = shlex::split(line) else {
        return LauncherCommand::Answer(EarlyExit::Wrong("A quote in this line is not closed.".to_owned()));
    };
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["help"] => return LauncherCommand::Help,
        ["exit"] => return LauncherCommand::Exit,
        ["ChatApp" | "chat"] => return LauncherCommand::Help,
        ["ChatApp" | "chat", ..] => {}
        [first, ..] if first.starts_with('-') => words.insert(0, "chat".to_owned()),
        [first, ..] => {
            return LauncherCommand::Answer(EarlyExit::Wrong(format!(
                "There is no command {first:?} here; type ChatApp -s PORT, ChatApp -c NAME SERVER-IP SERVER-PORT \
                 CLIENT-PORT, help or exit."
            )));
        }
        [] => return LauncherCommand::Nothing,
    }
    match cli::parse(words) {
        Ok(Role::Launcher) => LauncherCommand::Help,
        Ok(role) => LauncherCommand::Start(role),
        Err(answer) => LauncherCommand::Answer(answer),
    }
}

fn respond(command: LauncherCommand) -> Status {
    match command {
        LauncherCommand::Help => print_text(HELP),
        LauncherCommand::Answer(EarlyExit::Text(text)) => print_text(&text),
        LauncherCommand::Answer(EarlyExit::Wrong(sentence)) => {
            print_error(&sentence);
            return Status::Usage;
        }
        LauncherCommand::Answer(EarlyExit::Refused(status, text)) => {
            print_error(&text);
            return status;
        }
        LauncherCommand::Nothing | LauncherCommand::Exit | LauncherCommand::Start(_) => {}
    }
    Status::Ok
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(line: &str) -> bool {
        matches!(parse(line), LauncherCommand::Start(_))
    }

    #[test]
    fn every_usual_spelling_starts_a_role() {
        for line in
            ["ChatApp -s 8888", "chat -s 8888", " -s 8888 ", "-c x 127.0.0.1 8888 9999", "ChatApp -c x ::1 8888 0"]
        {
            assert!(starts(line), "{line}");
        }
        assert!(matches!(parse("ChatApp"), LauncherCommand::Help));
        assert!(matches!(parse("  "), LauncherCommand::Nothing));
        assert!(matches!(parse("exit"), LauncherCommand::Exit));
    }

    #[test]
    fn every_wrong_line_is_answered_with_one_sentence() {
        for line in ["ls", "ChatApp -s", "ChatApp -s 80", "chat -c x", "-s '8888", "ChatApp -x", "exit now"] {
            let LauncherCommand::Answer(EarlyExit::Wrong(sentence)) = parse(line) else {
                panic!("{line} was no mistake")
            };
            assert!(sentence.ends_with(['.', '?']) && !sentence.contains('\n'), "{line}: {sentence}");
        }
    }

    #[test]
    fn the_rest_of_a_pipe_is_the_input_of_the_started_role() {
        let input = "\n# first\nChatApp -c x 127.0.0.1 8888 9999\nsend y hi\nexit\n";
        let LauncherResult::Start(Role::Client(options), source) =
            run_without_editor(BufReader::new(input.as_bytes()), false)
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
