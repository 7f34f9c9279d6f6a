//! The form of the ledger's rows on disk. Numbers are LEB128: seven bits a byte, the lowest first; signed ones are zigzag.
//!
//! ```text
//! account   received | replayed | answers | keys: count × (id | answers) | names: the same | sinks: count × (id | endings)
//! answers   accepted | duplicate | rejected | retry
//! endings   delivered | refused | lost | erased | skipped | dropped
//! runs      2, or 3 for zstd | count × run
//! run       2 × name                            one event, of the key and the millisecond of the run before
//!           2 × name + 1 | signed milliseconds since the run before | key | events
//!           before 2026-11-28: 0, or 1 for zstd | count × (signed milliseconds since the run before | key | name | events)
//! settled   milliseconds | ending | place | 0 | count × (gap | length)      numbers from the first of the chunk on
//!           milliseconds | ending | place | 1 | a bit for each number       the lowest first
//! position  prefix | start | signed start minute | exceptions: count × (seq | ending) | totals: owed | endings | ranges: count × (gap | length)
//! ```

use std::{collections::BTreeMap, ops::Range};

use super::{
    accepted::Run,
    account::{Account, Answers, Endings},
    names::{NameId, OTHER},
};
use crate::{
    limits::{LEDGER_COMPRESSED_FROM_BYTES, LEDGER_COMPRESSION_LEVEL, LEDGER_RUNS_BYTES_MAX},
    progress::Settlement,
};

/// Writes numbers.
#[derive(Default)]
pub(super) struct Encoder(pub(super) Vec<u8>);

impl Encoder {
    pub(super) fn number(&mut self, mut number: u64) -> &mut Self {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
        self
    }

    pub(super) fn signed(&mut self, number: i64) -> &mut Self {
        self.number(((number << 1) ^ (number >> 63)) as u64)
    }

    /// Ascending ranges that do not touch, from `base` on.
    pub(super) fn ranges(&mut self, base: u64, ranges: &[Range<u64>]) -> &mut Self {
        self.number(ranges.len() as u64);
        let mut at = base;
        for range in ranges {
            self.number(range.start - at).number(range.end - range.start);
            at = range.end;
        }
        self
    }

    fn answers(&mut self, answers: &Answers) {
        let Answers { accepted, duplicate, rejected, retry } = *answers;
        [accepted, duplicate, rejected, retry].iter().for_each(|number| _ = self.number(*number));
    }

    pub(super) fn endings(&mut self, endings: &Endings) -> &mut Self {
        let Endings { delivered, refused, lost, erased, skipped, dropped } = *endings;
        [delivered, refused, lost, erased, skipped, dropped].iter().for_each(|number| _ = self.number(*number));
        self
    }
}

/// Reads numbers. Beyond the end, and for a number that is too long, there is nothing.
pub(super) struct Decoder<'a>(pub(super) &'a [u8]);

impl Decoder<'_> {
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn id(&mut self) -> Option<NameId> {
        self.number()?.try_into().ok()
    }

    pub(super) fn ranges(&mut self, base: u64) -> Option<Vec<Range<u64>>> {
        let mut at = base;
        let mut ranges = Vec::new();
        for _ in 0..self.number()? {
            let start = at.checked_add(self.number()?)?;
            at = start.checked_add(self.number()?)?;
            ranges.push(start..at);
        }
        Some(ranges)
    }

    fn answers(&mut self) -> Option<Answers> {
        Some(Answers { accepted: self.number()?, duplicate: self.number()?, rejected: self.number()?, retry: self.number()? })
    }

    pub(super) fn endings(&mut self) -> Option<Endings> {
        Some(Endings {
            delivered: self.number()?,
            refused: self.number()?,
            lost: self.number()?,
            erased: self.number()?,
            skipped: self.number()?,
            dropped: self.number()?,
        })
    }

    fn by_id<T>(&mut self, mut value: impl FnMut(&mut Self) -> Option<T>) -> Option<BTreeMap<NameId, T>> {
        let mut map = BTreeMap::new();
        for _ in 0..self.number()? {
            map.insert(self.id()?, value(self)?);
        }
        Some(map)
    }
}

