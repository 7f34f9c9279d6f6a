//! Keys: where a request may carry them, how they are rotated and revoked, and that nothing that is written shows them.

mod commands;
mod expiry;
mod places;
mod redaction;
mod rotation;

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use fastrand::Rng;
use sha2::{Digest, Sha256};

use crate::support::{client::Post, events};

const LIMIT: Duration = Duration::from_secs(30);

fn sha256(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first digits of the hash, which name a secret.
fn id(secret: &str) -> String {
    sha256(secret)[..8].to_owned()
}

/// The lines of a key.
fn key(name: &str, secret: &str, more: &str) -> String {
    format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{}\"\n{more}\n", sha256(secret))
}

/// One event, without a key.
fn event() -> Post {
    Post::json(events::small(events::identity(&mut Rng::new()))).without("x-api-key")
}

fn bearer(secret: &str) -> Post {
    event().header("authorization", format!("Bearer {secret}"))
}

/// `lakegate keys …`, without the variables of this process.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
        command.env_remove(name);
    }
    command.arg("keys").args(words);
    command
}

/// Exit code, standard output and standard error.
fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The same for the file `config`. What it says on standard output and on standard error; panics if it fails.
fn keys(config: &Path, words: &[&str]) -> (String, String) {
    let output = command(words).arg("--config").arg(config).output().expect("it runs");
    let (code, out, err) = ended(&output);
    assert_eq!(code, Some(0), "{words:?}: {out}{err}");
    (out, err)
}

/// The secret that `new` or `rotate` printed.
fn printed_secret(out: &str) -> String {
    let line = out.lines().find(|line| line.starts_with("# The secret, for the sender")).unwrap_or_else(|| panic!("{out}"));
    line.rsplit(' ').next().expect("a secret").to_owned()
}
