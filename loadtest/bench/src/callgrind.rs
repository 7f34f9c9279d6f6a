//! What valgrind's callgrind counted of a program's life (<https://valgrind.org/docs/manual/cl-format.html>).

use std::{collections::HashMap, io::BufRead};

use anyhow::Context;

/// How functions are called that give memory: the C library's, and jemalloc's.
const ALLOCATORS: [&str; 6] = ["malloc", "calloc", "realloc", "_rjem_malloc", "_rjem_calloc", "_rjem_realloc"];
/// SHA-256 without the processor's own instructions for it, which valgrind does not have.
const SOFT_SHA: &str = "sha2::sha256::soft";

/// Counts outside the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Instructions, save those of [`SOFT_SHA`].
    pub(crate) instructions: u64,
    /// Those of [`SOFT_SHA`].
    pub(crate) soft_sha: u64,
    /// Calls that ask for memory.
    pub(crate) allocations: u64,
}

/// Reads what callgrind wrote.
///
/// # Errors
/// A line that is none of its format.
pub(crate) fn read(profile: impl BufRead) -> anyhow::Result<Counts> {
    let mut names: HashMap<String, String> = HashMap::new();
    let (mut counts, mut is_sha, mut callee, mut is_of_callee) = (Counts::default(), false, String::new(), false);
    for line in profile.lines() {
        let line = line?;
        if let Some(function) = line.strip_prefix("fn=") {
            is_sha = name(&mut names, function).starts_with(SOFT_SHA);
        } else if let Some(function) = line.strip_prefix("cfn=") {
            callee = name(&mut names, function);
        } else if let Some(call) = line.strip_prefix("calls=") {
            let times = call.split(' ').next().and_then(|times| times.parse::<u64>().ok()).context("calls= without a number")?;
            if ALLOCATORS.contains(&callee.as_str()) {
                counts.allocations += times;
            }
            is_of_callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            // What a call cost in all follows its line, and is counted where it was spent.
            if !std::mem::take(&mut is_of_callee) {
                let cost =
                    line.rsplit(' ').next().and_then(|cost| cost.parse::<u64>().ok()).context("a cost without a number")?;
                *(if is_sha { &mut counts.soft_sha } else { &mut counts.instructions }) += cost;
            }
        }
    }
    Ok(counts)
}

/// The name in `(7) name`, which `(7)` alone means from then on.
fn name(names: &mut HashMap<String, String>, text: &str) -> String {
    match text.split_once(' ') {
        Some((id, name)) => {
            names.insert(id.to_owned(), name.to_owned());
            name.to_owned()
        }
        None => names.get(text).cloned().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
version: 1
events: Ir
fl=(1) a.rs
fn=(1) main
16 400
cfn=(2) _rjem_malloc
calls=3 51
16 600
+1 5
fn=(2)
51 600
fn=(3) sha2::sha256::soft::compress
* 7000
+2 1
fn=(1)
cfn=(2)
calls=2 51
-4 50
totals: 8056
";

    #[test]
    fn what_a_call_cost_is_counted_where_it_was_spent() {
        let counts = read(PROFILE.as_bytes()).unwrap();
        assert_eq!(counts, Counts { instructions: 1005, soft_sha: 7001, allocations: 5 });
    }

    #[test]
    fn what_is_no_profile_is_an_error() {
        assert!(read(&b"fn=(1) main\n16 many\n"[..]).is_err());
    }
}
