//! `lakegate errors`: every stable code, from the code itself. `ERRORS.md` is its output.

use std::{fmt::Write, process::ExitCode};

use crate::{
    http::problem::{Problem, ProblemCode},
    limits::HEADER_READ_TIMEOUT,
    outcome::{RejectCode, RetryCause},
};

#[allow(clippy::print_stdout, reason = "this is what standard output is for")]
#[allow(clippy::unnecessary_wraps, reason = "as every command does")]
pub(super) fn run() -> anyhow::Result<ExitCode> {
    print!("{}", page());
    Ok(ExitCode::SUCCESS)
}

fn page() -> String {
    let mut page = String::from(
        "# Codes\n\n`lakegate errors` prints this page; a test compares the two. The codes are stable: match on them, and not on the texts \
         beside them.\n\n## Of a request\n\nAs `application/problem+json` with `code`, or in `Lakegate-Code` of the pixel. Nothing of the request was \
         taken, unless it has counts and `results`.\n\n| status | code | title | send it again? |\n|---|---|---|---|\n",
    );
    let mut problems = ProblemCode::ALL.map(|code| (code.parts(), Problem::may_be_repeated(code)));
    problems.sort_by_key(|((status, code, _), _)| (status.as_u16(), *code));
    for ((status, code, title), again) in problems {
        let again = if again { "yes, later" } else { "not as it is" };
        let _ = writeln!(page, "| {} | `{code}` | {title} | {again} |", status.as_u16());
    }
    let idle = HEADER_READ_TIMEOUT.as_secs();
    let _ = write!(
        page,
        "\nWhat is not HTTP as far as the end of its head, or has a head beyond all measure, is no request: it is answered 400, 414 or \
         431 without a body, or not at all, and its connection is closed. A connection on which nothing has begun for {idle} s is \
         closed without a word.\n"
    );
    page.push_str("\n## Of an event\n\nIn `results`: `rejected` is for good, and the event is in the dead letters.\n\n");
    page.push_str("| status | code | meaning |\n|---|---|---|\n");
    for code in RejectCode::IN_ANSWERS.into_iter().chain([RejectCode::RefusedBySink]) {
        let _ = writeln!(page, "| rejected | `{}` | {} |", code.as_str(), code.meaning());
    }
    for cause in RetryCause::ALL {
        let _ = writeln!(page, "| retry | `{}` | {} |", cause.as_str(), cause.detail());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_program_prints() {
        let found = include_str!("../../ERRORS.md");
        assert!(found == page(), "ERRORS.md is stale: `cargo run -q -- errors > ERRORS.md`");
    }
}
