//! A pseudo-terminal for a program that shows nothing, or not in time, where its output is none.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{
    InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices as Key, tcgetattr, tcsetattr,
};

use crate::io::clock::Clock;
use crate::proto::time::Instant;
use crate::runner::backend::ActorOutput;
use crate::runner::backend::process::interleaved::InterleavedSplitter;
use crate::runner::backend::process::line_reader::Splitter;
use crate::runner::backend::process::tee::Tee;
use crate::runner::profile::Translator;
use crate::script::pattern::normalize::normal;

/// The longest line that a terminal hands to a program, its end included (`N_TTY_BUF_SIZE` of Linux).
pub(crate) const MAX_TYPED: usize = 4095;
/// What is typed to end the input, at the beginning of a line.
pub(crate) const END_OF_INPUT: u8 = 4;
/// A line without its end counts as a line after so much silence.
const SILENCE: u16 = 100;
/// How often a thread looks whether its program is gone while something else holds the terminal.
const LOOK: u16 = 500;

/// Makes a terminal: our end, and that of the program. Nothing is echoed or translated; no byte but the end of input
/// has a meaning of its own.
///
/// # Errors
/// When the system has none.
pub(crate) fn open() -> io::Result<(File, OwnedFd)> {
    let pair = openpty(None, None)?;
    for end in [&pair.master, &pair.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    // Whoever reads or writes must notice when the program is gone.
    fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut modes = tcgetattr(&pair.slave)?;
    modes.local_flags = LocalFlags::ICANON;
    modes.output_flags.remove(OutputFlags::OPOST);
    modes.input_flags = InputFlags::empty();
    for key in [Key::VERASE, Key::VKILL, Key::VEOL] {
        modes.control_chars[key as usize] = 0;
    }
    modes.control_chars[Key::VEOF as usize] = END_OF_INPUT;
    tcsetattr(&pair.slave, SetArg::TCSANOW, &modes)?;
    Ok((File::from(pair.master), pair.slave))
}

/// What its threads know of a program at a terminal. Copies are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    shared: Arc<PtyState>,
}

#[derive(Debug, Default)]
struct PtyState {
    gone: AtomicBool,
    heard: Mutex<Option<Instant>>,
    typed: Mutex<VecDeque<String>>,
    /// Its prompt may stand before an echo.
    translator: Translator,
}

impl Watched {
    /// How many of the lines that were typed last may come back as an echo.
    const MAX_ECHOES: usize = 64;

    /// Of a program that speaks like this.
    pub(crate) fn new(translator: Translator) -> Self {
        Self { shared: Arc::new(PtyState { translator, ..PtyState::default() }) }
    }

    /// When it last wrote anything.
    pub(crate) fn heard(&self) -> Option<Instant> {
        *self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing is read or written for it.
    pub(crate) fn leave(&self) {
        self.shared.gone.store(true, Ordering::SeqCst);
    }

    /// Something was typed, and a program that edits lines itself may echo it.
    pub(crate) fn typed(&self, line: &str) {
        let Some(line) = normal(line) else { return };
        let mut typed = self.shared.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if typed.len() >= Self::MAX_ECHOES {
            typed.pop_front();
        }
        typed.push_back(line);
    }

    /// Whether a line is nothing but an echo. A whole one is expected no more then, nor what was typed before it.
    fn is_echo(&self, line: &str, whole: bool) -> bool {
        let Some(line) = normal(&self.shared.translator.unprompted(line)) else { return false };
        let mut typed = self.shared.typed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = typed.iter().position(|typed| *typed == line) else { return false };
        if whole {
            typed.drain(..=at);
        }
        true
    }

    /// Tells of a whole line that is no echo. Says whether anybody still listens.
    fn pass_on(&self, line: String, at: Instant, tell: &mut dyn FnMut(Instant, ActorOutput) -> bool) -> bool {
        self.is_echo(&line, true) || tell(at, ActorOutput::Line(line))
    }

    fn is_gone(&self) -> bool {
        self.shared.gone.load(Ordering::SeqCst)
    }
}

/// Reads until the program has closed its terminal or is gone; `copy` takes every byte. `tell` says whether anybody still listens.
///
/// # Errors
/// Which limit was passed, to be said behind the actor's name; nothing more is read then.
pub(crate) fn read(
    terminal: &File,
    copy: Option<File>,
    watched: &Watched,
    clock: Clock,
    tell: &mut dyn FnMut(Instant, ActorOutput) -> bool,
) -> Result<(), String> {
    let mut chunk = vec![0; 64 * 1024];
    let mut lines = Splitter::default();
    let mut splitter = InterleavedSplitter::default();
    let mut tee = Tee::new(terminal, copy);
    // How much of the line without its end was told already.
    let mut told = 0;
    let mut at = clock.now().mono;
    loop {
        let waits_for_more = lines.rest().len() > told;
        let soon = waits_for_more || splitter.is_waiting();
        if !ready(terminal, PollFlags::POLLIN, if soon { SILENCE } else { LOOK }) {
            if !splitter.give_up(&mut |line| watched.pass_on(line, at, tell)) {
                return Ok(());
            }
            if waits_for_more {
                told = lines.rest().len();
                let text = text(lines.rest());
                if !watched.is_echo(&text, false) && !tell(at, ActorOutput::Partial(text)) {
                    return Ok(());
                }
            } else if watched.is_gone() {
                break;
            }
            continue;
        }
        let read = match tee.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => continue,
            // How Linux says that nobody holds the other end any more.
            Err(_) => break,
        };
        at = clock.now().mono;
        *watched.shared.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        let mut tell_line = |line: &[u8]| {
            told = 0;
            splitter.line(&text(line), &mut |line| watched.pass_on(line, at, tell))
        };
        if !lines.feed(chunk.get(..read).unwrap_or_default(), &mut tell_line)? {
            return Ok(());
        }
    }
    let rest = text(lines.rest());
    if splitter.give_up(&mut |line| watched.pass_on(line, at, tell)) && !rest.is_empty() {
        watched.pass_on(rest, at, tell);
    }
    Ok(())
}

