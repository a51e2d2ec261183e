//! Scores in thousandths of a point: the worth of a case and of its checks, and the earned points.
//!
//! A case without `points=` is worth the sum of its checks' points, or 1 if no check has points. Checks without
//! `points=` share the points that the other checks leave. Points without a check are earned by passing the whole case.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::runner::report::outcome::{CaseResult, CheckResult, Verdict};

/// A number of points, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Score(u64);

impl Score {
    /// A whole number of points.
    #[must_use]
    pub fn whole(points: u32) -> Self {
        Self(u64::from(points) * 1000)
    }
}

/// The worth of a case.
#[must_use]
pub fn worth(result: &CaseResult) -> Score {
    Score::whole(result.case.points.unwrap_or(1))
}

/// The worth of each check of a case.
#[must_use]
pub fn shares(result: &CaseResult) -> Vec<Score> {
    let open = result.checks.iter().filter(|check| check.points.is_none()).count() as u64;
    let rest = worth(result).0.saturating_sub(given(&result.checks).0);
    let share = Score(rest.checked_div(open).unwrap_or(0));
    result.checks.iter().map(|check| check.points.map_or(share, Score::whole)).collect()
}

/// The earned points of a case.
#[must_use]
pub fn earned(result: &CaseResult) -> Score {
    match result.verdict {
        // The failed attempt counts as much as the passed one.
        Verdict::Passed if result.is_flaky() && !result.case.attempt.lenient => Score::default(),
        Verdict::Passed => worth(result),
        Verdict::Failed(_) => {
            let passed = result.checks.iter().zip(shares(result)).filter(|(check, _)| check.passed == Some(true));
            passed.map(|(_, share)| share).sum()
        }
        Verdict::Skipped(_) | Verdict::NotRun(_) => Score::default(),
    }
}

/// The sum of the points that checks give explicitly.
fn given(checks: &[CheckResult]) -> Score {
    checks.iter().filter_map(|check| check.points).map(Score::whole).sum()
}

impl std::iter::Sum for Score {
    fn sum<I: Iterator<Item = Score>>(scores: I) -> Score {
        scores.fold(Score::default(), |sum, score| Score(sum.0.saturating_add(score.0)))
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        match rest {
            0 => write!(f, "{whole}"),
            _ => write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0')),
        }
    }
}

impl Serialize for Score {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 thousandths")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1000 {
            0 => serializer.serialize_u64(self.0 / 1000),
            _ => serializer.serialize_f64(self.0 as f64 / 1000.0),
        }
    }
}
