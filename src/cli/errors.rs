//! The answer to a command line that starts no role: requested text, or one sentence about a mistake.

use std::error::Error as _;
use std::fmt::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::proto::status::Status;
use crate::runner::lang::diagnostics::LoadError;

/// The answer to print instead of starting a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EarlyExit {
    /// Requested text, such as help, for standard output.
    Text(String),
    /// One sentence about a wrong argument, for standard error.
    Wrong(String),
    /// Why a file of the command line cannot be used, for standard error, and the exit status.
    Refused(Status, String),
}

impl From<String> for EarlyExit {
    fn from(sentence: String) -> Self {
        Self::Wrong(sentence)
    }
}

impl From<LoadError> for EarlyExit {
    fn from(refusal: LoadError) -> Self {
        let status = match &refusal {
            LoadError::Unreadable { .. } => Status::Environment,
            LoadError::Mistakes(_) => Status::Parse,
        };
        Self::Refused(status, refusal.to_string().trim_end().to_owned())
    }
}

/// Replaces the message of clap by one sentence.
pub(crate) fn early_exit(error: &clap::Error) -> EarlyExit {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    // clap appends the names of the values to an option.
    let option = argument.split([' ', '=']).next().unwrap_or_default().to_owned();
    let sentence = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return EarlyExit::Text(error.to_string()),
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand).unwrap_or(argument);
            let mut sentence = format!("There is no argument {word:?}");
            let suggestion = text(ContextKind::SuggestedArg).or_else(|| text(ContextKind::SuggestedSubcommand));
            match suggestion {
                Some(suggestion) => _ = write!(sentence, ", did you mean {suggestion}?"),
                None => sentence.push_str("; chat --help shows what there is."),
            }
            sentence
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_none_or(|value| value.is_empty()) => {
            format!("{option} needs a value; chat --help shows which.")
        }
        ErrorKind::ArgumentConflict => match text(ContextKind::PriorArg) {
            Some(prior) if option.is_empty() => {
                format!("There are more words than `{prior}` takes; chat --help shows what goes with what.")
            }
            Some(prior) if prior != argument => {
                let prior = prior.split(' ').next().unwrap_or_default();
                format!("{option} and {prior} exclude each other.")
            }
            Some(_) => format!("{option} can be given only once."),
            None => format!("{option} cannot stand beside the other arguments."),
        },
        ErrorKind::MissingRequiredArgument => {
            let missing = option.trim_matches(|c| "<>[].".contains(c));
            format!("{missing} is missing; chat run --help shows what goes with what.")
        }
        // The error of the value parser is a full sentence.
        ErrorKind::ValueValidation => error.source().map(ToString::to_string).unwrap_or_default(),
        ErrorKind::TooManyValues => format!("{option} takes no value."),
        ErrorKind::InvalidUtf8 => "The arguments must be UTF-8 text.".to_owned(),
        _ => {
            let all = error.to_string();
            let first = all.lines().next().unwrap_or_default();
            format!("{}.", first.trim_start_matches("error: "))
        }
    };
    EarlyExit::Wrong(sentence)
}
