//! The steps that expect output or an end: `<`, `<~`, `!<` and `exits`. A failed one gets its cause here.

use std::time::Duration;

use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::exec::executor::{Abort, CaseExecutor, Executed};
use crate::runner::lang::ast::{ActorId, Who};
use crate::runner::report::outcome::{CaseFailure, Cause};
use crate::script::directive::{ExpectMode, spell};
use crate::script::expect::ExpectCursor;
use crate::script::log::{Log, Nearest};
use crate::script::pattern::{Matcher, Pattern};
use crate::script::vars::Vars;

/// Time that the runner keeps reading output after a limit, to distinguish LATE from SILENCE.
const GRACE: Duration = Duration::from_millis(500);
/// From this likeness on, a line counts as a wrong text, and not as an unrelated line.
const WRONG_LIKENESS: f64 = 0.5;
/// From this likeness on, a copy of a taken line counts as a duplicate.
const DUPLICATE_LIKENESS: f64 = 0.6;

impl CaseExecutor<'_> {
    pub(crate) fn expect(
        &mut self,
        who: &Who,
        mode: ExpectMode,
        limit: Option<Duration>,
        pattern: &Pattern,
    ) -> Executed {
        let filled = pattern.fill(&self.vars, self.settings.style);
        let matcher = filled.map_err(|why| self.fail(None, Cause::Mistake, Status::Parse, why.to_string()))?;
        let limit = limit.unwrap_or(mode.default_limit()).mul_f64(self.settings.time_scale);
        let begin = self.backend.now();
        let cursor = |actor| (actor, ExpectCursor::new(mode, matcher.clone()));
        let mut open: Vec<_> = self.resolve(who)?.into_iter().map(cursor).collect();
        loop {
            self.search_logs(&mut open, mode, begin, limit)?;
            if open.is_empty() {
                break;
            }
            if !self.next_event(begin + limit)? {
                break;
            }
        }
        if mode == ExpectMode::Never {
            self.idle.add(begin, self.backend.now());
            return Ok(());
        }
        if open.is_empty() { Ok(()) } else { Err(self.timed_out(open, &matcher, begin, limit)?) }
    }

    /// Searches the new output of each actor. Keeps those expectations in `open` that are still undecided.
    fn search_logs(
        &mut self,
        open: &mut Vec<(ActorId, ExpectCursor)>,
        mode: ExpectMode,
        begin: Instant,
        limit: Duration,
    ) -> Executed {
        let mut left = Vec::with_capacity(open.len());
        for (actor, mut cursor) in open.drain(..) {
            let Some(state) = self.actors.get_mut(&actor) else { continue };
            let found = cursor.look(&mut state.log);
            let (ended, vanished) = (state.run.end, state.has_vanished());
            match (found, mode) {
                (Some(found), ExpectMode::Never) => {
                    let shown = state.original(&found.text).to_owned();
                    let before = self.taken(&actor, cursor.matcher());
                    let after = spell(millis(found.at.since(begin)));
                    let (cause, sentence) = match before {
                        Some(_) => (Cause::Duplicate, format!("{actor} showed it again: `{shown}`")),
                        None => (Cause::Forbidden, format!("{actor} showed `{shown}`, {after} into {}", spell(limit))),
                    };
                    return Err(self.unmet(&actor, cursor.matcher(), cause, Status::Failed, sentence));
                }
                (Some(found), ExpectMode::Next | ExpectMode::Any) => {
                    self.vars.capture(&found.captures).map_err(|why| self.mistaken(&why))?;
                }
                (None, ExpectMode::Never) if vanished => return Err(self.vanished(&actor)),
                (None, ExpectMode::Never) => {
                    // An actor that has ended produces no further output.
                    if ended.is_none() {
                        left.push((actor, cursor));
                    }
                }
                (None, ExpectMode::Next | ExpectMode::Any) => {
                    if let Some((_, end)) = ended {
                        let by_itself = if vanished { " by itself, and nothing asked it to" } else { "" };
                        let sentence = format!("{actor} {end}{by_itself}");
                        let cause = Cause::Exited(Some(end));
                        return Err(self.unmet(&actor, cursor.matcher(), cause, Status::Failed, sentence));
                    }
                    left.push((actor, cursor));
                }
            }
        }
        *open = left;
        Ok(())
    }

    /// Classifies an expectation whose limit has passed, after reading output for [`GRACE`] more.
    fn timed_out(
        &mut self,
        mut open: Vec<(ActorId, ExpectCursor)>,
        matcher: &Matcher,
        begin: Instant,
        limit: Duration,
    ) -> Executed<Abort> {
        let over = begin + limit;
        let until = over + GRACE;
        let (first, cursor) = open.swap_remove(0);
        let mut cursor = cursor;
        let mut late = None;
        while late.is_none() {
            let more = self.next_event(until)?;
            late = self.actors.get_mut(&first).and_then(|state| cursor.look(&mut state.log)).map(|found| found.at);
            if !more {
                break;
            }
        }
        self.idle.add(begin, self.backend.now());
        let spelled = spell(limit);
        if let Some(at) = late {
            let by = millis(at.since(over));
            let sentence = format!("{first} showed it {} after the limit of {spelled}", spell(by));
            return Ok(self.unmet(&first, matcher, Cause::Late(by), Status::Expected, sentence));
        }
        let Some(state) = self.actors.get(&first) else {
            return Ok(self.unmet(&first, matcher, Cause::Silence, Status::Expected, String::new()));
        };
        let nearest = self.nearest(&first, matcher);
        let (cause, mut sentence) = classify_timeout(&state.log, nearest, matcher, &first, &spelled);
        if state.log.lost() > 0 {
            sentence.push_str(&format!("; {} pieces of its output were too many to keep", state.log.lost()));
        }
        Ok(self.unmet(&first, matcher, cause, Status::Expected, sentence))
    }

    pub(crate) fn exits(&mut self, who: &Who, status: Option<u8>) -> Executed {
        let limit = ExpectMode::LIMIT.mul_f64(self.settings.time_scale);
        let begin = self.backend.now();
        for actor in self.select_actors(who, |state| !state.run.end_awaited)? {
            if !self.actors.contains_key(&actor) {
                self.actor_mut(&actor)?;
            }
            while !self.has_ended(&actor) && self.next_event(begin + limit)? {}
            let in_time = self.has_ended(&actor);
            while !self.has_ended(&actor) && self.next_event(begin + limit + GRACE)? {}
            let ended = self.actors.get_mut(&actor).and_then(|state| {
                state.run.end_expected = true;
                state.run.end_awaited = state.run.end.is_some();
                state.run.end
            });
            let Some((at, end)) = ended else {
                self.idle.add(begin, self.backend.now());
                let sentence = format!("{actor} still runs after {}", spell(limit));
                return Err(self.fail(Some(&actor), Cause::Silence, Status::Expected, sentence));
            };
            if !in_time {
                let by = millis(at.since(begin + limit));
                let sentence = format!("{actor} {end} {} after the limit of {}", spell(by), spell(limit));
                return Err(self.fail(Some(&actor), Cause::Late(by), Status::Expected, sentence));
            }
            if let Some(status) = status.filter(|status| *status != end.status) {
                let sentence = format!("{actor} {end} instead of status {status}");
                return Err(self.fail(Some(&actor), Cause::Exited(Some(end)), Status::Failed, sentence));
            }
        }
        Ok(())
    }

    /// The time at which a match of the pattern was taken before, if any.
    fn taken(&self, actor: &ActorId, matcher: &Matcher) -> Option<Instant> {
        self.actors.get(actor)?.log.taken(matcher)
    }

    /// The line that is most like the pattern, compared in the contract's wording and in the actor's.
    fn nearest(&self, actor: &ActorId, matcher: &Matcher) -> Option<Nearest> {
        let state = self.actors.get(actor)?;
        let in_words = self.in_program_words(actor, matcher).and_then(|words| {
            let literal = words.replace('{', "{{").replace('}', "}}");
            let in_words = Pattern::parse(&literal).ok()?.fill(&Vars::default(), self.settings.style).ok()?;
            state.log.nearest(&in_words)
        });
        let nearest = state.log.nearest(matcher).into_iter().chain(in_words);
        nearest.max_by(|one, other| one.likeness.total_cmp(&other.likeness))
    }

    /// The expected text in the actor's wording, if that differs from the contract.
    fn in_program_words(&self, actor: &ActorId, matcher: &Matcher) -> Option<String> {
        self.actors.get(actor).and_then(|state| state.translate_back(matcher.sketch()))
    }

    fn shown(&self, actor: &ActorId, line: &str) -> String {
        self.actors.get(actor).map_or(line, |state| state.original(line)).to_owned()
    }

    /// The failure of an expectation, with the expected text and the nearest line.
    fn unmet(&self, actor: &ActorId, matcher: &Matcher, cause: Cause, status: Status, sentence: String) -> Abort {
        let nearest = self
            .nearest(actor, matcher)
            .filter(|_| matches!(cause, Cause::Silence | Cause::WrongText | Cause::Exited(_)));
        let came = nearest.as_ref().filter(|_| cause == Cause::WrongText);
        let remedy = came.and_then(|nearest| self.remedy(actor, nearest));
        let nearest = nearest.map(|nearest| Nearest { text: self.shown(actor, &nearest.text), ..nearest });
        let expected = self.in_program_words(actor, matcher).unwrap_or_else(|| matcher.sketch().to_owned());
        Box::new(CaseFailure {
            span: self.statement.span.clone(),
            actor: Some(actor.clone()),
            cause,
            sentence,
            // A pattern that is a single gap has no text to show.
            expected: Some(expected).filter(|text| !text.is_empty()),
            nearest,
            status,
            remedy,
        })
    }
}

/// The cause why nothing matched within the limit, with its sentence.
fn classify_timeout(
    log: &Log,
    nearest: Option<Nearest>,
    matcher: &Matcher,
    actor: &ActorId,
    limit: &str,
) -> (Cause, String) {
    let Some(nearest) = nearest.filter(|nearest| nearest.likeness >= WRONG_LIKENESS) else {
        return (Cause::Silence, format!("{actor} showed nothing like it within {limit}"));
    };
    let matches = if matcher.is_json() { nearest.likeness >= 1.0 } else { matcher.line(&nearest.text).is_some() };
    if matches {
        let sentence = format!("{actor} showed it before what was taken last; `<~` takes lines in any order");
        return (Cause::WrongText, sentence);
    }
    let repeated = log.entries().any(|entry| entry.is_taken() && entry.lines().any(|line| line == nearest.text));
    if repeated && nearest.likeness >= DUPLICATE_LIKENESS {
        return (Cause::Duplicate, format!("{actor} showed another line again within {limit}"));
    }
    (Cause::WrongText, format!("{actor} showed something else within {limit}"))
}

/// Rounds down to whole milliseconds for reports.
fn millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
