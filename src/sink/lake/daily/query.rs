//! The texts of the queries.

use std::{collections::BTreeSet, fs, io, path::Path};

use crate::{
    digest::sha256_hex,
    event::Date,
    limits::{LAKE_DAILY_QUERIES_MAX, LAKE_DAILY_QUERY_BYTES_MAX},
};

/// What a query is about in all, as it stands in its text: days of rows, and days of the lake.
const FIRST: &str = "0001-01-01";
const LAST: &str = "9999-12-31";
/// A file with this ending defines views that the queries beside it use.
const VIEWS: &str = "views.duckdb.sql";

/// A query whose result is kept as a daily table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyQuery {
    /// Its name, and that of its table.
    pub name: String,
    text: String,
    /// Statements that define views.
    views: Vec<View>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    name: String,
    statement: String,
}

impl DailyQuery {
    /// The questions of a restaurant: `queries/daily/`.
    #[must_use]
    pub fn shipped() -> Vec<Self> {
        let views = views_of(include_str!("../../../../queries/views.duckdb.sql"));
        [
            ("visits", include_str!("../../../../queries/daily/visits.sql")),
            ("sections", include_str!("../../../../queries/daily/sections.sql")),
            ("dishes", include_str!("../../../../queries/daily/dishes.sql")),
            ("dish_times", include_str!("../../../../queries/daily/dish_times.sql")),
        ]
        .map(|(name, text)| Self { name: name.to_owned(), text: text.to_owned(), views: views.clone() })
        .into()
    }

    /// The queries of a folder, sorted by name: each file `NAME.sql` is one. They may use the views that its `views.duckdb.sql`
    /// defines, and those of the shipped queries.
    ///
    /// # Errors
    /// If the folder or a file cannot be read, is too large, or has a name that no table has.
    pub fn of_folder(folder: &Path) -> io::Result<Vec<Self>> {
        let mut views = views_of(include_str!("../../../../queries/views.duckdb.sql"));
        let mut queries = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| at(folder, &error.to_string()))? {
            let path = entry?.path();
            let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if file == VIEWS {
                views.splice(0..0, views_of(&read(&path)?));
            }
            let Some(name) = file.strip_suffix(".sql").filter(|name| !name.starts_with("views.")) else { continue };
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !name.bytes().all(is_plain) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
                return Err(at(&path, "the name of a query has lower-case letters, digits and _, and begins with a letter"));
            }
            queries.push(Self { name: name.to_owned(), text: read(&path)?, views: Vec::new() });
        }
        if queries.is_empty() {
            return Err(at(folder, "there is no file NAME.sql"));
        }
        if queries.len() > LAKE_DAILY_QUERIES_MAX {
            return Err(at(folder, &format!("more than {LAKE_DAILY_QUERIES_MAX} queries")));
        }
        queries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(queries.into_iter().map(|query| Self { views: views.clone(), ..query }).collect())
    }

    /// The text for the days from `first` to `last`. It reads the days of the lake from one before to two behind them.
    pub(super) fn for_days(&self, first: Date, last: Date) -> String {
        let quoted = |day: &str| format!("'{day}'");
        let text = self.text.trim_end_matches(|letter: char| letter == ';' || letter.is_whitespace());
        let text = text.replace(&format!("DATE '{FIRST}'"), &format!("DATE '{first}'"));
        let text = text.replace(&format!("DATE '{LAST}'"), &format!("DATE '{last}'"));
        let (before, behind) = (Date { days: first.days - 1 }, Date { days: last.days + 2 });
        text.replace(&quoted(FIRST), &quoted(&before.to_string())).replace(&quoted(LAST), &quoted(&behind.to_string()))
    }

    /// The statements of the views that the query uses, each behind those that it uses itself.
    pub(super) fn views(&self) -> Vec<&str> {
        let mut used: BTreeSet<usize> = BTreeSet::new();
        loop {
            let texts = || used.iter().map(|at| self.views[*at].statement.as_str()).chain([self.text.as_str()]);
            let new =
                (0..self.views.len()).find(|at| !used.contains(at) && texts().any(|text| names(text, &self.views[*at].name)));
            match new {
                Some(at) => used.insert(at),
                None => break,
            };
        }
        used.into_iter().map(|at| self.views[at].statement.as_str()).collect()
    }

    /// Whether the query, or a view that it uses, names this table.
    pub(super) fn reads(&self, table: &str) -> bool {
        self.views().into_iter().chain([self.text.as_str()]).any(|text| names(text, table))
    }

    /// Another one for each other text.
    pub(super) fn fingerprint(&self) -> String {
        sha256_hex([self.views().concat(), self.text.clone()].join("\u{0}"))
    }
}

