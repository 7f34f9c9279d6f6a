//! Limits of the listener, and of a request and its events.

use std::time::Duration;

use super::units::{KIB, MIB};

// ---- the edge --------------------------------------------------------------------------------------------------------

/// Bytes of a request body as received, before inflation.
/// Why: eight times Segment's 500 KB batch; a client that needs more should send two requests.
pub const BODY_BYTES_MAX: usize = 4 * MIB;

/// Bytes of a request body after inflation.
/// Why: JSON of events compresses 4 to 10 times; a body that inflates further is a zip bomb, not a batch.
pub const INFLATED_BYTES_MAX: usize = 16 * MIB;

/// Compressed streams that may follow each other in one body.
/// Why: a client that compresses each event separately makes one stream per event, and a usual batch has hundreds. Each stream
/// costs the state of a decoder, some 10 µs, so a thousand cost as much as a large body may.
pub const COMPRESSED_STREAMS_MAX: usize = 1_000;

/// Inflated bytes allowed per compressed byte: for a body with a browser key, and with a server key.
/// Why: real events compress 5 to 15 times; a service's log of one kind of event some 40 times. A body that inflates further is
/// only repetition, and costs its sender almost nothing.
pub const INFLATE_RATIO_MAX: (usize, usize) = (15, 64);

/// Bytes that a compressed body of any size may inflate to.
/// Why: an event with much padding, alone in its body, may compress better than events usually do. A larger allowance would let
/// a body of some bytes fill a hundred times as many bytes of the spool.
pub const INFLATE_ALLOWANCE_BYTES: usize = KIB;

/// Least number of bytes by which the memory of an inflating body grows.
/// Why: memory is reserved from the budget before it is used, and a step costs less than a microsecond.
pub const INFLATE_STEP_BYTES: usize = 64 * KIB;

/// Bytes of memory for each byte of a body in validation, in quarters: the body itself, and the frames of its events with their
/// envelopes, a fifth longer than the events and rounded up. During inflation the decoder's window takes their place.
/// Why: `FrameBuffer` is created with this capacity.
pub const BODY_MEMORY_QUARTERS: usize = 9;

/// Bytes of memory for each event of a body while the event is validated and stored.
/// Why: its verdict, identity, claim, position in the spool and outcome, some 40 bytes each.
pub const EVENT_MEMORY_BYTES: usize = 256;

/// Bytes of all requests in memory at one time: bodies as received and inflated, frames, dead letters, answers.
/// Why: bounds memory for any number of clients; beyond it the answer is 503 with `Retry-After`. Four largest requests fit.
pub const BODIES_IN_FLIGHT_BYTES_MAX: usize = 160 * MIB;

/// Bytes of bodies that one client address may always have in flight, regardless of other traffic with the same key.
/// Why: browsers send at most 64 KiB with `sendBeacon` and `fetch` with `keepalive`; visitors must not wait for a client that
/// abuses the key of their page.
pub const BEACON_BYTES_MAX: usize = 64 * KIB;

/// Time a client has to send its request body once the headers are read.
/// Why: 4 MiB in 20 s is 1.6 Mbit/s, slower than any mobile link worth waiting for (Snowplow answers 408 likewise).
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Time for which the rest of a refused body is read before the answer, so that the connection can be kept.
/// Why: enough for the bytes already on the network; a longer body is read after the answer ([`REFUSED_BODY_TIMEOUT`]).
pub const DRAIN_BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of a refused body that are read and discarded after the answer, so that its sender sees the answer.
/// Why: Python's urllib and requests read an answer only after they have sent everything, and a file of 32 MiB that is sent by
/// mistake is usual. A sender gains nothing: discarding costs less than a body that is accepted, no memory is held, and the
/// request was paid for by its address or key.
pub const REFUSED_BODY_BYTES_MAX: usize = 64 * MIB;