/// Types lines until nobody sends any more or the program is gone.
pub(crate) fn write(mut terminal: File, watched: &Watched, lines: &Receiver<Vec<u8>>, unread: &AtomicUsize) {
    for line in lines {
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            match terminal.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if watched.is_gone() {
                        return;
                    }
                    ready(&terminal, PollFlags::POLLOUT, LOOK);
                }
                Err(_) => return,
            }
        }
        unread.fetch_sub(line.len(), Ordering::SeqCst);
    }
}

/// Whether a terminal can be read or written within so many milliseconds.
fn ready(terminal: &File, what: PollFlags, limit: u16) -> bool {
    match poll(&mut [PollFd::new(terminal.as_fd(), what)], PollTimeout::from(limit)) {
        Ok(count) => count > 0,
        Err(_) => {
            // Interrupted; anything else must not become a busy loop.
            std::thread::sleep(Duration::from_millis(1));
            false
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a program that writes this, is silent when asked to, and goes.
    fn told(writes: &[&str], watched: &Watched) -> Vec<ActorOutput> {
        let (ours, theirs) = open().unwrap();
        let mut theirs = File::from(theirs);
        let (wrote, writes_on) = std::sync::mpsc::channel::<()>();
        let pieces: Vec<String> = writes.iter().map(ToString::to_string).collect();
        let program = std::thread::spawn(move || {
            for piece in pieces {
                theirs.write_all(piece.as_bytes()).unwrap();
                if !piece.ends_with('\n') && writes_on.recv().is_err() {
                    return;
                }
            }
        });
        let mut outputs = Vec::new();
        read(&ours, None, watched, Clock::start(), &mut |_, output| {
            if matches!(output, ActorOutput::Partial(_)) {
                let _ = wrote.send(());
            }
            outputs.push(output);
            true
        })
        .unwrap();
        program.join().unwrap();
        outputs
    }

    #[test]
    fn a_line_without_its_end_is_told_after_a_silence_and_again_when_it_is_whole() {
        let (line, partial) =
            (|text: &str| ActorOutput::Line(text.to_owned()), |text: &str| ActorOutput::Partial(text.to_owned()));
        let expected = [line("one"), partial(">>> tw"), line(">>> two"), partial(">>> ")];
        let outputs = told(&["one\n", ">>> tw", "o\n", ">>> "], &Watched::default());
        assert_eq!(outputs[..4], expected);
    }

    #[test]
    fn an_echo_is_told_once_less_than_it_comes() {
        let watched = Watched::default();
        watched.typed("send y hi");
        let outputs = told(&[">>> send y hi\n", ">>> send y hi\n"], &watched);
        assert_eq!(outputs, [ActorOutput::Line(">>> send y hi".to_owned())]);
        for n in 0..=Watched::MAX_ECHOES {
            watched.typed(&format!("line {n}"));
        }
        assert!(!watched.is_echo("line 0", true) && watched.is_echo("line 1", true));
        assert!(
            watched.is_echo("line 64", true) && !watched.is_echo("line 2", true),
            "older ones do not come any more"
        );
    }

    #[test]
    fn what_is_typed_is_read_as_it_was_typed_and_its_end_is_the_end() {
        let (ours, theirs) = open().unwrap();
        let (type_it, lines) = std::sync::mpsc::channel();
        let typed = "kill\u{15} word\u{17} erase\u{7f} stop\u{13} interrupt\u{3}é\r\n";
        type_it.send(typed.as_bytes().to_vec()).unwrap();
        type_it.send(vec![END_OF_INPUT]).unwrap();
        drop(type_it);
        let unread = AtomicUsize::new(typed.len() + 1);
        write(ours.try_clone().unwrap(), &Watched::default(), &lines, &unread);
        let mut read = String::new();
        File::from(theirs).read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), unread.into_inner()), (typed, 0));
    }

    #[test]
    fn nothing_is_written_for_one_that_is_gone() {
        let (ours, _theirs) = open().unwrap();
        let (type_it, lines) = std::sync::mpsc::channel();
        for _ in 0..100 {
            type_it.send([vec![b'a'; MAX_TYPED - 1], vec![b'\n']].concat()).unwrap();
        }
        let watched = Watched::default();
        watched.leave();
        let unread = AtomicUsize::new(100 * MAX_TYPED);
        write(ours, &watched, &lines, &unread);
        assert!(unread.into_inner() > 0, "a terminal has room for so much that nobody reads");
    }
}