/// Whether a text of SQL has a name as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.match_indices(name).any(|(at, _)| {
        let before = text.as_bytes()[..at].last().copied();
        let behind = text.as_bytes().get(at + name.len()).copied();
        !before.is_some_and(is_of_name) && !behind.is_some_and(is_of_name)
    })
}

/// The statements `CREATE … VIEW name AS …;` of a text, in its order.
fn views_of(text: &str) -> Vec<View> {
    let without_comments: String =
        text.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n");
    let of = |statement: &str| {
        let (_, behind) = statement.split_once("VIEW ")?;
        let name = behind.split_whitespace().next()?.trim_matches('"').to_owned();
        Some(View { name, statement: format!("{};\n", statement.trim()) })
    };
    without_comments.split(';').filter_map(of).collect()
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = fs::metadata(path).map_err(|error| at(path, &error.to_string()))?.len();
    if bytes > LAKE_DAILY_QUERY_BYTES_MAX {
        return Err(at(path, &format!("more than {LAKE_DAILY_QUERY_BYTES_MAX} bytes")));
    }
    fs::read_to_string(path).map_err(|error| at(path, &error.to_string()))
}

fn at(path: &Path, reason: &str) -> io::Error {
    io::Error::other(format!("{}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        crate::sink::lake::parse_date(text).unwrap()
    }

    #[test]
    fn a_shipped_query_for_some_days_has_them_in_place_of_all() {
        let shipped = DailyQuery::shipped();
        assert_eq!(
            shipped.iter().map(|query| query.name.as_str()).collect::<Vec<_>>(),
            ["visits", "sections", "dishes", "dish_times"]
        );
        for query in &shipped {
            let text = query.for_days(date("2026-11-20"), date("2026-11-22"));
            assert!(!text.contains(FIRST) && !text.contains(LAST), "{text}");
            for part in ["DATE '2026-11-20'", "DATE '2026-11-22'", "'2026-11-19'", "'2026-11-24'"] {
                assert!(text.contains(part), "{}: {part}", query.name);
            }
        }
    }

    #[test]
    fn a_query_reads_what_it_names_and_what_its_views_name() {
        let reads = |name: &str| {
            let query = DailyQuery::shipped().into_iter().find(|query| query.name == name).unwrap();
            let tables = ["menu_page_opened", "menu_item_viewed", "menu_visit_progress", "menu_page", "menu_item"];
            tables.into_iter().filter(|table| query.reads(table)).collect::<Vec<_>>()
        };
        assert_eq!(reads("visits"), ["menu_page_opened"]);
        assert_eq!(reads("dishes"), ["menu_page_opened", "menu_item_viewed"]);
        assert_eq!(reads("dish_times"), ["menu_page_opened", "menu_visit_progress"], "through a view");
    }

    #[test]
    fn a_folder_has_queries_and_views_and_a_name_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert!(DailyQuery::of_folder(folder.path()).unwrap_err().to_string().contains("no file NAME.sql"));
        write(
            "views.duckdb.sql",
            "-- One; two.\nCREATE VIEW mine AS SELECT 1 FROM menu_a;\nCREATE VIEW other AS SELECT 2 FROM menu_b;\n",
        );
        write("views.athena.sql", "for others");
        write("b.sql", "SELECT DATE '2026-11-20' AS day FROM mine;\n");
        write("a.sql", "SELECT day FROM mine_too");
        write("README.md", "");
        let queries = DailyQuery::of_folder(folder.path()).unwrap();
        assert_eq!(queries.iter().map(|query| query.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((queries[0].views(), queries[0].reads("menu_a")), (vec![], false));
        assert_eq!(queries[1].views(), ["CREATE VIEW mine AS SELECT 1 FROM menu_a;\n"]);
        assert!(queries[1].reads("menu_a") && !queries[1].reads("menu_b"));
        let before = queries[1].fingerprint();
        write("views.duckdb.sql", "CREATE VIEW mine AS SELECT 1 FROM menu_c;");
        assert_ne!(DailyQuery::of_folder(folder.path()).unwrap()[1].fingerprint(), before);
        write("Bad-name.sql", "SELECT 1");
        assert!(DailyQuery::of_folder(folder.path()).unwrap_err().to_string().contains("Bad-name.sql"));
    }
}
