//! The results of rows: medians and spread of several rounds, as a table in Markdown or as JSON.

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

    /// The measures by position, with the values of all rounds that have them.
    fn summaries(&self) -> Vec<(&Measure, Spread, Option<Spread>, Option<Spread>)> {
        let names: Vec<&Measure> = self
            .rounds
            .iter()
            .map(|round| &round.measures)
            .max_by_key(|m| m.len())
            .map_or(Vec::new(), |m| m.iter().collect());
        let summary = |first: &&'_ Measure| {
            let all = self.rounds.iter().flat_map(|round| &round.measures).filter(|m| m.name == first.name);
            let all: Vec<&Measure> = all.collect();
            let values = Spread::of(all.iter().map(|m| m.value));
            let baselines = Spread::of(all.iter().filter_map(|m| m.baseline));
            let ratios = Spread::of(all.iter().filter_map(|m| Some(m.value / m.baseline?)));
            values.map(|values| (values, baselines, ratios))
        };
        names
            .into_iter()
            .filter_map(|m| summary(&m).map(|(values, baselines, ratios)| (m, values, baselines, ratios)))
            .collect()
    }

    /// Lines of the table: one for each measure, and one for a row without measures.
    pub fn lines(&self) -> Vec<String> {
        let share =
            |of: fn(&Round) -> f64| Spread::of(self.rounds.iter().map(of)).map_or(0.0, |spread| spread.median * 100.0);
        let shares = format!("{:.0} / {:.0} %", share(|round| round.bench_share), share(|round| round.others_share));
        let faults = self.faults();
        let Faults { lost, doubled, disordered, false_offline } = faults;
        let faults = if faults.is_none() {
            "0".to_owned()
        } else {
            format!("{lost} / {doubled} / {disordered} / {false_offline}")
        };
        let summaries = self.summaries();
        let mut lines: Vec<String> = summaries
            .iter()
            .map(|(measure, values, baselines, ratios)| {
                let baseline = baselines.as_ref().map_or("–".to_owned(), |spread| number(spread.median));
                let ratio = ratios.as_ref().map_or("–".to_owned(), |spread| format!("{:.2} ({:.2}–{:.2})", spread.median, spread.min, spread.max));
                let Measure { name, unit, .. } = measure;
                let Spread { median, min, max } = values;
                let (median, min, max) = (number(*median), number(*min), number(*max));
                format!("| `{}` | {}, {name} | {median} {unit} ({min}–{max}) | {baseline} | {ratio} | {faults} | {shares} |", self.row, self.title)
            })
            .collect();
        if let Some(note) = self.rounds.iter().find_map(|round| round.note.as_ref()) {
            lines.push(format!("| `{}` | {} | {note} | – | – | {faults} | {shares} |", self.row, self.title));
        }
        lines
    }

    fn json(&self) -> Value {
        let measures = self.summaries().into_iter().map(|(measure, values, baselines, ratios)| {
            json!({
                "name": measure.name, "unit": measure.unit, "value": values.json(),
                "baseline": baselines.map(|spread| spread.json()), "ratio": ratios.map(|spread| spread.json()),
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

/// The table of all rows, in Markdown.
pub fn markdown(machine: &str, results: &[RowResult]) -> String {
    let mut lines = vec![
        format!("{machine}. {}", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC")),
        String::new(),
        "| row | measured | median (min–max) | baseline | ratio | faults | CPU of bench / others |".to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    lines.extend(results.iter().flat_map(RowResult::lines));
    lines.join("\n") + "\n"
}

/// All rows as one object.
pub fn as_json(machine: &str, results: &[RowResult]) -> Value {
    json!({ "machine": machine, "rows": results.iter().map(RowResult::json).collect::<Vec<_>>() })
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