/// Time for which a refused body is read and discarded after the answer.
/// Why: as long as nginx (`lingering_time`); the connection counts against its address, and is the first to be closed for another.
pub const REFUSED_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Time within which a client must go on sending a refused body.
/// Why: as long as nginx (`lingering_timeout`); a client that sends nothing has read its answer, or is gone.
pub const REFUSED_BODY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Bytes of a refused body that are read at a time.
/// Why: one TLS record; each connection that lingers holds so much.
pub const REFUSED_BODY_PIECE_BYTES: usize = 16 * KIB;

/// Time a client has to send the head of a request, from its first byte.
/// Why: the defaults of nginx and Apache are between 20 and 60 s; a head is a few packets on any link.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for which a connection without an open request is kept.
/// Why: load balancers keep idle connections for 60 s (AWS, Azure and nginx by default); if the gateway closed first, a request
/// that is just being sent would be lost.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Time between two pings to a silent HTTP/2 client with an open request.
/// Why: a client that disappeared is noticed before its request times out.
pub const H2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Time between two attempts to close a connection for a connection that waits.
/// Why: a connection that is told to close does so within milliseconds; if none could be closed, one may be idle by then.
pub const MAKE_ROOM_INTERVAL: Duration = Duration::from_millis(100);

/// Time a client has to finish the TLS handshake.
/// Why: three round trips on the slowest satellite link take under 3 s.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes read of a plain HTTP request to the HTTPS port, to answer with a line that says so.
/// Why: the head of a browser with its cookies, and the body of a first attempt with curl.
pub const PLAIN_HTTP_BYTES_MAX: u64 = 16 * KIB as u64;

/// Time between two lines of the log that say that a client spoke TLS to a port of plain HTTP.
/// Why: anyone can cause it; once a minute is enough for a person who looks for the reason.
pub const TLS_HINT_INTERVAL: Duration = Duration::from_secs(60);

/// Connections open at one time.
/// Why: about 20 KiB each with TLS, 320 MiB in all; most of the usual descriptor limit of a service (65,536) is left free.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Connections open at one time from one client address.
/// Why: one address must not keep all others out; a carrier's shared address has a few hundred visitors at a time.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 4_096;

/// Time for which a client may read nothing of a pending answer.
/// Why: as long as a body may take to arrive.
pub const RESPONSE_WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// Time a client has to read an answer over HTTP/1, from the moment at which the client falls behind.
/// Why: the largest answer, 1 MiB, arrives in time over 140 kbit/s; over HTTP/2 the time is part of [`H2_REQUEST_TIMEOUT`].
pub const ANSWER_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for one request on an HTTP/2 connection, from its head to the end of its answer.
/// Why: a client that accepts no bytes of an answer, but answers pings, would hold the request for ever; a body,
/// `durability=delivered` and an answer at their longest add up to 65 s.
pub const H2_REQUEST_TIMEOUT: Duration = Duration::from_secs(75);

/// Bytes of an answer passed to an HTTP/2 connection at a time.
/// Why: the default frame size of HTTP/2; passed bytes stay in memory until the client accepts them.
pub const H2_PIECE_BYTES: usize = 16 * KIB;

/// Bytes of an HTTP/1.1 connection's read buffer, and therefore of a request's headers.
/// Why: hyper's own 400 KiB would be 6 GB with all connections; a pixel's address with cookies has 16 KiB.
pub const H1_BUFFER_BYTES_MAX: usize = 64 * KIB;

/// Bytes of the headers of an HTTP/2 request.
/// Why: headers that HTTP/1.1 clients can send fit too.
pub const H2_HEADER_BYTES_MAX: u32 = 32 * KIB as u32;

/// Streams of an HTTP/2 connection that its client reset before the gateway had looked at them.
/// Why: rapid reset (CVE-2023-44487) makes thousands; a browser that leaves a page makes a handful.
pub const H2_PENDING_RESETS_MAX: usize = 20;

/// Streams of an HTTP/2 connection that the gateway itself reset, because of what its client sent.
/// Why: "MadeYouReset" (CVE-2025-8671) provokes them; no sound client does.
pub const H2_LOCAL_RESETS_MAX: usize = 64;

