//! Why the rack stops before its table is complete, and with which exit code.

use std::fmt;
use std::process::ExitCode;

/// What stopped the rack.
#[derive(Debug)]
pub enum Failure {
    /// What it was given cannot be used. Nothing has begun. One line, and exit code 2, as for a misspelt option.
    Refused(String),
    /// Something failed while it worked. Exit code 1.
    Broken(String),
}

impl Failure {
    /// Refuses, for `reason`.
    pub fn refused(reason: impl fmt::Display) -> Self {
        Self::Refused(one_line(&reason.to_string()))
    }

    /// Gives up, for `reason`.
    pub fn broken(reason: impl fmt::Display) -> Self {
        Self::Broken(reason.to_string())
    }

    /// What the program answers to the one that called it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) => ExitCode::from(2),
            Self::Broken(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) | Self::Broken(reason) => f.write_str(reason),
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(Failure::refused("cannot\n  open\tit\n").to_string(), "cannot open it");
    }
}
