//! `lakegate errors`: every stable code, from the source. `ERRORS.md` is its output.

use std::{fmt::Write, process::ExitCode};

use super::{
    failure::EXIT_CONFIG,
    output_format::print,
    serve::{EXIT_AT_ONCE, EXIT_DISK_FAILED, EXIT_INTERNAL, EXIT_NOT_STARTED},
};
use crate::{
    conditions::Condition,
    http::problem::{Problem, ProblemCode},
    limits::IDLE_TIMEOUT,
    outcome::{RejectCode, RetryCause},
};

/// The exit codes of `lakegate serve`.
const EXIT_CODES: [(u8, &str, &str); 6] = [
    (0, "It was asked to stop, by SIGTERM or SIGINT, and did.", "no"),
    (
        EXIT_NOT_STARTED,
        "It could not start: an address in use, a folder that cannot be used, a damaged certificate. The last line says which.",
        "yes",
    ),
    (EXIT_INTERNAL, "A thread or a task of the program died: a bug. The log has a line `a panic` with its place.", "yes"),
    (EXIT_DISK_FAILED, "The disk failed: what it holds is known after a restart only.", "yes"),
    (EXIT_CONFIG, "The configuration is wrong, or `require_existing_data` found no data.", "no: nothing will change"),
    (EXIT_AT_ONCE, "It was asked a second time while it stopped, and ended at once.", "no"),
];

pub(super) fn run() -> anyhow::Result<ExitCode> {
    print(page())?;
    Ok(ExitCode::SUCCESS)
}

fn page() -> String {
    let mut page = String::from(
        "# Codes\n\n`lakegate errors` prints this page; a test compares the two. A gateway shows the codes at `/errors`, and the `type` of each \
         problem links there. The codes are stable: match on them, and not on the texts \
         beside them.\n\n## Of a request\n\nAs `application/problem+json` with `code`, or in `Lakegate-Code` of the pixel. Nothing of the request was \
         taken, unless it has counts and `results`.\n\n| status | code | title | what to do | send it again? |\n|---|---|---|---|---|\n",
    );
    let mut problems = ProblemCode::ALL;
    problems.sort_by_key(|code| (code.parts().0.as_u16(), code.as_str()));
    for problem in problems {
        let (status, code, title) = problem.parts();
        let again = if Problem::may_be_repeated(problem) { "yes, later" } else { "not as it is" };
        let _ = writeln!(page, "| {} | `{code}` | {title} | {} | {again} |", status.as_u16(), problem.advice());
    }
    let idle = IDLE_TIMEOUT.as_secs();
    let _ = write!(
        page,
        "\nWhat is not HTTP as far as the end of its head, or has a head beyond all measure, is no request: it is answered 400, 414 or \
         431 without a body, or not at all, and its connection is closed. A connection on which nothing has begun for {idle} s is \
         closed without a word (`http.idle_timeout_seconds`). Plain HTTP on the port for HTTPS is answered 400 with a line of text that \
         names the URL to use.\n"
    );
    page.push_str("\n## Of an event\n\nIn `results`: `rejected` is for good, and the event is in the dead letters.\n\n");
    page.push_str("| status | code | meaning | what to do |\n|---|---|---|---|\n");
    for code in RejectCode::IN_ANSWERS.into_iter().chain([RejectCode::ConflictingDuplicate]) {
        let _ = writeln!(page, "| rejected | `{}` | {} | {} |", code.as_str(), code.meaning(), code.advice());
    }
    for cause in RetryCause::ALL {
        let _ = writeln!(page, "| retry | `{}` | {} | Send it again after `Retry-After`. |", cause.as_str(), cause.detail());
    }
    page.push_str(
        "\n## Of the gateway\n\nIn `reasons` of `/readyz`, and as `code` of the gauge `lakegate_condition`, until it is over. One that \
         blocks makes `/readyz` answer 503: no event is stored while it holds. The others are warnings.\n\n",
    );
    page.push_str("| code | blocks | what it means, and what the gateway does | what a person does |\n|---|---|---|---|\n");
    for condition in Condition::ALL {
        let blocks = if condition.blocks() { "yes" } else { "no" };
        let _ = writeln!(page, "| `{}` | {blocks} | {} | {} |", condition.code(), condition.meaning(), condition.action());
    }
    page.push_str("\n## Of the program\n\nIts exit code. Whatever ends it, what was acknowledged is on disk.\n\n");
    page.push_str("| exit code | meaning | restart it? |\n|---|---|---|\n");
    for (code, meaning, restart) in EXIT_CODES {
        let _ = writeln!(page, "| {code} | {meaning} | {restart} |");
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
