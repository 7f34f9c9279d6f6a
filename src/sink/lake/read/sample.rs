//! Random rows.

use std::{collections::BTreeMap, io};

use super::{Export, Filters, Lake, file::LakeFile, filters::RowFilter, survey::Place};
use crate::{
    limits::LAKE_READ_ROWS,
    sink::lake::{
        LakeError, LakeRow,
        columns::all_columns,
        rows::{Millis, each_row, texts},
    },
};

/// The rows of one file that match.
enum Matches {
    /// All of so many.
    All(u64),
    /// Those with these numbers, ascending.
    Some(Vec<u64>),
}

impl Lake {
    /// Passes `wanted` random rows that match the filters to `visit`, or all if there are fewer, file by file. Every row is as
    /// likely as any other, whatever the size of its file. The same `seed` over the same files gives the same rows.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed, or `visit` fails.
    pub fn sample(
        &self,
        filters: &Filters,
        wanted: usize,
        seed: u64,
        visit: &mut dyn FnMut(&LakeRow<'_>) -> io::Result<()>,
    ) -> Result<Export, LakeError> {
        let mut reservoir = Reservoir { wanted, seen: 0, chosen: Vec::new(), random: fastrand::Rng::with_seed(seed) };
        let mut files = Vec::new();
        let logged = |place: &Place<'_>, file: &crate::sink::lake::table::TableFile| {
            let filter = filters.of_rows(place.partition);
            match filter.is_all() {
                true => file.statistics.rows.map(Matches::All),
                false => filter.excludes(&file.statistics).then_some(Matches::All(0)),
            }
        };
        let look = |place: &Place<'_>, file: &LakeFile| matches(file, &filters.of_rows(place.partition));
        let mut left_out = self.survey(filters, logged, look, |place, matches| {
            reservoir.offer(files.len(), &matches);
            files.push((place.partition.clone(), place.entry.clone(), place.logged.clone()));
            Ok(())
        })?;
        let mut rows = 0;
        for (file, numbers) in reservoir.by_file() {
            let (partition, entry, logged) = &files[file];
            let place = Place { partition, entry: entry.clone(), logged: logged.clone() };
            let visited = self.open_file(&place).and_then(|file| {
                for batch in file.rows_at(&all_columns(), &numbers)? {
                    let each = &mut |row: &LakeRow<'_>| {
                        rows += 1;
                        visit(row)
                    };
                    if let Err(error) = each_row(&batch?, partition, each)? {
                        return Ok(Err(error));
                    }
                }
                Ok(Ok(()))
            });
            match visited {
                Ok(visited) => visited.map_err(LakeError::Output)?,
                Err(reason) => left_out.push(place.left_out(reason)),
            }
        }
        Ok(Export { rows, left_out })
    }
}

/// The rows of a file that match.
fn matches(file: &LakeFile, filter: &RowFilter<'_>) -> Result<Matches, String> {
    if filter.is_all() {
        return Ok(Matches::All(file.rows()));
    }
    let mut numbers = Vec::new();
    let mut first = 0;
    // Of all row groups, so that the numbers are those of the file.
    for batch in file.every_row(&["event_name", "created_datetime"], LAKE_READ_ROWS)? {
        let batch = batch?;
        let (names, created) = (texts(&batch, "event_name")?, Millis::of(&batch, "created_datetime")?);
        let admitted = (0..batch.num_rows()).filter(|&row| filter.admits(names.value(row), created.value(row)));
        numbers.extend(admitted.map(|row| first + row as u64));
        first += batch.num_rows() as u64;
    }
    Ok(Matches::Some(numbers))
}

/// Reservoir sampling (Vitter's algorithm R): one pass, and each row is kept with the same probability.
struct Reservoir {
    wanted: usize,
    seen: u64,
    /// File, and row in it.
    chosen: Vec<(usize, u64)>,
    random: fastrand::Rng,
}

impl Reservoir {
    fn offer(&mut self, file: usize, matches: &Matches) {
        match matches {
            Matches::All(rows) => (0..*rows).for_each(|row| self.offer_row(file, row)),
            Matches::Some(rows) => rows.iter().for_each(|&row| self.offer_row(file, row)),
        }
    }

    fn offer_row(&mut self, file: usize, row: u64) {
        self.seen += 1;
        if self.chosen.len() < self.wanted {
            self.chosen.push((file, row));
            return;
        }
        let place = self.random.u64(0..self.seen);
        if let Some(chosen) = usize::try_from(place).ok().and_then(|place| self.chosen.get_mut(place)) {
            *chosen = (file, row);
        }
    }

    /// The chosen rows of each file, ascending.
    fn by_file(self) -> BTreeMap<usize, Vec<u64>> {
        let mut files: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (file, row) in self.chosen {
            files.entry(file).or_default().push(row);
        }
        files.values_mut().for_each(|rows| rows.sort_unstable());
        files
    }
}
