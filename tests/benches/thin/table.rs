//! The part of the table that a thin client keeps: which clients of its fleet are online.

/// Rows of the clients `n0`, `n1`, …, found by a scan of `rows` frames.
pub struct KnownRows {
    fleet: usize,
    online: Vec<u64>,
    count: usize,
    version: u64,
    is_ended: bool,
}

impl KnownRows {
    pub fn new(fleet: usize) -> Self {
        Self { fleet, online: Vec::new(), count: 0, version: 0, is_ended: false }
    }

    /// The version of the table.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn are_all_online(&self) -> bool {
        self.is_ended && self.count == self.fleet
    }

    /// Applies the line of a `rows` frame.
    pub fn update(&mut self, line: &[u8]) {
        let begin = find(line, br#""rows":["#).unwrap_or(line.len());
        let (head, mut rows) = line.split_at(begin);
        if find(head, br#""whole":true"#).is_some() {
            (self.online, self.count) = (Vec::new(), 0);
        }
        while let Some(at) = find(rows, br#"["n"#) {
            rows = &rows[at + 3..];
            let digits = rows.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let Some(end) = rows.iter().position(|byte| *byte == b']') else { break };
            if let Some(number) = number(&rows[..digits]).filter(|number| *number < self.fleet) {
                self.set(number, rows[..end].ends_with(b"true"));
            }
            rows = &rows[end..];
        }
        self.is_ended = find(head, br#""last":true"#).is_some();
        if self.is_ended {
            let upto = head.iter().skip_while(|byte| !byte.is_ascii_digit()).copied();
            let upto: Vec<u8> = upto.take_while(u8::is_ascii_digit).collect();
            self.version = number(&upto).map_or(self.version, |upto| upto as u64);
        }
    }

    fn set(&mut self, number: usize, is_online: bool) {
        let (word, mask) = (number / 64, 1 << (number % 64));
        if word >= self.online.len() {
            self.online.resize(word + 1, 0);
        }
        let was_online = self.online[word] & mask != 0;
        if was_online != is_online {
            self.online[word] ^= mask;
            self.count = if is_online { self.count + 1 } else { self.count - 1 };
        }
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}
