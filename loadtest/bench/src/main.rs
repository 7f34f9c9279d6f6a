//! `lakegate-bench COUNT [SCHEMAS]`: prints COUNT valid events, one per line, of all types in turn, each with an identity
//! and a time of its own: `cargo run -p lakegate-bench 1000 | curl --data-binary @- …`.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
    time::SystemTime,
};

use serde_json::{Value, json};
use uuid::Uuid;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().and_then(|count| count.parse().ok());
    let schemas = arguments.next().unwrap_or_else(|| "schemas".into());
    match count.ok_or_else(|| "usage: lakegate-bench COUNT [SCHEMAS]".into()).and_then(|count| print_events(count, &schemas)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
fn complain(error: &str) -> ExitCode {
    eprintln!("lakegate-bench: {error}");
    ExitCode::FAILURE
}

fn print_events(count: usize, schemas: &str) -> Result<(), String> {
    let templates = examples(schemas)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for template in templates.iter().cycle().take(count) {
        let mut event = template.clone();
        event["event_uuid"] = Uuid::now_v7().to_string().into();
        event["created_at"] = json!(unix_seconds());
        writeln!(out, "{event}").map_err(|error| error.to_string())?;
    }
    out.flush().map_err(|error| error.to_string())
}

/// The examples of the newest version of every schema.
fn examples(schemas: &str) -> Result<Vec<Value>, String> {
    let registry = lakegate::schema::load(Path::new(schemas)).map_err(|error| error.to_string())?;
    let mut templates = Vec::new();
    for (_, versions) in registry.iter() {
        let newest = versions.last().map(|schema| serde_json::from_str::<Value>(&schema.document));
        let document = newest.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        templates.extend(document["examples"].as_array().cloned().unwrap_or_default());
    }
    if templates.is_empty() { Err(format!("{schemas} holds no schema with examples")) } else { Ok(templates) }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_millis() as f64 / 1e3)
}
