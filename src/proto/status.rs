//! Exit statuses of the client, the server and the runner. The numbers are part of the command-line interface.

/// The reason for the end of a program, reported to its parent process. The first reason wins: see [`Status::or`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// Success. A closed pipe on standard output is also a success.
    #[default]
    Ok,
    /// Invalid arguments.
    Usage,
    /// The script or scenario cannot be parsed.
    Parse,
    /// The environment: a port cannot be bound, a server cannot be reached or started, or a file cannot be read.
    Environment,
    /// A command failed. In a scenario: a `!<` matched, or an actor ended early or with another status than expected.
    Failed,
    /// A `<` had no match within its time limit, or the deadline of the run passed.
    Expected,
    /// An error of the program itself: a panic.
    Internal,
    /// The signal with this number ended the program.
    Signal(u8),
}

impl Status {
    /// The exit status for the parent process: 0 to 6, or 128 plus the signal, as shells report it.
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

    /// Combines two statuses in time order: returns this one unless it is [`Status::Ok`], else `later`.
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
    fn the_first_failure_is_the_status() {
        assert_eq!(Status::Ok.or(Status::Failed), Status::Failed);
        assert_eq!(Status::Failed.or(Status::Signal(2)), Status::Failed);
        assert_eq!(Status::Signal(2).code(), 130);
    }
}
