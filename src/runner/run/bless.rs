//! `--bless`: rewrites expectations that failed by their text alone to the actual output.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use crate::runner::lang::ast::SourceFile;
use crate::runner::report::outcome::{CaseFailure, Remedy, RunResult, Verdict};
use crate::runner::report::replace::replace;

/// The reason why `--bless` is refused here, if it is. In CI no person reviews the changes, and every mistake would
/// become an expectation.
pub(crate) fn refusal() -> Option<String> {
    let is_set = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    is_set.then(|| "--bless is refused where CI is set: a person has to look at what it rewrites.".to_owned())
}

/// Rewrites all possible lines, and reports each rewritten line and each file that cannot be rewritten. A failed write
/// to `say` is ignored.
pub(crate) fn bless(result: &RunResult, say: &mut dyn Write) {
    for (path, (source, changes)) in remedies(result) {
        let name = path.display();
        if let Err(why) = rewrite_file(path, source, &changes) {
            drop(writeln!(say, "The file {name} is not rewritten: {why}."));
            continue;
        }
        for (line, Remedy { old, new }) in changes {
            drop(writeln!(say, "{name}:{line}: `{old}` is now `{new}`"));
        }
    }
}

type Changes<'a> = BTreeMap<usize, &'a Remedy>;

/// All remedies by file and line. The first remedy of a line counts.
fn remedies(result: &RunResult) -> BTreeMap<&Path, (&SourceFile, Changes<'_>)> {
    let mut files: BTreeMap<&Path, (&SourceFile, Changes<'_>)> = BTreeMap::new();
    for failure in result.cases.iter().flat_map(failures) {
        if let Some(remedy) = &failure.remedy {
            let source = failure.span.source.as_ref();
            let (_, changes) = files.entry(&source.path).or_insert_with(|| (source, Changes::new()));
            changes.entry(failure.span.line).or_insert(remedy);
        }
    }
    files
}

/// All failures of a case.
fn failures(case: &crate::runner::report::outcome::CaseResult) -> impl Iterator<Item = &CaseFailure> {
    let verdict = if let Verdict::Failed(failure) = &case.verdict { Some(failure.as_ref()) } else { None };
    verdict.into_iter().chain(case.checks.iter().filter_map(|check| check.failure.as_deref()))
}

fn rewrite_file(path: &Path, source: &SourceFile, changes: &Changes<'_>) -> Result<(), String> {
    let current = std::fs::read(path).map_err(|error| error.to_string())?;
    if current != source.text.as_bytes() {
        return Err("it has changed since it was read".to_owned());
    }
    let text = rewrite(&source.text, changes).ok_or("a line of it is not as it was played")?;
    replace(path, text.as_bytes()).map_err(|error| error.to_string())
}

/// Replaces the pattern at the end of each of these lines. All other bytes stay. `None` when a line does not end with
/// its old pattern.
fn rewrite(text: &str, changes: &Changes<'_>) -> Option<String> {
    let mut new = String::with_capacity(text.len());
    for (at, line) in text.split_inclusive('\n').enumerate() {
        match changes.get(&(at + 1)) {
            None => new.push_str(line),
            Some(remedy) => {
                let body = line.trim_end();
                new.push_str(body.strip_suffix(remedy.old.as_str())?);
                new.push_str(&remedy.new);
                new.push_str(&line[body.len()..]);
            }
        }
    }
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pattern_of_a_line_changes() {
        let remedy = |old: &str, new: &str| Remedy { old: old.to_owned(), new: new.to_owned() };
        let (one, two) = (remedy("a", "b {*}"), remedy("é", "e"));
        let changes = Changes::from([(2, &one), (4, &two)]);
        assert_eq!(rewrite("a\nx<5s a  \r\na\nx< é", &changes).as_deref(), Some("a\nx<5s b {*}  \r\na\nx< e"));
        assert_eq!(rewrite("a\nx< c\n", &changes), None);
    }
}