/// The row of a minute.
pub(super) fn encode_account(account: &Account) -> Vec<u8> {
    let mut out = Encoder::default();
    out.number(account.received).number(account.replayed).answers(&account.answers);
    for by_id in [&account.by_key, &account.by_name] {
        out.number(by_id.len() as u64);
        for (id, answers) in by_id {
            out.number(u64::from(*id)).answers(answers);
        }
    }
    out.number(account.by_sink.len() as u64);
    for (id, endings) in &account.by_sink {
        out.number(u64::from(*id)).endings(endings);
    }
    out.0
}

/// The account in a row; `None` if the row is damaged.
pub(super) fn decode_account(row: &[u8]) -> Option<Account> {
    let mut row = Decoder(row);
    Some(Account {
        received: row.number()?,
        replayed: row.number()?,
        answers: row.answers()?,
        by_key: row.by_id(Decoder::answers)?,
        by_name: row.by_id(Decoder::answers)?,
        by_sink: row.by_id(Decoder::endings)?,
    })
}

const OLD_RAW: u8 = 0;
const OLD_ZSTD: u8 = 1;
const RAW: u8 = 2;
const ZSTD: u8 = 3;

/// The row of consecutive runs.
pub(super) fn encode_runs(runs: &[Run]) -> Vec<u8> {
    let mut out = Encoder(Vec::with_capacity(1 + 2 * runs.len()));
    out.0.push(RAW);
    let mut before = (0, OTHER);
    for run in runs {
        let name = u64::from(run.name) << 1;
        if (run.received_millis, run.key) == before && run.events == 1 {
            out.number(name);
        } else {
            out.number(name | 1).signed(run.received_millis - before.0).number(u64::from(run.key)).number(u64::from(run.events));
            before = (run.received_millis, run.key);
        }
    }
    let mut row = out.0;
    if row.len() >= LEDGER_COMPRESSED_FROM_BYTES
        && let Ok(compressed) = zstd::bulk::compress(&row[1..], LEDGER_COMPRESSION_LEVEL)
    {
        row.truncate(1);
        row[0] = ZSTD;
        row.extend(compressed);
    }
    row
}

/// The runs in a row; `None` if the row is damaged.
pub(super) fn decode_runs(row: &[u8]) -> Option<Vec<Run>> {
    let (kind, rest) = row.split_first()?;
    let inflated;
    let mut row = match *kind {
        RAW | OLD_RAW => Decoder(rest),
        ZSTD | OLD_ZSTD => {
            inflated = zstd::bulk::decompress(rest, LEDGER_RUNS_BYTES_MAX).ok()?;
            Decoder(&inflated)
        }
        _ => return None,
    };
    let is_old = matches!(*kind, OLD_RAW | OLD_ZSTD);
    let mut runs = Vec::new();
    let (mut millis, mut key) = (0_i64, OTHER);
    while !row.0.is_empty() {
        let number = if is_old { 1 } else { row.number()? };
        let mut name = NameId::try_from(number >> 1).ok()?;
        let mut events = 1;
        if number & 1 == 1 {
            millis = millis.checked_add(row.signed()?)?;
            key = row.id()?;
            if is_old {
                name = row.id()?;
            }
            events = row.number()?.try_into().ok()?;
        }
        runs.push(Run { received_millis: millis, key, name, events });
    }
    Some(runs)
}

/// Events of one chunk that one sink settled together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettledEvents {
    pub(super) at_millis: i64,
    pub(super) settlement: Settlement,
    pub(super) place: NameId,
    /// Ascending.
    pub(super) ranges: Vec<Range<u64>>,
}

const AS_RANGES: u64 = 0;
const AS_BITS: u64 = 1;

/// The row of `settled`, all of whose events are in the chunk that begins at `base`.
pub(super) fn encode_settled(base: u64, settled: &SettledEvents) -> Vec<u8> {
    let mut head = Encoder::default();
    head.signed(settled.at_millis).number(settled.settlement as u64).number(u64::from(settled.place));
    let mut as_ranges = Encoder(head.0.clone());
    as_ranges.number(AS_RANGES).ranges(base, &settled.ranges);
    let end = settled.ranges.last().map_or(base, |range| range.end);
    let bits_bytes = usize::try_from((end - base).div_ceil(8)).unwrap_or(usize::MAX);
    if as_ranges.0.len() <= head.0.len() + 1 + bits_bytes {
        return as_ranges.0;
    }
    let mut bits = vec![0_u8; bits_bytes];
    for offset in settled.ranges.iter().cloned().flatten().map(|seq| (seq - base) as usize) {
        bits[offset / 8] |= 1 << (offset % 8);
    }
    head.number(AS_BITS).0.extend(bits);
    head.0
}

