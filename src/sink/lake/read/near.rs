//! Finds the rows of an event by what is known of it.

use uuid::Uuid;

use super::{
    Filters, Lake, Near,
    file::{LakeFile, RowPlace},
    filters::{RowFilter, overlaps},
    near_report::{Hints, Located},
    survey::Place,
};
use crate::sink::lake::{
    LakeError,
    columns::DEDUP_SCOPE,
    partition::{LATE, parse_date},
    rows::{Millis, scopes, text_at, texts},
    table::TableFile,
};

/// The columns that tell where a row comes from.
const COLUMNS: [&str; 5] = ["event_name", "source", "created_datetime", "received_datetime", DEDUP_SCOPE];

impl Lake {
    /// Every row with this identity in the files that the hints admit. The log says which files that may be, their Bloom filters
    /// which row groups; then the column `event_uuid` of these is read, and of a row that is found a few more.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed.
    pub fn find_near(&self, event_uuid: Uuid, hints: &Hints) -> Result<Near, LakeError> {
        let text = event_uuid.hyphenated().to_string();
        let filters = Filters {
            event_type: hints.event_type.clone(),
            event_name: hints.event_name.clone(),
            from_inclusive: hints.created_dates.iter().min().copied(),
            to_inclusive: hints.created_dates.iter().max().copied(),
        };
        let by_name = RowFilter { event_name: hints.event_name.as_deref(), created_millis: None };
        let none = || (Vec::new(), false);
        let logged = |place: &Place<'_>, file: &TableFile| {
            let by_time = hints.received_millis.as_ref().zip(file.statistics.received_millis);
            let is_out = !hints.admits_date(&place.partition.created_date)
                || by_name.excludes(&file.statistics)
                || by_time.is_some_and(|(wanted, found)| !overlaps(wanted, found));
            is_out.then(none)
        };
        let look = |place: &Place<'_>, file: &LakeFile| {
            if !hints.admits_date(&place.partition.created_date) {
                return Ok(none());
            }
            let rows = file.rows_of_uuid(&text, hints.received_millis.as_ref())?;
            let located = rows.into_iter().map(|row| locate(place, file, row)).collect::<Result<Vec<_>, String>>()?;
            Ok((located, true))
        };
        let mut near = Near::default();
        near.left_out = self.survey(&filters, logged, look, |_, (rows, is_opened)| {
            near.rows.extend(rows);
            near.files_opened += u64::from(is_opened);
            Ok(())
        })?;
        Ok(near)
    }
}

impl Hints {
    /// An old folder `late` has events of any day.
    fn admits_date(&self, created_date: &str) -> bool {
        self.created_dates.is_empty()
            || created_date == LATE
            || parse_date(created_date).is_some_and(|date| self.created_dates.contains(&date))
    }
}

/// Reads the rest of a row.
fn locate(place: &Place<'_>, file: &LakeFile, at: RowPlace) -> Result<Located, String> {
    let batch = file.row(&COLUMNS, at)?.next().ok_or("a row is missing")??;
    if batch.num_rows() != 1 {
        return Err("a row is missing".to_owned());
    }
    Ok(Located {
        file: place.path(),
        row: at.row,
        row_group: at.group as u64,
        partition: place.partition.clone(),
        event_name: texts(&batch, "event_name")?.value(0).to_owned(),
        source: texts(&batch, "source")?.value(0).to_owned(),
        created_millis: Millis::of(&batch, "created_datetime")?.value(0),
        received_millis: Millis::of(&batch, "received_datetime")?.value(0),
        dedup_scope: text_at(scopes(&batch), 0).map(str::to_owned),
    })
}