/// Bytes of the header of the PROXY protocol.
/// Why: version 1 has 107; version 2 has 232 without the extensions that clouds add.
pub const PROXY_HEADER_BYTES_MAX: usize = 2 * KIB;

/// Networks in `proxy.trusted`.
/// Why: each is compared with each address of a forwarded request; the largest content networks list a few dozen.
pub const PROXY_NETWORKS_MAX: usize = 256;

/// Addresses examined in the `X-Forwarded-For` of one request.
/// Why: no request passes more proxies; a client can write thousands.
pub const FORWARDED_FOR_MAX: usize = 16;

/// Time between two checks of the certificate files.
/// Why: a new certificate is in use within seconds, at three system calls a check.
pub const CERTIFICATE_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Streams that one HTTP/2 connection may have open at one time.
/// Why: browsers use a handful; the cap bounds what one connection can make the gateway hold.
pub const H2_STREAMS_MAX: u32 = 128;

/// Characters of a request id that a client may send in `X-Request-Id`; a longer or malformed id is replaced.
/// Why: the id is logged; a UUID has 36 characters and a trace id 55.
pub const REQUEST_ID_CHARS_MAX: usize = 64;

// ---- a request and its events ----------------------------------------------------------------------------------------

/// Events in one request.
/// Why: 4 MiB of the smallest sensible events (200 B) are 20,000; half of that keeps one request under 100 ms of CPU.
pub const EVENTS_PER_REQUEST_MAX: usize = 10_000;

/// Bytes of one event as the client wrote it.
/// Why: a Kinesis record holds 1 MiB of data and key together; the rest is room for what the gateway adds
/// ([`ENVELOPE_BYTES_MAX`]) and the partition key (256 characters, up to 1 KiB of UTF-8).
pub const EVENT_BYTES_MAX: usize = MIB - 8 * KIB;

/// Bytes that the added fields take in a record, in any format.
/// Why: the names and values below, each at its own limit, with quotes and commas, stay well under this.
pub const ENVELOPE_BYTES_MAX: usize = 4 * KIB;

/// Headers for which a connection keeps the memory from one request to the next.
/// Why: services and browsers send some dozen. A hundred would be 13 KB for each of ten thousand connections.
pub const HEADERS_KEPT_MAX: usize = 24;

/// Values and names in one event.
/// Why: the most that [`EVENT_BYTES_MAX`] bytes can hold, two bytes each; bounds the parser's tape at 10 MB a request.
pub const EVENT_NODES_MAX: usize = EVENT_BYTES_MAX / 2;

/// Levels of nesting in one event.
/// Why: validators recurse; the deepest event we have seen has 9 levels.
pub const EVENT_DEPTH_MAX: usize = 64;

/// Levels of nesting at which a whole body is refused instead of one event.
/// Why: bounds the parser's stack (4 bytes a level); a body this deep is not a batch of events.
pub const BODY_DEPTH_MAX: usize = 1024;

/// Bytes of an `event_name`.
/// Why: the name becomes a folder name (255 bytes on Linux file systems) and a column repeated in every record.
pub const EVENT_NAME_BYTES_MAX: usize = 200;

/// Parts of an `event_name`, separated by `:`.
/// Why: each is a folder level in the schema registry; real names have two to four.
pub const EVENT_NAME_PARTS_MAX: usize = 8;

/// Errors reported for one event; the rest are counted, not listed.
/// Why: a reader fixes a few at a time, and a hostile event must not make a large answer.
pub const ERRORS_PER_EVENT_MAX: usize = 8;

/// Characters of an error's `detail`, its `pointer`, and an echoed `event_uuid`.
/// Why: keeps the answer to 10,000 bad events at about the size of their request.
pub const DETAIL_CHARS_MAX: usize = 300;

/// Characters of a value, a field's name or a pattern that a message shows.
/// Why: a person recognises the value by its beginning, and the expectation must still fit beside it.
pub const MESSAGE_VALUE_CHARS_MAX: usize = 64;

