//! A small terminal emulator. It computes the rows that a person would see, and it never drops a row that scrolls out.

/// The rows and the cursor.
pub struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    columns: usize,
    /// An escape sequence that is not complete yet.
    sequence: Option<String>,
    /// A character that is not complete yet.
    bytes: Vec<u8>,
}

impl Screen {
    pub fn new(columns: usize) -> Self {
        Self { rows: vec![Vec::new()], row: 0, column: 0, columns, sequence: None, bytes: Vec::new() }
    }

    /// Interprets output bytes. Panics at control characters and sequences that our programs must not send.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.bytes.push(*byte);
            if let Ok(text) = std::str::from_utf8(&self.bytes) {
                let c = text.chars().next().unwrap();
                self.bytes.clear();
                self.put(c);
            }
        }
    }

    fn put(&mut self, c: char) {
        if let Some(sequence) = &mut self.sequence {
            sequence.push(c);
            let ends = sequence.len() > 1 && ('@'..='~').contains(&c) || sequence.len() == 1 && c != '[';
            if ends {
                let sequence = self.sequence.take().unwrap();
                self.execute(&sequence);
            }
            return;
        }
        match c {
            '\u{1b}' => self.sequence = Some(String::new()),
            '\r' => self.column = 0,
            '\n' => self.down(1),
            '\u{7}' => {}
            c if c.is_control() => panic!("the terminal was sent {c:?}"),
            c => {
                if self.column == self.columns {
                    self.column = 0;
                    self.down(1);
                }
                let row = &mut self.rows[self.row];
                row.resize(row.len().max(self.column + 1), ' ');
                row[self.column] = c;
                self.column += 1;
            }
        }
    }

    fn execute(&mut self, sequence: &str) {
        let (numbers, what) = sequence.split_at(sequence.len() - 1);
        let numbers = numbers.trim_start_matches('[');
        let count = numbers.parse().unwrap_or(1);
        match what {
            "A" => self.row = self.row.saturating_sub(count),
            "B" => self.down(count),
            "C" => self.column = (self.column + count).min(self.columns - 1),
            "K" => self.rows[self.row].truncate(self.column),
            "h" | "l" if numbers.starts_with('?') => {}
            _ => panic!("the terminal was sent ESC {sequence}"),
        }
    }

    fn down(&mut self, count: usize) {
        self.row += count;
        self.rows.resize(self.rows.len().max(self.row + 1), Vec::new());
    }

    /// All rows, without trailing blanks and trailing empty rows.
    pub fn rows(&self) -> Vec<String> {
        let text = |row: &Vec<char>| row.iter().collect::<String>().trim_end().to_owned();
        let mut rows: Vec<String> = self.rows.iter().map(text).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// Row and column of the cursor, from 0.
    pub fn cursor(&self) -> (usize, usize) {
        (self.row, self.column)
    }
}
