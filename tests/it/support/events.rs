//! Events as a pure function of their `event_uuid`: whoever knows the identity knows every byte that was sent.

use std::fmt::Write;

use bytes::Bytes;
use fastrand::Rng;
use uuid::Uuid;

use super::client::Post;

/// A new identity.
pub fn identity(rng: &mut Rng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.u128(..).to_le_bytes()).into_uuid()
}

/// Spells values as JSON allows, in many ways that a parser must not touch.
struct Speller {
    rng: Rng,
    text: String,
}

impl Speller {
    fn of(uuid: Uuid) -> Self {
        let (high, low) = uuid.as_u64_pair();
        Self { rng: Rng::with_seed(high ^ low.rotate_left(32)), text: String::new() }
    }

    /// A member, with its comma.
    fn member(&mut self, name: &str, value: impl std::fmt::Display) {
        let spaces = ["", "", "", " ", "  ", "\t"];
        let mut space = || self.rng.choice(spaces).unwrap_or_default();
        let (a, b, c) = (space(), space(), space());
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        let _ = write!(self.text, "{a}\"{name}\"{b}:{c}{value}");
    }

    fn pick<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.rng.usize(..values.len())]
    }

    fn uuid(&mut self) -> String {
        format!("\"{}\"", identity(&mut self.rng))
    }

    fn envelope(&mut self, uuid: Uuid, name: &str) {
        self.text.push('{');
        let uuid = if self.rng.u8(..8) == 0 { uuid.to_string().to_uppercase() } else { uuid.to_string() };
        self.member("event_uuid", format_args!("\"{uuid}\""));
        self.member("event_name", format_args!("\"{name}\""));
        let created = 1_795_020_000 + self.rng.u64(..60_000);
        let created = match self.rng.u8(..4) {
            0 => format!("{created}"),
            1 => format!("{created}.250"),
            2 => format!("{created}123"),
            _ => format!("{created}.1234567890123456789"),
        };
        self.member("created_at", created);
    }

    fn menu(&mut self) {
        for name in ["session_id", "visit_id"] {
            let uuid = self.uuid();
            self.member(name, uuid);
        }
        self.member("restaurant_id", "\"tasca-do-lago\"");
        self.member("menu_id", "\"dinner\"");
    }

    fn item(&mut self) {
        self.member("section_id", "\"mains\"");
        let (section, item) = (self.rng.u16(..1000), self.rng.u16(..10_000));
        self.member("section_index", section);
        self.member("item_id", format_args!("\"dish-{item}\""));
        self.member("item_index", item);
    }
}

/// A good event of one of the shipped types; one in twenty-five is large. One line.
pub fn good(uuid: Uuid) -> Vec<u8> {
    let mut s = Speller::of(uuid);
    match s.rng.u8(..6) {
        0 | 1 => {
            s.envelope(uuid, "menu:item:viewed");
            s.menu();
            s.item();
            let name = s.pick(&[
                r#""Bacalhau à Brás""#,
                r#""Bacalhau \u00e0 Br\u00E1s""#,
                r#""\"caf\u00e9\" \/ ch\u00e1""#,
                r#""🍮 \ud83c\udf6e""#,
                r#""a\\b\tc""#,
            ]);
            s.member("item_name", name);
            let price = s.pick(&["1450", "0", "999999"]);
            s.member("price_minor", price);
            s.member("currency", "\"EUR\"");
            s.member("source", "{\"spoofed\": [1.10, 1e400, 12345678901234567890]}");
        }
        2 => {
            s.envelope(uuid, "menu:section:reached");
            s.menu();
            s.member("section_id", "\"reds\"");
            s.member("section_index", 0);
        }
        3 => {
            s.envelope(uuid, "menu:item:ordered");
            s.menu();
            s.item();
            s.member("action", "\"order\"");
        }
        4 => {
            s.envelope(uuid, "lesson:started");
            s.member("lesson_id", "\"pt-a1-07\"");
            s.member("course_id", "\"portuguese-a1\"");
            let student = s.uuid();
            s.member("student_id", student);
            s.member("attempt_number", 1);
        }
        _ => {
            s.envelope(uuid, "payment:order:completed");
            s.member("order_id", "\"ord-1\"");
            s.member("merchant", "{\"merchant_id\":\"kiosk\"}");
            s.member("currency", "\"JPY\"");
            let line = r#"{"item_id":"tea","item_name":"chá","quantity":1,"unit_price_minor":180,"total_minor":180}"#;
            let lines = vec![line; s.rng.usize(1..6)].join(",");
            s.member("lines", format_args!("[{lines}]"));
            s.member("total_minor", 180);
            s.member("payment", "{ \"method\" : \"cash\" }");
        }
    }
    if s.rng.u8(..25) == 0 {
        let padding = s.rng.usize(10_000..200_000);
        // Before the first member or behind the last one.
        let at = if s.rng.bool() { 1 } else { s.text.len() };
        let padding = spaces(&mut s.rng, padding);
        s.text.insert_str(at, &padding);
    }
    s.text.push('}');
    s.text.into_bytes()
}

/// A good event of about `bytes` bytes.
pub fn good_of_size(uuid: Uuid, bytes: usize) -> Vec<u8> {
    let mut event = small(uuid);
    let close = event.pop();
    event.extend(spaces(&mut Speller::of(uuid).rng, bytes.saturating_sub(event.len() + 1)).bytes());
    event.extend(close);
    event
}

