//! A row as bytes, for sorting in memory and in a scratch file. It is no format on disk: nobody reads the bytes after the
//! process that wrote them.
//!
//! ```text
//! length of the rest: u32 · event_name · created_at: f64 · where it was read · all other columns
//! text: length u32, bytes · optional text: the length u32::MAX means null
//! ```
//!
//! The name and `created_at` come first, because rows are sorted by them.

use std::io;

use crate::sink::lake::{partition::Partition, rows::LakeRow};

/// Bytes of the length before each row.
pub(super) const LENGTH_BYTES: usize = 4;
const NULL: u32 = u32::MAX;

/// Where a row was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// Position of its file among the inputs.
    pub(super) file: u32,
    /// Number of the row in the file.
    pub(super) row: u32,
}

/// Appends a row with its length.
pub(super) fn write(row: &LakeRow<'_>, origin: Origin, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.extend([0; LENGTH_BYTES]);
    text(row.event_name, bytes);
    bytes.extend(row.created_at.to_le_bytes());
    bytes.extend(origin.file.to_le_bytes());
    bytes.extend(origin.row.to_le_bytes());
    bytes.extend(row.created_millis.to_le_bytes());
    bytes.extend(row.received_millis.to_le_bytes());
    bytes.push(row.schema_version.is_some().into());
    bytes.extend(row.schema_version.unwrap_or_default().to_le_bytes());
    text(row.event_uuid, bytes);
    optional(row.event_subtype, bytes);
    text(row.source, bytes);
    optional(row.client_address, bytes);
    optional(row.dedup_scope, bytes);
    text(row.payload, bytes);
    let length = (bytes.len() - start - LENGTH_BYTES) as u32;
    bytes[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// The bytes of the row at the beginning of `bytes`, which begin with a length.
pub(super) fn first(bytes: &[u8]) -> io::Result<&[u8]> {
    let (length, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
    rest.get(..u32::from_le_bytes(*length) as usize).ok_or_else(damaged)
}

/// What rows are sorted by: `event_name` as bytes, and `created_at`.
pub(super) fn sort_key(row: &[u8]) -> io::Result<(&[u8], f64)> {
    let mut rest = row;
    let name = take(&mut rest)?.ok_or_else(damaged)?;
    Ok((name, f64::from_le_bytes(fixed(&mut rest)?)))
}

/// The row in `bytes`, without its length.
pub(super) fn read<'a>(bytes: &'a [u8], partition: &'a Partition) -> io::Result<(LakeRow<'a>, Origin)> {
    let rest = &mut &*bytes;
    let event_name = required(rest)?;
    let created_at = f64::from_le_bytes(fixed(rest)?);
    let origin = Origin { file: u32::from_le_bytes(fixed(rest)?), row: u32::from_le_bytes(fixed(rest)?) };
    let created_millis = i64::from_le_bytes(fixed(rest)?);
    let received_millis = i64::from_le_bytes(fixed(rest)?);
    let [has_version] = fixed(rest)?;
    let schema_version = i32::from_le_bytes(fixed(rest)?);
    let row = LakeRow {
        event_name,
        created_at,
        created_millis,
        received_millis,
        schema_version: (has_version == 1).then_some(schema_version),
        event_uuid: required(rest)?,
        event_subtype: utf8(take(rest)?)?,
        source: required(rest)?,
        client_address: utf8(take(rest)?)?,
        dedup_scope: utf8(take(rest)?)?,
        payload: required(rest)?,
        event_type: &partition.event_type,
        created_date: &partition.created_date,
    };
    Ok((row, origin))
}

fn text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn optional(value: Option<&str>, bytes: &mut Vec<u8>) {
    match value {
        Some(value) => text(value, bytes),
        None => bytes.extend(NULL.to_le_bytes()),
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> io::Result<Option<&'a [u8]>> {
    let length = u32::from_le_bytes(fixed(rest)?);
    if length == NULL {
        return Ok(None);
    }
    let (text, after) = rest.split_at_checked(length as usize).ok_or_else(damaged)?;
    *rest = after;
    Ok(Some(text))
}

fn required<'a>(rest: &mut &'a [u8]) -> io::Result<&'a str> {
    utf8(take(rest)?)?.ok_or_else(damaged)
}

fn utf8(text: Option<&[u8]>) -> io::Result<Option<&str>> {
    text.map(|text| std::str::from_utf8(text).map_err(|_| damaged())).transpose()
}

fn fixed<const BYTES: usize>(rest: &mut &[u8]) -> io::Result<[u8; BYTES]> {
    let (bytes, after) = rest.split_first_chunk().ok_or_else(damaged)?;
    *rest = after;
    Ok(*bytes)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a scratch file of the lake was damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_written_with_and_without_its_optional_columns() {
        let partition = Partition { event_type: "menu".into(), created_date: "2026-11-21".into() };
        let whole = LakeRow {
            event_uuid: "u",
            event_name: "menu:item",
            event_type: "menu",
            event_subtype: Some("item"),
            source: "web",
            schema_version: Some(3),
            created_at: 1.5,
            created_millis: 1_500,
            received_millis: -1,
            created_date: "2026-11-21",
            payload: "{\"a\":1}",
            client_address: Some("::1"),
            dedup_scope: Some(""),
        };
        let bare = LakeRow { event_subtype: None, schema_version: None, client_address: None, dedup_scope: None, ..whole };
        let mut bytes = Vec::new();
        let origin = Origin { file: 3, row: 70_000 };
        write(&whole, origin, &mut bytes);
        let second = bytes.len();
        write(&bare, origin, &mut bytes);
        for (from, row) in [(0, whole), (second, bare)] {
            let found = first(&bytes[from..]).unwrap();
            assert_eq!(sort_key(found).unwrap(), (&b"menu:item"[..], 1.5));
            assert_eq!(read(found, &partition).unwrap(), (row, origin));
        }
        assert!(first(&bytes[..second - 1]).is_err());
        assert!(read(&first(&bytes).unwrap()[..20], &partition).is_err());
    }
}
