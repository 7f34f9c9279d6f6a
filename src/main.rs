//! The `lakegate` program: see the library.

use std::process::ExitCode;

/// glibc's allocator keeps what bursts of large bodies used, once per core: 168 MiB where this one stays below 80
/// (`cargo test --test hostile`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lakegate::cli::run()
}
