//! The protocol with the store: keys, values, commands, and how to read the answers. Pure, no I/O.

use redis::{Cmd, Pipeline, Value};
use uuid::Uuid;

use crate::{dedup::Identity, event::ScopeSecret};

/// Bytes of a [`Token`].
const TOKEN_BYTES: usize = 24;

/// Value of a confirmed identity without a fingerprint. With a fingerprint, the value is the fingerprint plus 2. The store
/// keeps integers in the object itself, without extra memory for a string.
const CONFIRMED: u64 = 1;

/// See [`CONFIRMED`].
const FINGERPRINTS_FROM: u64 = CONFIRMED + 1;

fn confirmed(fingerprint: u32) -> u64 {
    if fingerprint == Identity::UNKNOWN { CONFIRMED } else { FINGERPRINTS_FROM + u64::from(fingerprint) }
}

/// The fingerprint in a value that [`confirmed`] returned.
fn fingerprint(value: &[u8]) -> Option<u32> {
    let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    let fingerprint =
        if number == CONFIRMED { Identity::UNKNOWN } else { u32::try_from(number.checked_sub(FINGERPRINTS_FROM)?).ok()? };
    // Only the spelling that Lakegate writes.
    (confirmed(fingerprint).to_string().as_bytes() == value).then_some(fingerprint)
}

/// Key of the fleet's secret, behind the prefix. It is not 16 bytes long, so no identity has this key.
const SECRET: &[u8] = b"scope-secret";

/// Takes over a claim that this gateway made earlier, or one that has expired meanwhile; otherwise returns the value found.
/// `ARGV`: gateway, token, milliseconds to live.
const TAKE_OVER: &str = "local v=redis.call('GET',KEYS[1]) \
    if v==false or string.sub(v,1,16)==ARGV[1] then redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) return false end return v";

/// Deletes a claim, if it still has this token. `ARGV`: token.
const RELEASE: &str = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0";

/// The holder of a claim: the gateway, and the number of the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) gateway: Uuid,
    pub(super) number: u64,
}

impl Token {
    fn bytes(self) -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..16].copy_from_slice(self.gateway.as_bytes());
        bytes[16..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }
}

/// The store's answer to a claim of one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The key did not exist; the identity is claimed now.
    Fresh,
    /// A gateway has confirmed the identity, with this fingerprint.
    Duplicate { fingerprint: u32 },
    /// Another gateway has claimed the identity.
    InFlight,
    /// This gateway has claimed the identity earlier, and has neither confirmed nor released it in the store.
    Own,
    /// Not an answer to a claim, for this reason.
    Unclear(String),
}

impl Answer {
    /// Reads an answer for `gateway`.
    pub(super) fn of(value: &Value, gateway: Uuid) -> Self {
        match value {
            Value::Nil => Self::Fresh,
            Value::BulkString(bytes) if bytes.len() == TOKEN_BYTES && bytes.starts_with(gateway.as_bytes()) => Self::Own,
            Value::BulkString(bytes) if bytes.len() == TOKEN_BYTES => Self::InFlight,
            Value::BulkString(bytes) => match fingerprint(bytes) {
                Some(fingerprint) => Self::Duplicate { fingerprint },
                None => Self::Unclear(complaint(value)),
            },
            other => Self::Unclear(complaint(other)),
        }
    }
}

/// Why an answer is unexpected. Never contains the answer's data, which may be anything.
pub(super) fn complaint(value: &Value) -> String {
    match value {
        Value::ServerError(error) => error.to_string(),
        _ => "it answers with something that Lakegate did not write".to_owned(),
    }
}

/// Encodes the commands of this gateway. Every command names one key, so that a cluster could split them by slot.
#[derive(Clone, Debug)]
pub(super) struct Protocol {
    pub(super) gateway: Uuid,
    pub(super) key_prefix: String,
    pub(super) claim_ttl_millis: u64,
    pub(super) window_millis: u64,
}

impl Protocol {
    fn key(&self, id: Uuid) -> Vec<u8> {
        [self.key_prefix.as_bytes(), id.as_bytes()].concat()
    }

