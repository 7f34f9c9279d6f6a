//! `lakegate lake export`, and how an event of the lake is printed.

use std::io::{self, Write};

use super::args::{QueryArgs, report};
use crate::{
    enrich::write_flat,
    event::{CreatedAt, Date, Envelope, EventName},
    sink::lake::{LakeRow, parse_date},
};

pub(super) fn export(query: &QueryArgs, distinct: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut line = Vec::new();
    let export = query.open()?.export(&query.filters(), distinct, &mut |row| {
        write_event(row, &mut line)?;
        out.write_all(&line)
    })?;
    Ok(report(&export.left_out))
}

/// Replaces `line` by the event as its client wrote it, with the added fields, and the end of the line.
pub(super) fn write_event(row: &LakeRow<'_>, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    let envelope = envelope(row).ok_or_else(|| io::Error::other(format!("the row of {} is no event", row.event_uuid)))?;
    write_flat(&envelope, row.payload.as_bytes(), line);
    line.push(b'\n');
    Ok(())
}

fn envelope<'a>(row: &LakeRow<'a>) -> Option<Envelope<'a>> {
    Some(Envelope {
        event_uuid: row.event_uuid.parse().ok()?,
        event_name: EventName::parse(row.event_name).ok()?,
        schema_version: row.schema_version.and_then(|version| u32::try_from(version).ok()),
        created_at: CreatedAt { seconds: row.created_at, millis: row.created_millis },
        received_millis: row.received_millis,
        source: row.source,
        client_address: row.client_address,
        // The lake does not store this: a search for reserved fields does no harm if there are none.
        has_reserved_fields: true,
        names_its_version: false,
        dedup_unchecked: false,
        replayed: false,
        is_scoped: row.dedup_scope.is_some(),
        // In an old lake the folder is `late`.
        is_late: parse_date(row.created_date) != Some(Date::of_millis(row.created_millis)),
    })
}
