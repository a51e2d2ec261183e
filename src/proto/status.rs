//! Exit statuses of the client, the server and the runner.

/// Why a program ended, as its parent process learns it. With several reasons, the first one's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// All well, also when the reader of our output went away.
    #[default]
    Ok,
    /// Wrong arguments.
    Usage,
    /// The script or scenario cannot be parsed.
    Parse,
    /// Cannot bind, cannot reach or start the server, cannot read the file.
    Environment,
    /// A command failed, a `!<` matched, an actor ended or had another status.
    Failed,
    /// A `<` found nothing in its time, or the deadline passed.
    Expected,
    /// A fault of the program itself.
    Internal,
    /// Ended by this signal.
    Signal(u8),
}

impl Status {
    /// The number that the parent process sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Usage => 1,
            Self::Parse => 2,
            Self::Environment => 3,
            Self::Failed => 4,
            Self::Expected => 5,
            Self::Internal => 6,
            Self::Signal(n) => 128 + (n & 127),
        }
    }

    /// This one, unless it is [`Status::Ok`]: then the later one.
    #[must_use]
    pub fn or(self, later: Status) -> Status {
        if self == Status::Ok { later } else { self }
    }
}

impl From<Status> for std::process::ExitCode {
    fn from(status: Status) -> Self {
        status.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        assert_eq!(Status::Ok.or(Status::Failed), Status::Failed);
        assert_eq!(Status::Failed.or(Status::Signal(2)), Status::Failed);
        assert_eq!(Status::Signal(2).code(), 130);
    }
}
