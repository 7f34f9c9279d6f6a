//! `lakegate keys new`.

use clap::{Args, ValueEnum};

use super::secrets::{as_toml, make_secret};
use crate::{
    auth::secret_sha256,
    cli::output_format::print,
    config::{KeyConfig, KeyKind, check_keys},
};

/// What a new key may do.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewArgs {
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

pub(super) fn run(args: &NewArgs) -> anyhow::Result<()> {
    let secret = make_secret()?;
    let key = KeyConfig {
        kind: match args.kind {
            Kind::Server => KeyKind::Server,
            Kind::Browser => KeyKind::Browser,
        },
        allowed_origins: args.origins.clone(),
        allowed_events: args.events.clone(),
        ..KeyConfig::new(&args.name, secret_sha256(&secret))
    };
    check_keys(std::slice::from_ref(&key)).map_err(|(key, reason)| anyhow::anyhow!("{key}: {reason}"))?;
    let lines = as_toml(key)?;
    print(format_args!("# The secret, for the sender; it is shown this once and stored nowhere: {secret}\n{lines}"))?;
    Ok(())
}
