//! From the bytes that a process writes to lines and events, with a limit on each line and on all of them.

use std::io::{ErrorKind, Read};

use crate::runner::backend::ActorOutput;

/// The longest line: an event with a message of 64 KiB, every byte of it escaped, twice, fits.
pub(crate) const MAX_LINE: usize = 4 << 20;
/// The most bytes that one stream of one process may write.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// The most lines that one stream of one process may write.
pub(crate) const MAX_LINES: usize = 500_000;

/// What lines of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// What people read.
    Text,
    /// An event each; one that is none counts as text.
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

/// Cuts what a stream brings into lines, within the limits.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    line: Vec<u8>,
    bytes: usize,
    lines: usize,
}

impl Splitter {
    /// Takes in what came. `tell` gets each line that has its end, without it, and says whether anybody still listens;
    /// so does the answer.
    ///
    /// # Errors
    /// Which limit was passed, to be said behind the actor's name.
    pub(crate) fn feed(&mut self, chunk: &[u8], tell: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, String> {
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
                if !tell(&self.line) {
                    return Ok(false);
                }
                self.line.clear();
            }
        }
        Ok(true)
    }

    /// The line that has no end yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.line
    }
}

/// Reads a stream to its end, line by line; a last line may lack its end. `tell` says whether anybody still listens.
///
/// # Errors
/// Which limit was passed, to be said behind the actor's name; nothing more is read then.
pub(crate) fn read_lines(
    mut stream: impl Read,
    form: LineFormat,
    tell: &mut dyn FnMut(ActorOutput) -> bool,
) -> Result<(), String> {
    let mut chunk = vec![0; 64 * 1024];
    let mut lines = Splitter::default();
    loop {
        let read = match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The other end of a pipe cannot fail in another way than by going away.
            Err(_) => break,
        };
        if !lines.feed(&chunk[..read], &mut |line| tell(form.output(line)))? {
            return Ok(());
        }
    }
    if !lines.rest().is_empty() {
        tell(form.output(lines.rest()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pumped(stream: impl Read, form: LineFormat) -> (Vec<ActorOutput>, Result<(), String>) {
        let mut outputs = Vec::new();
        let end = read_lines(stream, form, &mut |output| {
            outputs.push(output);
            true
        });
        (outputs, end)
    }

    #[test]
    fn lines_are_events_where_they_can_be() {
        let text = b"{\"event\":\"x\"}\n\n17\nplain \xff\r\n{\"cut\":".as_slice();
        let line = |text: &str| ActorOutput::Line(text.to_owned());
        let expected = vec![
            ActorOutput::Event(json!({"event": "x"})),
            line(""),
            line("17"),
            line("plain \u{fffd}\r"),
            line("{\"cut\":"),
        ];
        assert_eq!(pumped(text, LineFormat::Json), (expected, Ok(())));
        assert_eq!(pumped(b"a\n".as_slice(), LineFormat::Stderr).0, [ActorOutput::Stderr("a".to_owned())]);
    }

    #[test]
    fn each_limit_is_reached() {
        let longest = [vec![b'a'; MAX_LINE - 1], b"\n".to_vec()].concat();
        assert_eq!(pumped(longest.as_slice(), LineFormat::Text).1, Ok(()));
        let longer = vec![b'a'; MAX_LINE + 1];
        assert_eq!(pumped(longer.as_slice(), LineFormat::Text).1, Err("wrote a line of more than 4 MiB".to_owned()));
        let (outputs, end) = pumped(vec![b'\n'; MAX_LINES + 1].as_slice(), LineFormat::Text);
        assert_eq!((outputs.len(), end), (MAX_LINES, Err("wrote more than 500000 lines".to_owned())));
        let line = [vec![b'a'; 1023], b"\n".to_vec()].concat();
        let (outputs, end) = pumped(line.repeat(MAX_BYTES / 1024 + 1).as_slice(), LineFormat::Text);
        assert_eq!((outputs.len(), end), (MAX_BYTES / 1024, Err("wrote more than 64 MiB".to_owned())));
    }

    #[test]
    fn it_stops_when_nobody_listens() {
        let mut told = 0;
        let end = read_lines(b"a\nb\nc\n".as_slice(), LineFormat::Text, &mut |_| {
            told += 1;
            told < 2
        });
        assert_eq!((told, end), (2, Ok(())));
    }
}
