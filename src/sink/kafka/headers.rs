//! The headers of a record in the CloudEvents format: the attributes of the event, as in the binary mode of the Kafka protocol
//! binding of CloudEvents 1.0. They wait in the entry as bytes: name and value by turns, each after its length.

use uuid::Uuid;

use crate::event::{Envelope, iso_millis};

/// What precedes the name of an attribute.
const PREFIX: &str = "ce_";

/// Appends the attributes of an event to `out`.
pub fn write_headers(envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    let mut attribute = |name: &str, value: &str| write_header(&[PREFIX, name], value, out);
    attribute("specversion", "1.0");
    attribute("id", envelope.event_uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    attribute("source", envelope.source);
    attribute("type", envelope.event_name.as_str());
    attribute("time", iso_millis(envelope.created_at.millis).as_str());
    let (event_type, event_subtype) = envelope.event_name.type_and_subtype();
    attribute("eventtype", event_type);
    if let Some(subtype) = event_subtype {
        attribute("eventsubtype", subtype);
    }
    attribute("receivedtime", iso_millis(envelope.received_millis).as_str());
    if let Some(version) = envelope.schema_version {
        attribute("schemaversion", &version.to_string());
    }
    if let Some(address) = envelope.client_address {
        attribute("clientaddress", address);
    }
    if let Some(scope) = envelope.dedup_scope() {
        attribute("dedupscope", scope);
    }
    if envelope.is_late {
        attribute("createddate", &envelope.created_date().to_string());
    }
    if envelope.dedup_unchecked {
        attribute("dedup", "unchecked");
    }
    write_header(&["content-type"], "application/json", out);
}

fn write_header(name: &[&str], value: &str, out: &mut Vec<u8>) {
    // Event names, names of keys and times are far shorter than 64 KiB.
    let name_bytes: usize = name.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&(name_bytes as u16).to_le_bytes());
    name.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// The names and values that [`write_headers`] wrote.
pub fn read_headers(mut bytes: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    std::iter::from_fn(move || {
        let name = take(&mut bytes)?;
        let value = take(&mut bytes)?;
        Some((std::str::from_utf8(name).ok()?, value))
    })
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *bytes = rest;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        write_header(&["ce_", "id"], "7", &mut bytes);
        write_header(&["content-type"], "", &mut bytes);
        let found: Vec<_> = read_headers(&bytes).collect();
        assert_eq!(found, [("ce_id", &b"7"[..]), ("content-type", &b""[..])]);
        assert_eq!(read_headers(&bytes[..bytes.len() - 1]).count(), 1, "a torn end is left out");
        assert_eq!(read_headers(&[]).count(), 0);
    }
}