/// Allowed values, or names of fields, that a message lists; the rest are counted.
/// Why: they fit into a message with the actual value; the schema itself has all of them.
pub const MESSAGE_LIST_MAX: usize = 8;

/// Bytes of the `results` of one answer; the rest is omitted, and the answer says so.
/// Why: a thousand rejected events with their reasons; a body of 200 bytes once got an answer of 9 MB.
pub const ANSWER_RESULTS_BYTES_MAX: usize = 256 * KIB;

/// Faults of one body that are explained in full; every later rejected event has its code, its pointer and a short text.
/// Why: our clients send 100 events at a time, mostly wrong in the same way; a fault takes some 20 µs to explain, so 2 ms.
pub const FAULTS_EXPLAINED_PER_BODY: usize = 100;

/// Characters of the `detail` and the `pointer` of a fault that is not explained in full.
/// Why: the expected and the actual value usually fit; 10,000 of them stay below 3 MB.
pub const BRIEF_CHARS_MAX: usize = 120;

/// Bytes of the name of a key, which becomes the `source` of its events.
/// Why: repeated in every record, and a folder name for dead letters.
pub const SOURCE_BYTES_MAX: usize = 64;

/// Keys that may send.
/// Why: one for each site and service of a large company; each takes about 1 KiB.
pub const KEYS_MAX: usize = 10_000;

/// Patterns in one key's `allowed_origins`, and in its `allowed_events`.
/// Why: each event is compared with the event patterns in turn.
pub const KEY_PATTERNS_MAX: usize = 100;

/// Bytes of the query of `GET /v1/pixel.gif`.
/// Why: mail programs and proxies cut addresses beyond 8 KiB; a longer request is not a pixel.
pub const PIXEL_QUERY_BYTES_MAX: usize = 8 * KIB;

/// Seconds for which a browser may cache the permission of a page to send.
/// Why: Chromium caches for two hours at most; a key that is removed from a page is still refused at once.
pub const PREFLIGHT_AGE_SECONDS: u32 = 7_200;

/// Headers of tracing that one preflight may ask for, beyond the usual.
/// Why: the largest set of one library has six (B3), and pages have two libraries at most.
pub const PREFLIGHT_NAMES_MAX: usize = 16;

/// Bytes of the name of such a header.
/// Why: the longest known has 32; the answer repeats it.
pub const PREFLIGHT_NAME_BYTES_MAX: usize = 64;

/// Greatest `schema_version`.
/// Why: the lake's column is a 32-bit integer, in Parquet as in Athena.
pub const SCHEMA_VERSION_MAX: u32 = i32::MAX as u32;

/// Unix seconds from which a `created_at` can only be milliseconds.
/// Why: as seconds it would be the year 5138; as milliseconds it is 1973.
pub const CREATED_AT_MILLIS_FROM: f64 = 1e11;

/// Value from which a `created_at` can only be microseconds.
/// Why: as milliseconds it would be the year 5138.
pub const CREATED_AT_MICROS_FROM: f64 = 1e14;

/// Value from which a `created_at` has no meaning.
/// Why: as microseconds it would be the year 5138.
pub const CREATED_AT_END: f64 = 1e17;

/// Bytes of a `created_at` that is RFC 3339 text.
/// Why: the longest that a library writes has 35, with nanoseconds and an offset; a longer text is not a time.
pub const CREATED_AT_TEXT_BYTES_MAX: usize = 64;

/// Days before its receipt that an event may have been created and still get its own `created_date`; older events get the day
/// of their receipt.
/// Why: the partitions that a client can create must be bounded, and Firehose keeps 500 active ones at most (LAKE.md).
pub const CREATED_DATE_DAYS_BACK_MAX: u16 = 366;

/// Days after its receipt that an event may claim to have been created and still get its own `created_date`.
/// Why: covers every time zone and a clock that is a day wrong.
pub const CREATED_DATE_DAYS_AHEAD_MAX: u16 = 2;

