//! Words that scripts of one client and scenarios share: expectations, `sleep`, `set`, durations.

use std::time::Duration;

/// How an expectation looks at a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `<`: the first match at or after the cursor, which moves behind it.
    Next,
    /// `<~`: anything since the last mark that nothing has taken; the cursor stays.
    Any,
    /// `!<`: nothing from the cursor to the end of the window; moves nothing.
    Never,
}

impl How {
    /// How long `<` and `<~` wait: longer than five retries of 500 ms.
    pub const LIMIT: Duration = Duration::from_secs(4);
    /// How long `!<` listens: longer than one ack timeout.
    pub const QUIET: Duration = Duration::from_millis(700);

    /// How long it waits or listens where the line says nothing.
    #[must_use]
    pub const fn default_limit(self) -> Duration {
        match self {
            Self::Next | Self::Any => Self::LIMIT,
            Self::Never => Self::QUIET,
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Next => "<",
            Self::Any => "<~",
            Self::Never => "!<",
        }
    }
}