/// As hard to compress as events are: what inflates a hundred times is refused.
fn spaces(rng: &mut Rng, count: usize) -> String {
    (0..count).map(|_| if rng.bool() { ' ' } else { '\t' }).collect()
}

/// A small good event.
pub fn small(uuid: Uuid) -> Vec<u8> {
    let mut s = Speller::of(uuid);
    s.envelope(uuid, "menu:section:reached");
    s.menu();
    s.member("section_id", "\"reds\"");
    s.member("section_index", 0);
    s.text.push('}');
    s.text.into_bytes()
}

/// An event that is wrong, and the code that must say so.
#[derive(Clone, Debug)]
pub struct Bad {
    pub bytes: Vec<u8>,
    pub code: &'static str,
    /// It is no JSON: it costs itself alone only as a line of NDJSON.
    pub needs_lines: bool,
}

/// Kinds of wrong events.
pub const BAD_KINDS: u8 = 14;

/// A wrong event, of a kind that its identity decides.
pub fn bad(uuid: Uuid) -> Bad {
    bad_of_kind(uuid, Speller::of(uuid).rng.u8(..BAD_KINDS))
}

/// A wrong event of one of [`BAD_KINDS`].
pub fn bad_of_kind(uuid: Uuid, kind: u8) -> Bad {
    let needs_lines = kind >= 11;
    let text = String::from_utf8(small(uuid)).expect("events are text");
    let head = format!(r#"{{"event_uuid":"{uuid}","event_name":"menu:section:reached","created_at":1795029671.75"#);
    let swapped = |from: &str, to: &str| head.replace(from, to) + "}";
    let (text, code) = match kind {
        0 => (format!(r#"{{"event_uuid":"{uuid}","created_at":1}}"#), "missing_field"),
        1 => (swapped(&uuid.to_string(), &uuid.simple().to_string()), "invalid_event_uuid"),
        2 => (swapped("menu:section:reached", "menu::reached"), "invalid_event_name"),
        3 => (swapped("1795029671.75", "\"yesterday\""), "invalid_created_at"),
        4 => (format!("{head},\"schema_version\":0}}"), "invalid_schema_version"),
        5 => (format!("{head},\"a\":1,\"\\u0061\":2}}"), "duplicate_key"),
        6 => (format!("{head},\"a\":\"\\ud800\"}}"), "invalid_unicode"),
        7 => (format!("{head},\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64)), "event_too_deep"),
        8 => (swapped("section:reached", "section:raeched"), "unknown_event"),
        9 => (format!("{head},\"schema_version\":99}}"), "unknown_schema_version"),
        10 => (format!("\"{uuid}\""), "not_an_object"),
        11 => (head, "invalid_json"),
        12 => (format!("{text}{text}"), "invalid_json"),
        13 => {
            let mut bytes = text.into_bytes();
            bytes.insert(20, 0xff);
            return Bad { bytes, code: "invalid_unicode", needs_lines };
        }
        _ => panic!("there are {BAD_KINDS} kinds"),
    };
    Bad { bytes: text.into_bytes(), code, needs_lines }
}

/// The forms of a body that holds several events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Array,
    Wrapper,
    Lines,
    PlainText,
    GzipArray,
    ZstdLines,
}

impl Form {
    /// One of them.
    pub fn any(rng: &mut Rng) -> Self {
        [Self::Array, Self::Wrapper, Self::Lines, Self::PlainText, Self::GzipArray, Self::ZstdLines][rng.usize(..6)]
    }

    /// Whether a line that is no JSON costs that line alone.
    pub fn is_lines(self) -> bool {
        matches!(self, Self::Lines | Self::ZstdLines)
    }

    /// A request with `events`.
    pub fn post<E: AsRef<[u8]>>(self, events: &[E]) -> Post {
        let joined = |open: &[u8], separator: &[u8], close: &[u8]| {
            let mut body = open.to_vec();
            for (index, event) in events.iter().enumerate() {
                if index > 0 {
                    body.extend_from_slice(separator);
                }
                body.extend_from_slice(event.as_ref());
            }
            body.extend_from_slice(close);
            body
        };
        let array = || joined(b"[", b",", b"]");
        let lines = || joined(b"", b"\n", b"\n");
        match self {
            Self::Array => Post::json(array()),
            Self::Wrapper => Post::json(joined(b"{\"sent_by\":\"test\",\"events\": [ ", b" ,\n", b" ] }")),
            Self::Lines => Post::lines(lines()),
            Self::PlainText => Post::events(array()).header("content-type", "text/plain;charset=UTF-8"),
            Self::GzipArray => Post::json(gzip(&array())).header("content-encoding", "gzip"),
            Self::ZstdLines => {
                let packed = zstd::encode_all(lines().as_slice(), 1).expect("into memory");
                Post::lines(packed).header("content-encoding", "zstd")
            }
        }
    }
}

/// `bytes`, gzipped.
pub fn gzip(bytes: &[u8]) -> Bytes {
    packed("gzip", bytes).into()
}

/// `bytes` as one stream of a `Content-Encoding`.
pub fn packed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let level = flate2::Compression::fast();
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 65_536, 1, 22);
            encoder.write_all(bytes).map(|()| encoder.into_inner())
        }
        _ => zstd::encode_all(bytes, 1),
    }
    .expect("into memory")
}
