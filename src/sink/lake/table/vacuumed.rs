//! The file that says up to which time all files that the log removed are gone from the store: `_lakegate/vacuumed-until`, Unix
//! milliseconds as text.

use std::io;

use super::names::OWN_FOLDER;
use crate::sink::lake::store::Store;

const VACUUMED: &str = "vacuumed-until";

/// The time; `None` if no vacuum noted one, or what is there is no time.
pub(in crate::sink::lake) fn vacuumed_until(store: &Store) -> io::Result<Option<i64>> {
    match store.read(&format!("{OWN_FOLDER}/{VACUUMED}")) {
        Ok(text) => Ok(std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Notes the time.
pub(in crate::sink::lake) fn note_vacuumed(store: &Store, until_millis: i64) -> Result<(), String> {
    store.replace(OWN_FOLDER, VACUUMED, format!("{until_millis}\n").into())
}
