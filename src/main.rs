//! The `lakegate` program: see the library.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The jemalloc settings. `_RJEM_MALLOC_CONF` in the environment overrides them. Two arenas instead of four per processor, and
/// free memory returned to the system after one second instead of ten, halve the memory under load for no more CPU time. A
/// thread checks its cache after each allocated mebibyte instead of after 64 KiB (every fifth request), which saves a tenth of
/// a request's instructions (docs/design.md).
#[allow(unsafe_code, reason = "the name is jemalloc's own, and nothing else has it")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8; 76] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,tcache_gc_incr_bytes:1048576\0";

fn main() -> ExitCode {
    lakegate::cli::run()
}
