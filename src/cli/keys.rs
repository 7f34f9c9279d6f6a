//! `lakegate keys`

use std::process::ExitCode;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::output_format::print;
use crate::{
    auth::secret_sha256,
    config::{KeyConfig, KeyKind, check_keys},
};

/// Random bytes of a secret: too many to guess, and as many characters as a UUID.
const SECRET_BYTES: usize = 27;

/// Make keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key: print its secret, for the sender, and its lines for the configuration, which hold only a hash.
    New(NewArgs),
}

/// What a new key may do.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// Name of the key; its events have it as their `source`.
    name: String,
    /// Where the key is used.
    ///
    /// A server key is a secret of a service. A browser key is in web pages, so everyone can read it.
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// For browser keys: origin of pages that may use it, such as https://menu.example; repeatable.
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Events that it may send, such as "menu:*"; repeatable [default: all].
    #[arg(long = "events", value_name = "PATTERN")]
    events: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Kind {
    #[default]
    Server,
    Browser,
}

/// The keys in the form of the configuration.
#[derive(Serialize)]
struct Keys {
    keys: [KeyConfig; 1],
}

pub(super) fn run(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    let KeysCommand::New(args) = command;
    let mut random = [0; SECRET_BYTES];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut random).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    let secret = URL_SAFE_NO_PAD.encode(random);
    let key = KeyConfig {
        kind: match args.kind {
            Kind::Server => KeyKind::Server,
            Kind::Browser => KeyKind::Browser,
        },
        allowed_origins: args.origins.clone(),
        allowed_events: args.events.clone(),
        ..KeyConfig::new(&args.name, secret_sha256(&secret))
    };
    let keys = [key];
    check_keys(&keys).map_err(|(key, reason)| anyhow::anyhow!("{key}: {reason}"))?;
    let keys = toml::to_string(&Keys { keys })?;
    print(format_args!("# The secret, for the sender; it is shown this once and stored nowhere: {secret}\n{keys}"))?;
    Ok(ExitCode::SUCCESS)
}