/// The same two limits for a browser key (default): `created_days_back` and `created_days_ahead`.
/// Why: the key is public, and each day is one more partition of each type that anyone can open. The JS client replays for
/// three days, which end on the fourth day after; and a clock that takes local time for UTC is at most 14 hours ahead.
pub const BROWSER_CREATED_DAYS: (u16, u16) = (4, 1);

/// Time that `Prefer: durability=delivered` waits for the sink before it answers 503 with the event safely spooled.
/// Why: below the 30 s after which load balancers and clients usually time out.
pub const DELIVERED_WAIT: Duration = Duration::from_secs(25);

/// Requests that wait for delivery at one time where all must (`http.durability = "delivered"`).
/// Why: as many as a stream with 100 ms for a call answers at 40,000 a second; each holds its body and a connection.
pub const DELIVERY_WAITS_MAX: usize = 4_096;

/// Requests whose dead letters wait for their stream at one time, where answers wait for it.
/// Why: a client that gave up leaves its letters waiting; each takes a task of some hundred bytes.
pub const DEAD_LETTER_WAITS_MAX: usize = 16_384;

/// Events whose client waited in vain, remembered until they are delivered.
/// Why: a few MB; a client asks for its event again within seconds, or has gone.
pub const AWAITED_EVENTS_MAX: usize = 65_536;

/// Remembered events that the sink refused, and that the disk lost.
/// Why: some 8 MB. So many of either are not single accidents; a duplicate of a forgotten event is answered `duplicate`.
pub const ENDINGS_MAX: usize = 65_536;

/// Events per second that one key may send (default).
/// Why: 20 M events/hour, twenty times the load in the mission; stops a runaway loop, but not a spike.
pub const KEY_EVENTS_PER_SECOND: u32 = 5_000;

/// Events that one key may send at once, above its rate (default).
/// Why: one largest request always fits.
pub const KEY_EVENTS_BURST: u32 = 20_000;

/// Bytes allowed per event when the configuration has no byte rate.
/// Why: real events have 300 to 1,500 bytes, so a client within the event rate never reaches the byte rate; a client that pads
/// events to a megabyte does.
pub const RATE_BYTES_PER_EVENT: u32 = 4 * KIB as u32;

/// Least bytes per second when the configuration has no byte rate.
/// Why: a key of a few events per second may still send large events.
pub const RATE_BYTES_PER_SECOND_MIN: u32 = MIB as u32;

/// Bytes of one event with a browser key (default).
/// Why: browsers send at most 64 KiB with `sendBeacon` and `fetch` with `keepalive`; the key is public, so its events stay
/// small.
pub const BROWSER_EVENT_BYTES_MAX: usize = 64 * KIB;

/// Least `event_bytes_max` of a key.
/// Why: an event with only the common fields takes 120 bytes, and some more are usual.
pub const KEY_EVENT_BYTES_LEAST: usize = KIB;

/// Events per second from one client address (default).
/// Why: a thousand visitors behind one address, each with an event a second.
pub const ADDRESS_EVENTS_PER_SECOND: u32 = 1_000;

/// Events from one client address at once (default).
/// Why: one largest request always fits.
pub const ADDRESS_EVENTS_BURST: u32 = 20_000;

/// Requests per second from one client address (default).
/// Why: the library of a page sends one in five seconds, so this serves five hundred visitors behind a carrier's shared
/// address.
pub const ADDRESS_REQUESTS_PER_SECOND: u32 = 100;

/// Requests from one client address at once (default).
/// Why: a stadium opens the same page.
pub const ADDRESS_REQUESTS_BURST: u32 = 2_000;

/// Parts of the table of client addresses, with a lock each.
/// Why: a few times the threads that a large machine has.
pub const ADDRESS_SHARDS: usize = 256;

/// Client addresses remembered in one part of the table.
/// Why: 229,376 in all, more than send within the seconds in which a bucket fills; up to this size a hash table of 2,048 slots
/// rehashes in place instead of growing.
pub const ADDRESSES_PER_SHARD_MAX: usize = 896;

