//! Lakegate.
pub mod auth;
pub mod config;
pub mod dead_letter;
pub mod decode;
pub mod enrich;
pub mod event;
pub mod json;
pub mod limits;
pub mod outcome;
pub mod rate_limit;
pub mod schema;
pub mod telemetry;
