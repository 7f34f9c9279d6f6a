//! Runs as older releases wrote them, made here byte by byte: the writer makes only the newest format.

use super::*;
use crate::dedup::filter::SliceFilter;
use crate::dedup::format::seal;
use crate::dedup::identity::KeyedHash;

/// A run in format 1: one slice, no fingerprints, a footer that names no spool.
pub(super) fn format_1(ids: &[Uuid], mark_end_exclusive: u64) -> Vec<u8> {
    run(1, &unknown(ids), mark_end_exclusive, Uuid::nil())
}

/// A run in format 2: one slice, with fingerprints, without places.
pub(super) fn format_2(identities: &[Identity], mark_end_exclusive: u64, spool: Uuid) -> Vec<u8> {
    run(2, identities, mark_end_exclusive, spool)
}

fn run(version: u32, identities: &[Identity], mark_end_exclusive: u64, spool: Uuid) -> Vec<u8> {
    let hash = KeyedHash { seed: [21, 22] };
    let (page_ids, footer_bytes): (usize, usize) = if version == 1 { (256, 64) } else { (204, 96) };
    let mut keys: Vec<(u64, Identity)> = identities.iter().map(|identity| (hash.of(identity.id), *identity)).collect();
    keys.sort_unstable_by_key(|(hash, identity)| (*hash, identity.id));
    let mut header = vec![0; 4096];
    header[0..8].copy_from_slice(b"LG-DEDUP");
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[12..16].copy_from_slice(&(page_ids as u32).to_le_bytes());
    header[16..24].copy_from_slice(&hash.seed[0].to_le_bytes());
    header[24..32].copy_from_slice(&hash.seed[1].to_le_bytes());
    seal(&mut header);
    let (mut pages, mut fence, mut crcs) = (Vec::new(), Vec::new(), Vec::new());
    for keys in keys.chunks(page_ids) {
        let mut page = Vec::new();
        for (_, Identity { id, fingerprint }) in keys {
            page.extend(id.as_bytes());
            page.extend(fingerprint.to_le_bytes().iter().take(if version == 1 { 0 } else { 4 }));
        }
        page.resize(4096, 0);
        fence.extend(keys[0].0.to_le_bytes());
        crcs.extend(crc32c::crc32c(&page).to_le_bytes());
        pages.extend(page);
    }
    let mut hashes: Vec<u64> = keys.iter().map(|(hash, _)| *hash).collect();
    let filter = SliceFilter::build(&mut hashes);
    let mut tables = [fence, crcs].concat();
    filter.encode(&mut tables);
    let mut footer = vec![0; footer_bytes];
    footer[0..8].copy_from_slice(&(identities.len() as u64).to_le_bytes());
    footer[12..16].copy_from_slice(&crc32c::crc32c(&tables).to_le_bytes());
    footer[16..24].copy_from_slice(&(filter.fingerprints().len() as u64).to_le_bytes());
    footer[40..48].copy_from_slice(&mark_end_exclusive.to_le_bytes());
    if version > 1 {
        footer[48..64].copy_from_slice(spool.as_bytes());
    }
    seal(&mut footer);
    [header, pages, filter.fingerprints().to_vec(), tables, footer].concat()
}
