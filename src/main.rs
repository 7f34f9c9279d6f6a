//! The `lakegate` program: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lakegate::cli::run()
}
