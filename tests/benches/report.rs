//! The results of rows: medians and spread of several rounds, as a table in Markdown or as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::thin::order::Faults;

/// One number of a round.
#[derive(Clone, Debug)]
pub struct Measure {
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f64,
    /// The baseline of the same round, in the same unit.
    pub baseline: Option<f64>,
}

impl Measure {
    pub fn new(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self { name, unit, value, baseline: None }
    }

    pub fn against(self, baseline: f64) -> Self {
        Self { baseline: Some(baseline), ..self }
    }
}

/// One measurement of a row.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub measures: Vec<Measure>,
    pub faults: Faults,
    /// The reason why measures are missing, if they are.
    pub note: Option<String>,
    /// The share of the machine's CPU time that the bench process used, from 0 to 1.
    pub bench_share: f64,
    /// The share of programs that do not belong to the bench.
    pub others_share: f64,
}

impl Round {
    /// A round without measures, because it did not end in time.
    pub fn unfinished(why: impl Into<String>) -> Self {
        Self { note: Some(why.into()), ..Self::default() }
    }
}

/// The rounds of a row.
pub struct RowResult {
    pub row: &'static str,
    pub title: String,
    pub rounds: Vec<Round>,
}

impl RowResult {
    pub fn faults(&self) -> Faults {
        let mut sum = Faults::default();
        self.rounds.iter().for_each(|round| sum += round.faults);
        sum
    }

    /// The measures of the row, each with the values of all rounds that have it.
    fn summaries(&self) -> Vec<Summary> {
        let mut first: Vec<&Measure> = Vec::new();
        let all = || self.rounds.iter().flat_map(|round| &round.measures);
        for measure in all() {
            if first.iter().all(|known| known.name != measure.name) {
                first.push(measure);
            }
        }
        let summary = |&Measure { name, unit, .. }: &Measure| {
            let own = || all().filter(move |measure| measure.name == name);
            let values = Spread::of(own().map(|measure| measure.value))?;
            let baseline = Spread::of(own().filter_map(|measure| measure.baseline));
            let ratio = Spread::of(own().filter_map(|measure| Some(measure.value / measure.baseline?)));
            Some(Summary { name, unit, values, baseline, ratio })
        };
        first.into_iter().filter_map(summary).collect()
    }

    /// Lines of the table: one for each measure, and one for what is missing.
    fn lines(&self) -> Vec<String> {
        let percent = |share: fn(&Round) -> f64| {
            Spread::of(self.rounds.iter().map(share)).map_or(0.0, |spread| spread.median * 100.0)
        };
        let (bench, others) = (percent(|round| round.bench_share), percent(|round| round.others_share));
        let faults = match self.faults() {
            faults if faults.is_none() => "0".to_owned(),
            Faults { lost, doubled, disordered, false_offline } => {
                format!("{lost} / {doubled} / {disordered} / {false_offline}")
            }
        };
        let end = format!("{faults} | {bench:.0} / {others:.0} % |");
        let line = |Summary { name, unit, values, baseline, ratio }: Summary| {
            let baseline = baseline.map_or("–".to_owned(), |spread| number(spread.median));
            let ratio = ratio.map_or("–".to_owned(), |spread| spread.to_string());
            format!("| `{}` | {name} ({unit}) | {values} | {baseline} | {ratio} | {end}", self.row)
        };
        let mut lines: Vec<String> = self.summaries().into_iter().map(line).collect();
        if let Some(note) = self.rounds.iter().find_map(|round| round.note.as_ref()) {
            lines.push(format!("| `{}` | {note} | – | – | – | {end}", self.row));
        }
        lines
    }

    fn json(&self) -> Value {
        let measures = self.summaries().into_iter().map(|Summary { name, unit, values, baseline, ratio }| {
            let json = |spread: Option<Spread>| spread.map(|spread| spread.json());
            json!({
                "name": name, "unit": unit, "value": values.json(), "baseline": json(baseline), "ratio": json(ratio),
            })
        });
        let faults = self.faults();
        let shares = |of: fn(&Round) -> f64| self.rounds.iter().map(of).collect::<Vec<_>>();
        json!({
            "row": self.row, "title": self.title, "measures": measures.collect::<Vec<_>>(),
            "lost": faults.lost, "doubled": faults.doubled, "disordered": faults.disordered,
            "false_offline": faults.false_offline,
            "notes": self.rounds.iter().filter_map(|round| round.note.as_ref()).collect::<Vec<_>>(),
            "cpu_of_bench": shares(|round| round.bench_share), "cpu_of_others": shares(|round| round.others_share),
        })
    }
}

/// The table of all rows and their sizes, in Markdown.
pub fn markdown(machine: &str, results: &[RowResult]) -> String {
    let mut lines = vec![
        format!("{machine}. {}.", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC")),
        String::new(),
        "| row | measure | median (min–max) | baseline | ratio | faults | CPU of bench / others |".to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    lines.extend(results.iter().flat_map(RowResult::lines));
    lines.push(String::new());
    lines.extend(results.iter().map(|result| {
        let rounds = result.rounds.len();
        format!("- `{}`: {}; {rounds} round{}", result.row, result.title, if rounds == 1 { "" } else { "s" })
    }));
    lines.join("\n")
}

/// All rows as one object.
pub fn as_json(machine: &str, results: &[RowResult]) -> Value {
    json!({ "machine": machine, "rows": results.iter().map(RowResult::json).collect::<Vec<_>>() })
}

/// A measure over all rounds.
struct Summary {
    name: &'static str,
    unit: &'static str,
    values: Spread,
    baseline: Option<Spread>,
    ratio: Option<Spread>,
}

/// Median and extremes of the rounds.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Some(Self { median: percentile(&values, 0.5)?, min: *values.first()?, max: *values.last()? })
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}–{})", number(self.median), number(self.min), number(self.max))
    }
}

/// The value below which a part of sorted values lies.
pub fn percentile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * part).round() as usize).copied()
}

/// A number with three significant digits, or as a whole number with commas.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
            groups.join(",")
        }
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
