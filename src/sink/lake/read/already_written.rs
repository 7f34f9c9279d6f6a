//! Finds the records of a delivery that a file already holds.

use std::collections::HashMap;

use uuid::Uuid;

use super::{file::LakeFile, filters::RowFilter};
use crate::{
    event::Record,
    sink::lake::{
        rows::{Millis, texts},
        store::Source,
    },
};

/// Those of `positions` whose records the file does not hold, ascending. It compares rows, not bytes, because another version
/// writes the same rows in other bytes. A record is held if identity, receipt and payload are the same; two equal records need
/// two rows.
///
/// # Errors
/// Why the file cannot be read, or does not belong to this lake.
pub(in crate::sink::lake) fn not_held(source: Source, records: &[Record], positions: &[usize]) -> Result<Vec<usize>, String> {
    let mut unwritten: HashMap<(Uuid, i64), Vec<usize>> = HashMap::with_capacity(positions.len());
    for &position in positions {
        let record = &records[position];
        unwritten.entry((record.event_uuid(), record.envelope().received_millis)).or_default().push(position);
    }
    let all = RowFilter { event_name: None, created_millis: None };
    for batch in LakeFile::open(source)?.batches(&["event_uuid", "received_datetime", "payload"], &all)? {
        let batch = batch?;
        let (uuids, payloads) = (texts(&batch, "event_uuid")?, texts(&batch, "payload")?);
        let received = Millis::of(&batch, "received_datetime")?;
        for row in 0..batch.num_rows() {
            let Ok(uuid) = uuids.value(row).parse() else { continue };
            let Some(alike) = unwritten.get_mut(&(uuid, received.value(row))) else { continue };
            let held = alike.iter().position(|&position| records[position].payload() == payloads.value(row).as_bytes());
            held.map(|held| alike.swap_remove(held));
        }
    }
    let mut rest: Vec<usize> = unwritten.into_values().flatten().collect();
    rest.sort_unstable();
    Ok(rest)
}
