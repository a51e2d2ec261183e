//! Lines from a file, a pipe or a terminal. A thread of its own reads them into a bounded queue, because epoll refuses
//! regular files and `/dev/null`.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

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
#[derive(Debug)]
pub struct Lines {
    receiver: Receiver<InputLine>,
}

impl Lines {
    /// Reads `source` in a thread of its own, to its end or to the first error, and wakes the loop after each line.
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
        let (sender, receiver) = sync_channel(QUEUED_LINES_MAX);
        (LineSender { sender, wake }, Self { receiver })
    }

    /// The next queued line. Never blocks.
    pub fn take(&self) -> Option<InputLine> {
        self.receiver.try_recv().ok()
    }
}

/// The sending end of a queue of lines.
#[derive(Clone)]
pub struct LineSender {
    sender: SyncSender<InputLine>,
    wake: Wake,
}

impl LineSender {
    /// Adds a line; blocks while the queue has [`QUEUED_LINES_MAX`] lines. Returns false if nobody will receive it.
    #[must_use]
    pub fn send(&self, line: InputLine) -> bool {
        let sent = self.sender.send(line).is_ok();
        (self.wake)();
        sent
    }
}

/// Some editors write this mark at the start of a file. It is removed.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

fn read_all(mut source: impl BufRead, lines: &LineSender) {
    let mut is_first = true;
    while let Some(mut line) = read_line(&mut source) {
        if let InputLine::Whole(bytes) = &mut line
            && std::mem::take(&mut is_first)
            && bytes.starts_with(BYTE_ORDER_MARK)
        {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let is_last = matches!(line, InputLine::Broken(_));
        if !lines.send(line) || is_last {
            return;
        }
    }
    // Nobody receives it when the program is ending already.
    let _ = lines.send(InputLine::End);
}

/// Reads one line of any length in bounded memory. Returns `None` at the end of the input.
pub fn read_line(source: &mut impl BufRead) -> Option<InputLine> {
    let (mut head, mut bytes, mut ended) = (Vec::new(), 0_usize, false);
    while !ended {
        let chunk = match source.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if bytes == 0 => return Some(InputLine::Broken(error.kind())),
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
        source.consume(used);
    }
    if bytes == 0 && !ended {
        return None;
    }
    if bytes == head.len() {
        return Some(InputLine::Whole(head));
    }
    if let Err(error) = std::str::from_utf8(&head)
        && error.error_len().is_none()
    {
        head.truncate(error.valid_up_to());
    }
    Some(InputLine::Long { head, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[test]
    fn no_line_is_lost_when_the_queue_is_full() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let wake: Wake = Arc::new(move || _ = count.fetch_add(1, Ordering::SeqCst));
        let input = "x\n".repeat(QUEUED_LINES_MAX + 10);
        let lines = Lines::read(std::io::Cursor::new(input), wake).unwrap();
        let taken: Vec<InputLine> = lines.receiver.iter().collect();
        assert_eq!(taken.len(), QUEUED_LINES_MAX + 11);
        assert_eq!(taken.last(), Some(&InputLine::End));
        assert!(woken.load(Ordering::SeqCst) >= QUEUED_LINES_MAX + 10);
    }
}
