//! A pseudo-terminal for external programs, with the threads that read and write it.
//!
//! Many programs buffer their output when it goes to a pipe, so that it arrives late or never.

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
/// The byte that ends the input when it is typed at the start of a line (^D).
pub(crate) const END_OF_INPUT: u8 = 4;
/// An unfinished line is reported after this silence.
const SILENCE_MS: u16 = 100;
/// The interval at which a thread checks whether its program has ended. Another process may still hold the terminal.
const CHECK_MS: u16 = 500;

/// Opens a terminal and returns the runner's end and the program's end. The terminal echoes and translates nothing.
/// Only the newline and [`END_OF_INPUT`] have a special meaning.
///
/// # Errors
/// When the system cannot open one.
pub(crate) fn open() -> io::Result<(File, OwnedFd)> {
    let pair = openpty(None, None)?;
    for end in [&pair.master, &pair.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    // Non-blocking, so that the threads notice when the program has ended.
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

/// The state of a program at a terminal, shared by its threads. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PtyMonitor {
    shared: Arc<PtyState>,
}

#[derive(Debug, Default)]
struct PtyState {
    has_ended: AtomicBool,
    last_output: Mutex<Option<Instant>>,
    typed: Mutex<VecDeque<String>>,
    /// Removes the program's prompt, which may precede an echo.
    translator: Translator,
}

impl PtyMonitor {
    /// The number of typed lines that are remembered because their echo may arrive.
    const MAX_ECHOES: usize = 64;

    /// The state of a program with this translator.
    pub(crate) fn new(translator: Translator) -> Self {
        Self { shared: Arc::new(PtyState { translator, ..PtyState::default() }) }
    }

    /// The time of the program's last output.
    pub(crate) fn last_output(&self) -> Option<Instant> {
        *self.shared.last_output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the program has ended. The threads stop when they see it.
    pub(crate) fn set_ended(&self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
    }

    /// Remembers a typed line. A program that edits lines itself may echo it.
    pub(crate) fn typed(&self, line: &str) {
        let Some(line) = normal(line) else { return };
        let mut typed = self.shared.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if typed.len() >= Self::MAX_ECHOES {
            typed.pop_front();
        }
        typed.push_back(line);
    }

    /// Whether a line is an echo. A complete one is forgotten then, with all lines that were typed before it.
    fn is_echo(&self, line: &str, whole: bool) -> bool {
        let Some(line) = normal(&self.shared.translator.unprompted(line)) else { return false };
        let mut typed = self.shared.typed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = typed.iter().position(|typed| *typed == line) else { return false };
        if whole {
            typed.drain(..=at);
        }
        true
    }

    /// Reports a complete line unless it is an echo. Returns false when the receiver is gone.
    fn report_line(&self, line: String, at: Instant, report: &mut dyn FnMut(Instant, ActorOutput) -> bool) -> bool {
        self.is_echo(&line, true) || report(at, ActorOutput::Line(line))
    }

    fn has_ended(&self) -> bool {
        self.shared.has_ended.load(Ordering::SeqCst)
    }
}

/// Reads until the program has closed its terminal or has ended. `copy` receives every byte. `report` returns false
/// when the receiver is gone; that ends the reading too.
///
/// # Errors
/// The exceeded limit, as the rest of a sentence that begins with the actor's name. Reading stops then.
pub(crate) fn read(
    terminal: &File,
    copy: Option<File>,
    monitor: &PtyMonitor,
    clock: Clock,
    report: &mut dyn FnMut(Instant, ActorOutput) -> bool,
) -> Result<(), String> {
    let mut chunk = vec![0; 64 * 1024];
    let mut lines = Splitter::default();
    let mut splitter = InterleavedSplitter::default();
    let mut tee = Tee::new(terminal, copy);
    // The number of bytes of the unfinished line that are reported already.
    let mut reported = 0;
    let mut at = clock.now().mono;
    loop {
        let has_new_rest = lines.rest().len() > reported;
        let is_unfinished = has_new_rest || splitter.is_holding();
        if !ready(terminal, PollFlags::POLLIN, if is_unfinished { SILENCE_MS } else { CHECK_MS }) {
            if !splitter.flush(&mut |line| monitor.report_line(line, at, report)) {
                return Ok(());
            }
            if has_new_rest {
                reported = lines.rest().len();
                let text = text(lines.rest());
                if !monitor.is_echo(&text, false) && !report(at, ActorOutput::Partial(text)) {
                    return Ok(());
                }
            } else if monitor.has_ended() {
                break;
            }
            continue;
        }
        let read = match tee.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => continue,
            // Linux returns EIO when no process holds the other end any more.
            Err(_) => break,
        };
        at = clock.now().mono;
        *monitor.shared.last_output.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        let mut report_line = |line: &[u8]| {
            reported = 0;
            splitter.line(&text(line), &mut |line| monitor.report_line(line, at, report))
        };
        if !lines.feed(chunk.get(..read).unwrap_or_default(), &mut report_line)? {
            return Ok(());
        }
    }
    let rest = text(lines.rest());
    if splitter.flush(&mut |line| monitor.report_line(line, at, report)) && !rest.is_empty() {
        monitor.report_line(rest, at, report);
    }
    Ok(())
}

/// Types lines until the channel closes or the program has ended.
pub(crate) fn write(mut terminal: File, monitor: &PtyMonitor, lines: &Receiver<Vec<u8>>, unread: &AtomicUsize) {
    for line in lines {
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            match terminal.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if monitor.has_ended() {
                        return;
                    }
                    ready(&terminal, PollFlags::POLLOUT, CHECK_MS);
                }
                Err(_) => return,
            }
        }
        unread.fetch_sub(line.len(), Ordering::SeqCst);
    }
}