/// Bytes of the table of client addresses.
/// Why: the size of [`ADDRESS_SHARDS`] tables of [`ADDRESSES_PER_SHARD_MAX`] entries; the tests measure it.
pub const ADDRESS_BYTES_MAX: usize = 20 * MIB;

/// Time between two sweeps of the table of client addresses.
/// Why: a sweep of a full table takes a few milliseconds.
pub const ADDRESS_SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Connections to the operators' listener at one time.
/// Why: a scraper, some probes and a person; they must not take file descriptors from the event connections.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Bytes of an inflated body from which its events are validated in turns: see `work_pool.rs`.
/// Why: about a millisecond of work in the worst case; a page's batch, and a service's hundred events, stay below.
pub const HEAVY_FROM_BYTES: usize = 64 * KIB;

/// Bytes of a body from which its events are counted before the first of them is validated.
/// Why: most smaller bodies hold one event, and the search for a second would cost each of them half a percent more.
pub const COUNTED_FROM_BYTES: usize = 1_024;

/// Bytes of a body per event from which its events are validated in turns.
/// Why: one event of 3,000 fields that no schema knows has 60 KB, and costs two milliseconds; a usual event has 500 bytes.
pub const HEAVY_FROM_EVENT_BYTES: usize = HEAVY_FROM_BYTES / 8;

/// Events of a body from which they are validated in turns.
/// Why: a rejected event costs some microseconds however short it is.
pub const HEAVY_FROM_EVENTS: usize = 500;

/// Bytes of a compressed body from which it is inflated in turns from the start.
/// Why: events compress at least four times, so a shorter body may turn out to be light; a longer one is not tried.
pub const HEAVY_FROM_COMPRESSED_BYTES: usize = HEAVY_FROM_BYTES / 4;

/// Compressed streams in one body from which it is inflated in turns.
/// Why: each costs the state of a decoder, some 10 µs.
pub const HEAVY_FROM_STREAMS: usize = 64;

/// Time after which rejected events of a light body are validated in turns, from the first.
/// Why: a light body of valid events takes a quarter of this time.
pub const LIGHT_TIME_MAX: Duration = Duration::from_millis(1);

/// Requests that wait for their turn at one time.
/// Why: at 4 MiB each this is far more than the memory budget of all bodies; the limit bounds the wait of the last request.
pub const WORK_WAITING_MAX: usize = 256;

/// Waiting requests of one sender: a client address with one key.
/// Why: a service that sends large bodies on many connections waits only for itself; a queue of 32 is some seconds of work.
pub const WORK_WAITING_PER_SENDER_MAX: usize = 32;

/// Unknown event names of one body for which the nearest known name is searched.
/// Why: each search compares some hundred names, and a body may hold thousands.
pub const SUGGESTIONS_PER_BODY: usize = 8;

/// Names before and after an unknown name, sorted by name and by ending, that are compared with it.
/// Why: a registry with no more names in all four directions is compared whole; a search takes about 0.2 ms for any size.
pub const SUGGESTION_NEIGHBOURS: usize = 32;

/// Names or values that an unknown name or value is compared with.
/// Why: an `enum` of all countries or currencies has some 250.
pub const SUGGESTION_CANDIDATES_MAX: usize = 256;

/// Bytes of an unknown name or value for which the nearest is searched, and of the candidates.
/// Why: the longest event name; a comparison takes time in proportion to both lengths.
pub const SUGGESTION_BYTES_MAX: usize = EVENT_NAME_BYTES_MAX;

/// Unknown fields, or values outside of an `enum`, of one body for which the nearest known one is searched.
/// Why: each search compares some thirty, in about 10 µs; in a body with more faults they are of the same few kinds.
pub const FIELD_SUGGESTIONS_PER_BODY: usize = 200;

/// Bits kept of a truncated IPv4 and IPv6 address.
/// Why: the usual lengths at which an address identifies no person: a house of flats, a provider's district.
pub const TRUNCATED_BITS: (u8, u8) = (24, 48);
