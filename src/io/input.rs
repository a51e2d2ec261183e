//! Lines from a file, a pipe or a terminal. A thread of its own reads them into a bounded queue, because epoll refuses
//! regular files and `/dev/null`.

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::proto::name::Name;
use crate::proto::text::Text;

/// Wakes a sleeping event loop. May be called from any thread at any time.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The maximum of queued lines. A reader that is ahead of its program waits.
pub const QUEUED_LINES_MAX: usize = 64;

/// The maximum of stored bytes of a line: the longest text, with room for the longest command before it.
pub const MAX_LINE: usize = Text::MAX + Name::MAX + 64;

/// A line, or the end of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputLine {
    /// A line, without its end.
    Whole(Vec<u8>),
    /// A line over [`MAX_LINE`]: its first bytes, up to a whole character, and its full length.
    Long {
        /// The first bytes.
        head: Vec<u8>,
        /// The length of the whole line.
        bytes: usize,
    },
    /// The input cannot be read any further.
    Broken(std::io::ErrorKind),
    /// The end of the input.
    End,
}

/// The receiving end of a queue of lines.
pub struct Lines {
    queue: Arc<LineQueue>,
    /// Lines that were taken from the queue at once.
    taken: VecDeque<InputLine>,
}

/// Lines on their way from a reading thread to the event loop.
#[derive(Default)]
struct LineQueue {
    state: Mutex<LineQueueState>,
    /// Notified when the queue has room again, or is closed.
    has_room: Condvar,
}

#[derive(Default)]
struct LineQueueState {
    lines: VecDeque<InputLine>,
    /// The receiver found no line and must be woken.
    is_awaited: bool,
    /// Nobody receives any more.
    is_closed: bool,
}

impl LineQueue {
    fn state(&self) -> MutexGuard<'_, LineQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Reads `source` in a thread of its own, to its end or to the first error, and wakes the loop when it waits for a
    /// line.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn read(source: impl BufRead + Send + 'static, wake: Wake) -> std::io::Result<Self> {
        let (sender, lines) = Self::queue(wake);
        std::thread::Builder::new().name("input".to_owned()).spawn(move || read_all(source, &sender))?;
        Ok(lines)
    }

    /// A queue that the caller fills.
    #[must_use]
    pub fn queue(wake: Wake) -> (LineSender, Self) {
        // The loop has not asked for a line yet, and may sleep before it does.
        let state = LineQueueState { is_awaited: true, ..LineQueueState::default() };
        let queue = Arc::new(LineQueue { state: Mutex::new(state), has_room: Condvar::new() });
        (LineSender { queue: queue.clone(), wake }, Self { queue, taken: VecDeque::new() })
    }

    /// The next queued line. Never blocks.
    pub fn take(&mut self) -> Option<InputLine> {
        if self.taken.is_empty() {
            let mut state = self.queue.state();
            state.is_awaited = state.lines.is_empty();
            std::mem::swap(&mut state.lines, &mut self.taken);
            drop(state);
            if !self.taken.is_empty() {
                self.queue.has_room.notify_all();
            }
        }
        self.taken.pop_front()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.queue.state().is_closed = true;
        self.queue.has_room.notify_all();
    }
}

/// The sending end of a queue of lines.
#[derive(Clone)]
pub struct LineSender {
    queue: Arc<LineQueue>,
    wake: Wake,
}

impl LineSender {
    /// Adds a line; blocks while the queue has [`QUEUED_LINES_MAX`] lines. Returns false if nobody will receive it.
    #[must_use]
    pub fn send(&self, line: InputLine) -> bool {
        self.send_all([line])
    }

    /// Adds lines, like [`LineSender::send`], with one lock and one wake as long as they fit.
    fn send_all(&self, lines: impl IntoIterator<Item = InputLine>) -> bool {
        let mut lines = lines.into_iter().peekable();
        while lines.peek().is_some() {
            let is_full = |state: &mut LineQueueState| state.lines.len() >= QUEUED_LINES_MAX && !state.is_closed;
            let state = self.queue.has_room.wait_while(self.queue.state(), is_full);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            if state.is_closed {
                return false;
            }
            let room = QUEUED_LINES_MAX - state.lines.len();
            state.lines.extend(lines.by_ref().take(room));
            let is_awaited = std::mem::take(&mut state.is_awaited);
            drop(state);
            if is_awaited {
                (self.wake)();
            }
        }
        true
    }
}

/// Some editors write this mark at the start of a file. It is removed.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

