//! The bench once through, unoptimised, against the gateway that `cargo test --workspace` builds beside it.

use std::{path::Path, process::Command};

#[test]
fn all_of_the_bench_runs_and_every_answer_and_count_is_right() {
    let bench = Path::new(env!("CARGO_BIN_EXE_lakegate-bench"));
    let gateway = bench.with_file_name("lakegate");
    assert!(gateway.exists(), "{} is not there: cargo test --workspace builds it", gateway.display());
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let mut command = Command::new(bench);
    command.args(["run", "--smoke", "--data", env!("CARGO_TARGET_TMPDIR")]).arg("--gateway").arg(gateway);
    command.args(["--servers", "bare,parse,kinesis,kpl,firehose,firehose-ndjson,lake"]);
    let status = command.arg("--schemas").arg(schemas).status().unwrap();
    assert!(status.success(), "{status}");
}