    /// Claims: each sets its key if there is none, and returns the value found. `NX` with `GET` needs Redis 7.0 or Valkey.
    pub(super) fn claims<'a>(&self, ids: impl ExactSizeIterator<Item = &'a Uuid>, token: Token) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in ids {
            pipeline.add_command(set_new(&self.key(*id), &token.bytes(), self.claim_ttl_millis));
        }
        pipeline
    }

    /// Claims of identities that this gateway has claimed already.
    pub(super) fn take_overs<'a>(&self, ids: impl ExactSizeIterator<Item = &'a Uuid>, token: Token) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in ids {
            let mut command = eval(TAKE_OVER, &self.key(*id));
            command.arg(self.gateway.as_bytes().as_slice()).arg(token.bytes().as_slice()).arg(self.claim_ttl_millis);
            pipeline.add_command(command);
        }
        pipeline
    }

    /// Confirms an identity, whatever value the store holds, because its event is durable.
    pub(super) fn confirm(&self, identity: Identity, pipeline: &mut Pipeline) {
        let mut command = Cmd::new();
        let value = confirmed(identity.fingerprint);
        command.arg("SET").arg(self.key(identity.id)).arg(value).arg("PX").arg(self.window_millis);
        pipeline.add_command(command);
    }

    /// Releases a claim, if it still has that number.
    pub(super) fn release(&self, id: Uuid, number: u64, pipeline: &mut Pipeline) {
        let mut command = eval(RELEASE, &self.key(id));
        command.arg(Token { gateway: self.gateway, number }.bytes().as_slice());
        pipeline.add_command(command);
    }

    /// Tries every command that is needed later, on keys that are no identity's, so that a store that is a replica, full, too
    /// old or forbids a command fails here. The last answer is the fleet's secret; the probe sets `secret` if the store has
    /// none.
    pub(super) fn probe(&self, secret: &ScopeSecret) -> Pipeline {
        let key = |name: &[u8]| [self.key_prefix.as_bytes(), name].concat();
        let mut keep = Cmd::new();
        keep.arg("SET").arg(key(SECRET)).arg(secret.bytes().as_slice()).arg("NX").arg("GET");
        let key = key(b"probe");
        let mut pipeline = Pipeline::new();
        pipeline.add_command(set_new(&key, CONFIRMED.to_string().as_bytes(), 1_000));
        let mut command = eval(RELEASE, &key);
        command.arg(Token { gateway: self.gateway, number: 0 }.bytes().as_slice());
        pipeline.add_command(command);
        pipeline.add_command(keep);
        pipeline
    }
}

/// The fleet's secret, from the answer to a [`Protocol::probe`]. `None` if the store took the secret of the probe.
///
/// # Errors
/// Why the answer is not a secret.
pub(super) fn fleet_secret(value: &Value) -> Result<Option<ScopeSecret>, String> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => match <[u8; ScopeSecret::BYTES]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(Some(ScopeSecret::new(bytes))),
            Err(_) => Err(complaint(value)),
        },
        other => Err(complaint(other)),
    }
}

fn set_new(key: &[u8], value: &[u8], ttl_millis: u64) -> Cmd {
    let mut command = Cmd::new();
    command.arg("SET").arg(key).arg(value).arg("NX").arg("GET").arg("PX").arg(ttl_millis);
    command
}

/// By text, not by hash, because both scripts are rare and short, and a restarted store knows no hash.
fn eval(script: &str, key: &[u8]) -> Cmd {
    let mut command = Cmd::new();
    command.arg("EVAL").arg(script).arg(1).arg(key);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Uuid = Uuid::from_u128(1);
    const THERE: Uuid = Uuid::from_u128(2);

    #[test]
    fn an_answer_is_read_for_the_gateway_that_asks() {
        let token = |gateway| Value::BulkString(Token { gateway, number: 7 }.bytes().to_vec());
        assert_eq!(Answer::of(&Value::Nil, HERE), Answer::Fresh);
        for fingerprint in [Identity::UNKNOWN, 1, 2, u32::MAX] {
            let value = Value::BulkString(confirmed(fingerprint).to_string().into_bytes());
            assert_eq!(Answer::of(&value, HERE), Answer::Duplicate { fingerprint });
        }
        // The value from before there were fingerprints.
        assert_eq!(confirmed(Identity::UNKNOWN), 1);
        assert_eq!(Answer::of(&token(HERE), HERE), Answer::Own);
        assert_eq!(Answer::of(&token(THERE), HERE), Answer::InFlight);
    }

    #[test]
    fn what_lakegate_did_not_write_is_unclear_and_never_a_duplicate() {
        let strange = [b"".as_slice(), b"0", b"01", b"+3", b"2", b"4294967298", b"OK", &[b'1'; 16], &[b'1'; 25]]
            .map(|bytes| Value::BulkString(bytes.to_vec()));
        for value in strange.into_iter().chain([Value::Okay, Value::Int(1), Value::Array(vec![Value::Nil])]) {
            assert!(matches!(Answer::of(&value, HERE), Answer::Unclear(_)), "{value:?}");
        }
    }

    #[test]
    fn the_secret_of_the_fleet_is_the_stores_word() {
        assert_eq!(fleet_secret(&Value::Nil), Ok(None));
        assert_eq!(fleet_secret(&Value::BulkString(vec![7; 32])), Ok(Some(ScopeSecret::new([7; 32]))));
        for strange in [Value::BulkString(vec![7; 31]), Value::Okay, Value::Int(1)] {
            assert!(fleet_secret(&strange).is_err(), "{strange:?}");
        }
    }

    #[test]
    fn every_command_names_one_key() {
        let protocol = Protocol { gateway: HERE, key_prefix: "x:".into(), claim_ttl_millis: 5, window_millis: 9 };
        let id = Uuid::from_bytes(*b"0123456789abcdef");
        let token = Token { gateway: HERE, number: 3 };
        let mut settling = Pipeline::new();
        protocol.confirm(Identity::unknown(id), &mut settling);
        protocol.release(id, 3, &mut settling);
        for pipeline in [protocol.claims([id].iter(), token), protocol.take_overs([id].iter(), token), settling] {
            for command in pipeline.cmd_iter() {
                let packed = command.get_packed_command();
                let keys = packed.windows(18).filter(|window| window == b"x:0123456789abcdef").count();
                assert_eq!(keys, 1, "{}", String::from_utf8_lossy(&packed));
            }
        }
    }
}