fn read_all(mut source: impl BufRead, lines: &LineSender) {
    let (mut is_first, mut is_last) = (true, false);
    while !is_last {
        let mut batch = Vec::new();
        // No line waits for a later one: the next line is read only if it is in the buffer already.
        let mut may_block = false;
        while !is_last && !may_block && batch.len() < QUEUED_LINES_MAX {
            let (mut line, buffered) = read_line_of(&mut source).unwrap_or((InputLine::End, 0));
            if let InputLine::Whole(bytes) = &mut line
                && std::mem::take(&mut is_first)
                && bytes.starts_with(BYTE_ORDER_MARK)
            {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            is_last = matches!(line, InputLine::Broken(_) | InputLine::End);
            batch.push(line);
            may_block = buffered == 0 || !source.fill_buf().is_ok_and(|chunk| chunk.contains(&b'\n'));
        }
        if !lines.send_all(batch) {
            return;
        }
    }
}

/// Reads one line of any length in bounded memory. Returns `None` at the end of the input.
pub fn read_line(source: &mut impl BufRead) -> Option<InputLine> {
    Some(read_line_of(source)?.0)
}

/// Like [`read_line`], with the number of bytes that `source` has in its buffer afterwards.
fn read_line_of(source: &mut impl BufRead) -> Option<(InputLine, usize)> {
    let (mut head, mut bytes, mut ended, mut buffered) = (Vec::new(), 0_usize, false, 0);
    while !ended {
        let chunk = match source.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if bytes == 0 => return Some((InputLine::Broken(error.kind()), 0)),
            // The bytes before the error are returned first. The next call reports the error.
            Err(_) => break,
        };
        if chunk.is_empty() {
            break;
        }
        let end = chunk.iter().position(|b| *b == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        head.extend_from_slice(&part[..part.len().min(MAX_LINE - head.len())]);
        bytes = bytes.saturating_add(part.len());
        ended = end.is_some();
        let used = part.len() + usize::from(ended);
        buffered = chunk.len() - used;
        source.consume(used);
    }
    if bytes == 0 && !ended {
        return None;
    }
    if bytes == head.len() {
        return Some((InputLine::Whole(head), buffered));
    }
    if let Err(error) = std::str::from_utf8(&head)
        && error.error_len().is_none()
    {
        head.truncate(error.valid_up_to());
    }
    Some((InputLine::Long { head, bytes }, buffered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;
    use std::sync::mpsc::{Receiver, channel};

    fn all(input: &[u8]) -> Vec<InputLine> {
        let mut source = BufReader::with_capacity(7, input);
        std::iter::from_fn(|| read_line(&mut source)).collect()
    }

    fn whole(line: &str) -> InputLine {
        InputLine::Whole(line.as_bytes().to_vec())
    }

    #[test]
    fn lines_end_with_a_newline_or_with_the_input() {
        assert_eq!(all(b"a\n\nlonger than seven\nlast"), ["a", "", "longer than seven", "last"].map(whole));
        assert_eq!(all(b""), []);
        assert_eq!(all(b"\n"), [whole("")]);
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_the_next_one_is_not() {
        let longest = "a".repeat(MAX_LINE);
        assert_eq!(all(longest.as_bytes()), [whole(&longest)]);
        let head = "a".repeat(MAX_LINE - 1);
        let long = format!("{head}éé\nnext\n");
        let cut = InputLine::Long { head: head.into_bytes(), bytes: MAX_LINE + 3 };
        assert_eq!(all(long.as_bytes()), [cut, whole("next")]);
    }

    fn take(lines: &mut Lines, woken: &Receiver<()>) -> InputLine {
        loop {
            if let Some(line) = lines.take() {
                return line;
            }
            woken.recv().unwrap();
        }
    }

    #[test]
    fn no_line_is_lost_when_the_queue_is_full() {
        let (wake, woken) = channel();
        let input = "x\n".repeat(10 * QUEUED_LINES_MAX + 10);
        let mut lines = Lines::read(std::io::Cursor::new(input), Arc::new(move || _ = wake.send(()))).unwrap();
        for _ in 0..10 * QUEUED_LINES_MAX + 10 {
            assert_eq!(take(&mut lines, &woken), whole("x"));
        }
        assert_eq!(take(&mut lines, &woken), InputLine::End);
    }

    #[test]
    fn only_a_receiver_that_waits_is_woken() {
        let (wake, woken) = channel();
        let (sender, mut lines) = Lines::queue(Arc::new(move || _ = wake.send(())));
        assert!(sender.send(whole("a")) && sender.send(whole("b")));
        assert_eq!(woken.try_iter().count(), 1);
        assert_eq!([lines.take(), lines.take()], [Some(whole("a")), Some(whole("b"))]);
        assert!(sender.send(whole("c")));
        assert_eq!(woken.try_iter().count(), 0);
        assert_eq!([lines.take(), lines.take()], [Some(whole("c")), None]);
        assert!(sender.send(whole("d")));
        assert_eq!(woken.try_iter().count(), 1);
    }

    #[test]
    fn a_line_does_not_wait_for_the_next_one() {
        let (mut input, output) = std::io::pipe().map(|(reader, writer)| (writer, reader)).unwrap();
        let (wake, woken) = channel();
        let source = BufReader::new(output);
        let mut lines = Lines::read(source, Arc::new(move || _ = wake.send(()))).unwrap();
        std::io::Write::write_all(&mut input, b"a\nb\nbegun").unwrap();
        assert_eq!(take(&mut lines, &woken), whole("a"));
        assert_eq!(take(&mut lines, &woken), whole("b"));
        drop(input);
        assert_eq!(take(&mut lines, &woken), whole("begun"));
        assert_eq!(take(&mut lines, &woken), InputLine::End);
    }

    #[test]
    fn a_sender_without_receiver_ends() {
        let (sender, lines) = Lines::queue(Arc::new(|| ()));
        drop(lines);
        assert!(!sender.send(whole("a")));
    }
}