/// Whether a terminal becomes ready for these events within this time.
fn ready(terminal: &File, events: PollFlags, limit_ms: u16) -> bool {
    match poll(&mut [PollFd::new(terminal.as_fd(), events)], PollTimeout::from(limit_ms)) {
        Ok(count) => count > 0,
        Err(_) => {
            // The sleep prevents a busy loop when the error repeats.
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

    /// The reports for a program that writes these pieces and ends. After a piece without a newline it waits for the
    /// partial report.
    fn reported(writes: &[&str], monitor: &PtyMonitor) -> Vec<ActorOutput> {
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
        read(&ours, None, monitor, Clock::start(), &mut |_, output| {
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
    fn an_unfinished_line_is_reported_after_a_silence_and_again_when_complete() {
        let (line, partial) =
            (|text: &str| ActorOutput::Line(text.to_owned()), |text: &str| ActorOutput::Partial(text.to_owned()));
        let expected = [line("one"), partial(">>> tw"), line(">>> two"), partial(">>> ")];
        let outputs = reported(&["one\n", ">>> tw", "o\n", ">>> "], &PtyMonitor::default());
        assert_eq!(outputs[..4], expected);
    }

    #[test]
    fn one_echo_of_each_typed_line_is_suppressed() {
        let monitor = PtyMonitor::default();
        monitor.typed("send y hi");
        let outputs = reported(&[">>> send y hi\n", ">>> send y hi\n"], &monitor);
        assert_eq!(outputs, [ActorOutput::Line(">>> send y hi".to_owned())]);
        for n in 0..=PtyMonitor::MAX_ECHOES {
            monitor.typed(&format!("line {n}"));
        }
        assert!(!monitor.is_echo("line 0", true) && monitor.is_echo("line 1", true));
        assert!(
            monitor.is_echo("line 64", true) && !monitor.is_echo("line 2", true),
            "older ones do not come any more"
        );
    }

    #[test]
    fn typed_bytes_and_the_end_of_input_arrive_unchanged() {
        let (ours, theirs) = open().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let typed = "kill\u{15} word\u{17} erase\u{7f} stop\u{13} interrupt\u{3}é\r\n";
        sender.send(typed.as_bytes().to_vec()).unwrap();
        sender.send(vec![END_OF_INPUT]).unwrap();
        drop(sender);
        let unread = AtomicUsize::new(typed.len() + 1);
        write(ours.try_clone().unwrap(), &PtyMonitor::default(), &lines, &unread);
        let mut read = String::new();
        File::from(theirs).read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), unread.into_inner()), (typed, 0));
    }

    #[test]
    fn writing_stops_when_the_program_has_ended() {
        let (ours, _theirs) = open().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        for _ in 0..100 {
            sender.send([vec![b'a'; MAX_TYPED - 1], vec![b'\n']].concat()).unwrap();
        }
        let monitor = PtyMonitor::default();
        monitor.set_ended();
        let unread = AtomicUsize::new(100 * MAX_TYPED);
        write(ours, &monitor, &lines, &unread);
        assert!(unread.into_inner() > 0, "a terminal has room for so much that nobody reads");
    }
}
