//! **Lakegate**: the gate through which every event of a company enters its data lake.
//!
//! Browsers and services POST JSON events over HTTPS. Lakegate checks the key and the rate, validates each event against
//! a schema registry, adds the derived fields, drops duplicates by `event_uuid`, keeps what it accepted on disk, and
//! delivers it. This page is the architecture.
//!
//! # The way of an event
//!
//! ```text
//! bytes ─▶ authorize ─▶ decode ─▶ validate ─▶ enrich ─▶ claim ─▶ append ─▶ confirm ─▶ answer
//!          auth         inflate   schema      envelope  dedup    spool     dedup      one outcome
//!          http         split                           window   fsync     window     per event
//!
//!          spool ─▶ batch or call ─▶ sink ─▶ cursor ─▶ unlink      rejected ─▶ dead letters
//!                   deliver          lake    spool     after dedup             files, or a
//!                                    kinesis           is sealed               stream of their own
//! ```
//!
//! 1. [`http`] reads who sends ([`auth`]) and the body, under caps that hold for one request and for all of them together.
//! 2. [`ingest`] validates: [`decode`] inflates and splits the body and reads the fields every event has from a tape of
//!    offsets ([`json`]), [`schema`] validates that tape, and what is valid becomes a record ([`event`]): the client's
//!    bytes with an envelope beside them. This half is a pure function, and a panic in it costs one event.
//! 3. [`ingest`] stores: [`dedup`] says which identities are fresh, here and, where one is configured, in the store that a
//!    fleet of gateways shares; [`spool`] appends their records and syncs them, many
//!    requests with one `fdatasync`; on the spool's own thread, in its order, the claims are confirmed. So a client that
//!    hangs up changes nothing, and an identity is known exactly if its event is durable.
//! 4. What was rejected is in the dead letters ([`dead_letters`]) before it is answered so.
//! 5. [`deliver`] reads from the [`spool`], gives to a [`sink`], obeys each record's own result, moves the cursor, and
//!    unlinks a segment once the dedup window has its identities on disk. For the lake it goes stretch by stretch, since
//!    files are named by them; for Kinesis many calls are in flight, and a journal knows what the stream has beyond the
//!    cursor ([`progress`] holds the same as a set).
//! 6. A person looks into the dead letters, and what is mended goes the same way again: [`repair`].
//!
//! # The map
//!
//! Imports run downward only (`tests/it/tidy.rs` checks it).
//!
//! | layer | modules |
//! |---|---|
//! | vocabulary | [`limits`], [`fault`], [`durable`], [`conditions`], [`clock`], [`bounded_map`], [`event`], [`json`], [`outcome`], [`progress`], [`config`], [`telemetry`] |
//! | components | [`plan`], [`auth`], [`rate_limit`], [`body_budget`], [`work_pool`], [`key_shares`], [`decode`], [`schema`], [`enrich`], [`dedup`], [`spool`], [`sink`] |
//! | flows | [`dead_letters`], [`ingest`], [`deliver`], [`repair`], [`disk_headroom`] |
//! | edge | [`tls`], [`http`] |
//! | whole | [`app`], [`cli`] |
//!
//! # The promises
//!
//! | | promise | where it is kept |
//! |---|---|---|
//! | P1 | Acknowledged means durable | `ingest/store.rs`: the outcome exists only after the spool's callback |
//! | P2 | One outcome per event | `ingest.rs`: one `Fate` per element; the ledger of [`telemetry`] |
//! | P3 | Nothing vanishes silently | [`dead_letters`]; `deliver.rs`: absence is `Retry` |
//! | P4 | A duplicate never reaches the stream | [`dedup`]: full identities, confirmed only when durable |
//! | P5 | Everything has a limit | [`limits`] |
//! | P6 | What the client wrote is what the lake gets | [`json`], [`enrich`]: bytes are spliced, never re-serialised |
//! | P7 | A fault is met where it is, and said | [`fault`]: what an error means; [`conditions`]: what `/readyz` lists |

pub mod limits;

pub mod bounded_map;
pub mod clock;
pub mod conditions;
pub mod durable;
pub mod fault;

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

pub mod sink;

pub mod dead_letters;
pub mod ingest;

pub mod deliver;
pub mod disk_headroom;
pub mod repair;

pub mod http;
pub mod tls;

pub mod app;
pub mod cli;
