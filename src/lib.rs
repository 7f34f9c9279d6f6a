//! Lakegate.
pub mod event;
pub mod limits;
pub mod sink;
