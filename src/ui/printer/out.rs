//! Renders events and writes them, with waiting or without.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

use crate::proto::event::Event;
use crate::proto::text::{escape_for_terminal, escape_json_for_terminal};
use crate::ui::printer::OutputStyle;

/// The most bytes of the buffer of a write that are kept for the next one.
const TEXT_BYTES_KEPT: usize = 256 * 1024;

/// The output and its style.
pub(in crate::ui) struct Out {
    style: OutputStyle,
    seq: u64,
    /// Waits while the output is blocked.
    sink: Box<dyn Write + Send>,
    /// Writes to the same file or pipe, and never waits.
    direct: Option<File>,
    /// The bytes of the last batch. Its buffer is used again.
    text: Vec<u8>,
    /// The number of bytes of `text` that are written.
    written: usize,
    /// The number of the machine's events in `text`.
    pub(super) counts: u64,
    /// The last batch is not written completely.
    pub(super) has_rest: bool,
}

impl Out {
    pub(super) fn new(style: OutputStyle, sink: Box<dyn Write + Send>, direct: Option<File>) -> Self {
        Self { style, seq: 0, sink, direct, text: Vec::new(), written: 0, counts: 0, has_rest: false }
    }

    /// Whether [`Out::write_rest_directly`] can write anything.
    pub(super) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Forgets the last batch.
    pub(super) fn clear(&mut self) {
        self.has_rest = false;
        self.written = 0;
        self.text.clear();
        self.text.shrink_to(TEXT_BYTES_KEPT);
    }

    /// Writes bytes unchanged and flushes them.
    pub(in crate::ui) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write_all(bytes)?;
        self.sink.flush()
    }

    /// Writes the rest of the last batch, and waits while the output is blocked.
    pub(super) fn write_rest(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.text[self.written..])?;
        self.sink.flush()
    }

    /// Writes the rest of the last batch. The error is `WouldBlock` if the output does not take all of it now.
    pub(super) fn write_rest_directly(&mut self) -> io::Result<()> {
        let Some(direct) = &mut self.direct else { return Err(ErrorKind::WouldBlock.into()) };
        while self.written < self.text.len() {
            match direct.write(&self.text[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn render(&mut self, event: &Event) {
        let text = &mut self.text;
        if self.style.json {
            self.seq += 1;
            if self.style.terminal {
                text.extend_from_slice(escape_json_for_terminal(&event.json(self.seq, &self.style.me)).as_bytes());
            } else {
                event.write_json(self.seq, &self.style.me, text);
            }
            text.push(b'\n');
            return;
        }
        let Some(lines) = event.line() else { return };
        let prompt = event.prompt();
        for line in lines.split('\n') {
            text.extend_from_slice(prompt.as_bytes());
            let line = if self.style.terminal { escape_for_terminal(line) } else { line.into() };
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
    }
}
