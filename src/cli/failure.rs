//! How a command reports an error, and its exit code.

use std::{io, process::ExitCode};

use crate::sink::lake::LakeError;

/// Exit code for a wrong configuration or command line (sysexits' `EX_CONFIG`).
pub(super) const EXIT_CONFIG: u8 = 78;

#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
pub(super) fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("lakegate: {}", in_full(error));
    ExitCode::from(code)
}

/// Prints a notice on standard error that an old name was used, and its replacement.
#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
pub(super) fn notice(text: &str) {
    eprintln!("lakegate: {text}");
}

/// Whether the reader of a pipe has closed it.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| match cause.downcast_ref() {
        Some(LakeError::Output(error)) => is_broken(error),
        _ => cause.downcast_ref().is_some_and(is_broken),
    })
}

/// An error with its causes, without causes that its own text already contains.
pub(super) fn in_full(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        cause if text.is_empty() => cause,
        cause if text.contains(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_each_cause_once() {
        let cause = std::io::Error::other("no such folder");
        let error = anyhow::Error::new(cause).context("data: no such folder").context("nothing was started");
        assert_eq!(in_full(&error), "nothing was started: data: no such folder");
    }
}
