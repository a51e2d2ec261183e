//! Splits the output of a process into lines and events, with limits on lines, bytes and the number of lines.

use std::io::{ErrorKind, Read};

use crate::runner::backend::ActorOutput;

/// The longest line, in bytes. An event with two fully escaped copies of a 64 KiB message fits.
pub(crate) const MAX_LINE: usize = 4 << 20;
/// The most bytes that one stream of one process may write.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// The most lines that one stream of one process may write.
pub(crate) const MAX_LINES: usize = 500_000;

/// The meaning of the lines of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// Text.
    Text,
    /// One event a line. A line that is no JSON object is text.
    Json,
    /// Standard error.
    Stderr,
}

impl LineFormat {
    fn output(self, line: &[u8]) -> ActorOutput {
        let text = || String::from_utf8_lossy(line).into_owned();
        match self {
            Self::Text => ActorOutput::Line(text()),
            Self::Stderr => ActorOutput::Stderr(text()),
            Self::Json => match serde_json::from_slice::<serde_json::Value>(line) {
                Ok(event) if event.is_object() => ActorOutput::Event(event),
                _ => ActorOutput::Line(text()),
            },
        }
    }
}

/// Splits chunks of a stream into lines, within the limits.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    line: Vec<u8>,
    bytes: usize,
    lines: usize,
}

impl Splitter {
    /// Processes a chunk. `report` receives each complete line without its newline, and returns false when the receiver
    /// is gone. The result is false then too.
    ///
    /// # Errors
    /// The exceeded limit, as the rest of a sentence that begins with the actor's name.
    pub(crate) fn feed(&mut self, chunk: &[u8], report: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, String> {
        self.bytes += chunk.len();
        if self.bytes > MAX_BYTES {
            return Err(format!("wrote more than {} MiB", MAX_BYTES >> 20));
        }
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() > MAX_LINE {
                return Err(format!("wrote a line of more than {} MiB", MAX_LINE >> 20));
            }
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
                self.lines += 1;
                if self.lines > MAX_LINES {
                    return Err(format!("wrote more than {MAX_LINES} lines"));
                }
                if !report(&self.line) {
                    return Ok(false);
                }
                self.line.clear();
            }
        }
        Ok(true)
    }

    /// The unfinished line.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.line
    }
}

/// Reads a stream to its end, line by line. The last line needs no newline. `report` returns false when the receiver is
/// gone; that ends the reading too.
///
/// # Errors
/// The exceeded limit, as the rest of a sentence that begins with the actor's name. Reading stops then.
pub(crate) fn read_lines(
    mut stream: impl Read,
    format: LineFormat,
    report: &mut dyn FnMut(ActorOutput) -> bool,
) -> Result<(), String> {
    let mut chunk = vec![0; 64 * 1024];
    let mut lines = Splitter::default();
    loop {
        let read = match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A read from a pipe fails only when its other end is gone.
            Err(_) => break,
        };
        if !lines.feed(&chunk[..read], &mut |line| report(format.output(line)))? {
            return Ok(());
        }
    }
    if !lines.rest().is_empty() {
        report(format.output(lines.rest()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_all(stream: impl Read, format: LineFormat) -> (Vec<ActorOutput>, Result<(), String>) {
        let mut outputs = Vec::new();
        let end = read_lines(stream, format, &mut |output| {
            outputs.push(output);
            true
        });
        (outputs, end)
    }

    #[test]
    fn json_objects_are_events_and_other_lines_are_text() {
        let text = b"{\"event\":\"x\"}\n\n17\nplain \xff\r\n{\"cut\":".as_slice();
        let line = |text: &str| ActorOutput::Line(text.to_owned());
        let expected = vec![
            ActorOutput::Event(json!({"event": "x"})),
            line(""),
            line("17"),
            line("plain \u{fffd}\r"),
            line("{\"cut\":"),
        ];
        assert_eq!(read_all(text, LineFormat::Json), (expected, Ok(())));
        assert_eq!(read_all(b"a\n".as_slice(), LineFormat::Stderr).0, [ActorOutput::Stderr("a".to_owned())]);
    }

    #[test]
    fn each_limit_ends_reading() {
        let longest = [vec![b'a'; MAX_LINE - 1], b"\n".to_vec()].concat();
        assert_eq!(read_all(longest.as_slice(), LineFormat::Text).1, Ok(()));
        let longer = vec![b'a'; MAX_LINE + 1];
        assert_eq!(read_all(longer.as_slice(), LineFormat::Text).1, Err("wrote a line of more than 4 MiB".to_owned()));
        let (outputs, end) = read_all(vec![b'\n'; MAX_LINES + 1].as_slice(), LineFormat::Text);
        assert_eq!((outputs.len(), end), (MAX_LINES, Err("wrote more than 500000 lines".to_owned())));
        let line = [vec![b'a'; 1023], b"\n".to_vec()].concat();
        let (outputs, end) = read_all(line.repeat(MAX_BYTES / 1024 + 1).as_slice(), LineFormat::Text);
        assert_eq!((outputs.len(), end), (MAX_BYTES / 1024, Err("wrote more than 64 MiB".to_owned())));
    }

    #[test]
    fn reading_stops_when_the_callback_returns_false() {
        let mut reported = 0;
        let end = read_lines(b"a\nb\nc\n".as_slice(), LineFormat::Text, &mut |_| {
            reported += 1;
            reported < 2
        });
        assert_eq!((reported, end), (2, Ok(())));
    }
}
