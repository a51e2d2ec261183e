//! Measures the program as ratios to plain UDP and plain SQLite in the same run: `make bench`.
//!
//! Shared machines are noisy, so it fails only on messages that were lost, doubled or disordered, and on clients that
//! were declared offline wrongly. `cargo test` runs it with tiny sizes.

mod machine;
mod programs;
mod raw;
mod report;
mod rows;
#[path = "../support/mod.rs"]
mod support;
mod thin;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::machine::Stopwatch;
use crate::report::RowResult;
use crate::rows::{ROWS, Row, Scale};
use crate::thin::order::Faults;

/// The sizes of a run by `cargo test`, relative to those of the rows.
const SMOKE_FACTOR: f64 = 0.01;

/// The lines of a document between which the table stands.
const TABLE_BEGIN: &str = "<!-- table -->\n";
const TABLE_END: &str = "<!-- end of the table -->\n";

/// Measure the program as ratios to plain UDP and plain SQLite
#[derive(Parser)]
struct BenchArguments {
    /// Names of rows; all rows without a name
    rows: Vec<String>,
    /// Write JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Rounds of each row
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Multiply the numbers of messages and clients
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f64>,
    /// Also write the table into this document
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Cargo passes this in `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench is a program of its own")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some(raw::ECHO) => return raw::echo(),
        Some(raw::SINK) => return raw::sink(),
        _ => {}
    }
    let is_smoke = !words.iter().any(|word| word == "--bench");
    let arguments = if is_smoke { smoke(&words) } else { BenchArguments::parse() };
    let scale = Scale { factor: arguments.scale.unwrap_or(1.0), sockets_max: machine::raise_file_limit() };
    let unknown = |name: &&String| ROWS.iter().all(|row| row.name != name.as_str());
    if let Some(name) = arguments.rows.iter().find(unknown).filter(|_| !is_smoke) {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        eprintln!("There is no row {name:?}. The rows are {}.", names.join(", "));
        return ExitCode::from(2);
    }
    let wanted = |row: &&Row| arguments.rows.is_empty() || arguments.rows.iter().any(|name| name == row.name);
    let rows = ROWS.iter().filter(wanted);
    let mut results = Vec::new();
    for row in rows {
        if !is_smoke {
            eprintln!("{} …", row.name);
        }
        let rounds = (0..arguments.rounds.unwrap_or(row.rounds)).map(|_| {
            let watch = Stopwatch::start();
            let mut round = (row.measure)(scale);
            round.others_share = watch.others_share();
            round
        });
        let result = RowResult { row: row.name, title: (row.title)(scale), rounds: rounds.collect() };
        results.push(result);
    }
    let machine = machine::description();
    let table = report::markdown(&machine, &results);
    let mut faults = Faults::default();
    results.iter().for_each(|result| faults += result.faults());
    if is_smoke {
        // Beside many tests, a client may not get a processor for as long as the server waits for its answer.
        faults.false_offline = 0;
    }
    let is_correct = faults.is_none();
    if arguments.json {
        println!("{}", report::as_json(&machine, &results));
    } else if !is_smoke || !is_correct {
        println!("{table}");
    }
    if let Some(file) = &arguments.write {
        write_table(file, &table);
    }
    if is_correct { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The arguments of a run by `cargo test`. Its own options are ignored. Words are names of tests, and `--list` and
/// `--ignored` ask for other tests than this one.
fn smoke(words: &[String]) -> BenchArguments {
    let mut rows: Vec<String> = words.iter().skip(1).filter(|word| !word.starts_with('-')).cloned().collect();
    if words.iter().any(|word| word == "--list" || word == "--ignored") {
        rows.push("none".to_owned());
    }
    let (rounds, scale) = (Some(1), Some(SMOKE_FACTOR));
    BenchArguments { rows, json: false, rounds, scale, write: None, bench: false }
}

/// Replaces the table in a document.
fn write_table(file: &PathBuf, table: &str) {
    let text = fs::read_to_string(file).expect("the document");
    let (head, rest) = text.split_once(TABLE_BEGIN).expect("the line before the table");
    let (_, tail) = rest.split_once(TABLE_END).expect("the line after the table");
    fs::write(file, format!("{head}{TABLE_BEGIN}\n{table}\n{TABLE_END}{tail}")).expect("a writable document");
}
