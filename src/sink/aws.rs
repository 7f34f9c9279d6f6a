//! What the services of AWS have in common: how a client is made, how a call is written and read, the meaning of errors.
//!
//! `connect`: the SDK's settings · `body`: the request body · `call`: one call · `error`: the meaning of an error

mod body;
mod call;
mod connect;
mod error;

pub(super) use body::JsonBody;
pub(super) use call::{GoodAnswer, in_words, read_answer, read_error, set_body};
pub(super) use connect::{Endpoint, connect};
pub(super) use error::read_service_error;
