//! The `lakegate` program: see the library.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How jemalloc is set; `_RJEM_MALLOC_CONF` in the environment goes before it. Two arenas instead of four for each
/// processor, and what is free goes back to the system after a second instead of ten: half of the memory under load, for no
/// more CPU. A thread looks through what it keeps for itself after each mebibyte that it was given instead of every 64 KiB,
/// which is each fifth request: a tenth of a request's instructions (docs/design.md).
#[allow(unsafe_code, reason = "the name is jemalloc's own, and nothing else has it")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8; 76] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,tcache_gc_incr_bytes:1048576\0";

fn main() -> ExitCode {
    lakegate::cli::run()
}
