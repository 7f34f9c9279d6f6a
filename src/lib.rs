//! **Lakegate**: the gateway through which every event of a company enters its data lake.
//!
//! Browsers and services POST JSON events over HTTPS. Lakegate checks the key and the rate limits, validates each event against
//! a schema registry, adds the derived fields, drops duplicates by `event_uuid`, stores the accepted events on disk, and
//! delivers them. This page describes the architecture.
//!
//! # The path of an event
//!
//! ```text
//! bytes ─▶ authorize ─▶ decode ─▶ validate ─▶ enrich ─▶ claim ─▶ append ─▶ confirm ─▶ answer
//!          auth         inflate   schema      envelope  dedup    spool     dedup      one outcome
//!          http         split                           window   fsync     window     per event
//!
//!          spool ─▶ batch or call ─▶ sink ─▶ cursor ─▶ unlink      rejected ─▶ dead letters
//!                   deliver          lake    spool     after dedup             files, or a
//!                                    stream            is sealed               stream of their own
//! ```
//!
//! 1. [`http`] reads the sender ([`auth`]) and the body. Limits hold for each request and for all requests together.
//! 2. [`ingest`] validates. [`decode`] inflates and splits the body, and reads the fields that every event has from a tape of
//!    offsets ([`json`]). [`schema`] validates that tape. A valid event becomes a record ([`event`]): the client's bytes with
//!    an envelope beside them. This half is a pure function, and a panic in it affects one event only.
//! 3. [`ingest`] stores. [`dedup`] says which identities are fresh: in this gateway and, if configured, in the store that a
//!    fleet of gateways shares. [`spool`] appends the records and syncs them: one `fdatasync` serves many requests. The spool's
//!    own thread confirms the claims in spool order. So a client that disconnects changes nothing, and an identity is known
//!    if and only if its event is durable.
//! 4. A rejected event is in the dead letters ([`dead_letters`]) before the answer reports the rejection.
//! 5. [`deliver`] reads from the [`spool`], passes records to a [`sink`], obeys the result of each record, advances the cursor,
//!    and unlinks a segment when the dedup window has its identities on disk. The lake is written stretch by stretch, because
//!    files are named by stretches. For a stream many calls are in flight, and a journal records what it has beyond the
//!    cursor ([`progress`] holds the same as a set).
//! 6. An operator watches events as they come in ([`live_events`]), and inspects the dead letters. Repaired events take the same path again: [`repair`]. The events of a person are
//!    erased from every place on this path: [`erasure`].
//!
//! # The modules
//!
//! Imports run downward only (`tests/it/tidy.rs` checks it).
//!
//! | layer | modules |
//! |---|---|
//! | vocabulary | [`limits`], [`fault`], [`durable`], [`conditions`], [`clock`], [`bounded_map`], [`digest`], [`unique_names`], [`event`], [`json`], [`outcome`], [`progress`], [`config`], [`telemetry`] |
//! | components | [`plan`], [`auth`], [`rate_limit`], [`body_budget`], [`work_pool`], [`key_shares`], [`decode`], [`schema`], [`enrich`], [`dedup`], [`spool`], [`ledger`], [`sink`], [`live_events`], [`overview`] |
//! | flows | [`dead_letters`], [`ingest`], [`deliver`], [`repair`], [`erasure`], [`find`], [`disk_headroom`], [`rig`] |
//! | edge | [`tls`], [`http`] |
//! | whole | [`app`], [`cli`] |
//!
//! # The promises
//!
//! | | promise | where it is kept |
//! |---|---|---|
//! | P1 | Acknowledged means durable | `ingest/store.rs`: the outcome exists only after the spool's callback |
//! | P2 | One outcome per event | `ingest.rs`: one `Fate` per element; the ledger of [`telemetry`] |
//! | P3 | Nothing vanishes silently | [`dead_letters`]; `deliver.rs`: a missing result is `Retry` |
//! | P4 | A duplicate never reaches the stream | [`dedup`]: full identities, confirmed only when durable |
//! | P5 | Everything has a limit | [`limits`] |
//! | P6 | What the sender wrote is what the sink gets | [`json`], [`enrich`]: bytes are spliced, never re-serialised |
//! | P7 | A fault is handled where it is, and reported | [`fault`]: what an error means; [`conditions`]: what `/readyz` lists |

pub mod limits;

pub mod bounded_map;
pub mod clock;
pub mod conditions;
pub mod digest;
pub mod durable;
pub mod fault;
pub mod unique_names;

pub mod event;
pub mod json;
pub mod outcome;
pub mod progress;

pub mod config;
pub mod telemetry;

pub mod plan;

pub mod auth;
pub mod body_budget;
pub mod key_shares;
pub mod rate_limit;
pub mod work_pool;

pub mod decode;
pub mod schema;

pub mod enrich;

pub mod dedup;
pub mod spool;

pub mod ledger;

pub mod sink;

pub mod live_events;
pub mod overview;

pub mod dead_letters;
pub mod ingest;

pub mod deliver;
pub mod disk_headroom;
pub mod erasure;
pub mod find;
pub mod repair;
pub mod rig;

pub mod http;
pub mod tls;

pub mod app;
pub mod cli;