/// What a row says of the event `seq` in the chunk that begins at `base`; `None` if the event is not in it.
pub(super) fn settled_in_row(base: u64, row: &[u8], seq: u64) -> Option<(i64, Settlement, NameId)> {
    let mut row = Decoder(row);
    let (at_millis, settlement, place) = (row.signed()?, Settlement::of(row.number()?)?, row.id()?);
    let has = match row.number()? {
        AS_RANGES => row.ranges(base)?.iter().any(|range| range.contains(&seq)),
        _ => {
            let offset = usize::try_from(seq.checked_sub(base)?).ok()?;
            row.0.get(offset / 8).is_some_and(|byte| byte & (1 << (offset % 8)) != 0)
        }
    };
    has.then_some((at_millis, settlement, place))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Each case tries every number of a chunk.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_is_written_is_read(
            runs in prop::collection::vec(
                (prop_oneof![any::<i64>().prop_map(|n| n / 4), Just(7)], 0_u16..2, any::<u16>(), prop_oneof![1_u32.., Just(1)]),
                0..200,
            ),
            seqs in prop::collection::btree_set(0_u64..16_384, 1..300),
            numbers in prop::collection::vec(any::<u64>(), 0..20),
        ) {
            let runs: Vec<_> =
                runs.into_iter().map(|(received_millis, key, name, events)| Run { received_millis, key, name, events }).collect();
            prop_assert_eq!(decode_runs(&encode_runs(&runs)), Some(runs));

            let mut ranges: Vec<Range<u64>> = Vec::new();
            for seq in &seqs {
                match ranges.last_mut().filter(|last| last.end == 1_000_000 + seq) {
                    Some(last) => last.end += 1,
                    None => ranges.push(1_000_000 + seq..1_000_001 + seq),
                }
            }
            let settled = SettledEvents { at_millis: -5, settlement: Settlement::Refused, place: 7, ranges };
            let row = encode_settled(1_000_000, &settled);
            for seq in 0..16_400 {
                let expected = seqs.contains(&seq).then_some((-5, Settlement::Refused, 7));
                prop_assert_eq!(settled_in_row(1_000_000, &row, 1_000_000 + seq), expected);
            }
            prop_assert!(row.len() <= 2_048 + 20, "{}", row.len());

            let mut out = Encoder::default();
            numbers.iter().for_each(|number| _ = out.number(*number).signed(*number as i64));
            let mut back = Decoder(&out.0);
            for number in numbers {
                prop_assert_eq!((back.number(), back.signed()), (Some(number), Some(number as i64)));
            }
            prop_assert_eq!(back.number(), None);
        }

        #[test]
        fn no_damage_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (decode_account(&bytes), decode_runs(&bytes), settled_in_row(5, &bytes, 9));
        }
    }

    #[test]
    fn runs_of_the_first_release_are_read_and_a_body_of_many_names_has_some_two_bytes_an_event() {
        let run = |millis, name, events| Run { received_millis: millis, key: 3, name, events };
        let old = [OLD_RAW, 14, 3, 2, 1, 1, 3, 200, 1, 5];
        assert_eq!(decode_runs(&old), Some(vec![run(7, 2, 1), run(6, 200, 5)]));
        let runs: Vec<_> = (0..10).map(|name| run(1_795_132_800_000, name, 1)).collect();
        assert_eq!(encode_runs(&runs).len(), 1 + 10 + 8);
    }

    #[test]
    fn an_account_is_read_as_it_was_written() {
        let mut account = Account { received: 300, replayed: 1, ..Account::default() };
        account.count(1, 2, &Answers { accepted: 3, duplicate: 400, rejected: 5, retry: 1 << 40 });
        account.count(4, 0, &Answers { accepted: 1, ..Answers::default() });
        account.by_sink.insert(2, Endings { delivered: 1, refused: 2, lost: 3, erased: 4, skipped: 5, dropped: 6 });
        let row = encode_account(&account);
        assert_eq!(decode_account(&row), Some(account));
        assert_eq!(decode_account(&row[..row.len() - 1]), None);
    }
}
