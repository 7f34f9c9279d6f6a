//! The error for a key that does not exist: its place, and the key that was probably meant.

use toml::{Table, Value};

use super::Config;

/// Prefix of the environment variables that override keys.
pub(super) const PREFIX: &str = "LAKEGATE__";

/// Minimum similarity (Jaro-Winkler, 0 to 1) of a suggested key.
const SIMILARITY_MIN: f64 = 0.75;

/// An unknown key, and the keys of its section.
#[derive(Debug, PartialEq)]
pub(super) struct UnknownKey {
    section: String,
    name: String,
    siblings: Vec<String>,
}

/// Where a key is written: in a file, or in the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    /// `http.listen`
    File,
    /// `LAKEGATE__HTTP__LISTEN`. A variable that names a key inside an unknown section is longer than the unknown part.
    Variable {
        /// Whether more follows the unknown part.
        is_longer: bool,
    },
}

impl Notation {
    fn write(self, key: &str) -> String {
        match self {
            Self::File => key.to_owned(),
            Self::Variable { is_longer } => {
                let rest = if is_longer { "__…" } else { "" };
                format!("{PREFIX}{}{rest}", key.to_uppercase().replace('.', "__"))
            }
        }
    }
}

impl UnknownKey {
    /// Parses serde's message: ``unknown field `quota`, expected one of `quota_bytes`, …``. `None` for another error.
    pub(super) fn parse(path: &str, message: &str) -> Option<Self> {
        let mut quoted = message.split_once("unknown field `")?.1.split('`');
        let name = quoted.next()?.to_owned();
        let siblings = quoted.skip(1).step_by(2).map(str::to_owned).collect();
        let section = path.strip_suffix(name.as_str()).unwrap_or(path).trim_end_matches('.').to_owned();
        Some(Self { section, name, siblings })
    }

    /// The text after "unknown key" in the error.
    pub(super) fn hint(&self, notation: Notation) -> String {
        let likeness = |sibling: &String| strsim::jaro_winkler(sibling, &self.name);
        let nearest = self.siblings.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let meant = match nearest.filter(|nearest| likeness(nearest) >= SIMILARITY_MIN) {
            Some(nearest) => vec![self.in_section(nearest)],
            None => elsewhere(&self.name),
        };
        let write = |keys: Vec<String>| keys.iter().map(|key| notation.write(key)).collect::<Vec<_>>();
        if meant.is_empty() {
            let known = self.siblings.iter().map(|sibling| self.in_section(sibling)).collect();
            return format!("; known are {}", write(known).join(", "));
        }
        format!("; did you mean {}?", write(meant).join(" or "))
    }

    fn in_section(&self, name: &str) -> String {
        if self.section.is_empty() { name.to_owned() } else { format!("{}.{name}", self.section) }
    }
}

/// A sentence, where the name of a variable separates the parts of a key with one underscore: such a variable is not read.
pub(super) fn single_underscores(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("LAKEGATE_").filter(|name| !name.starts_with('_'))?;
    let keys = known_keys();
    let is_section = |key: &str| keys.iter().any(|other| other.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    let key = keys.iter().find(|key| key.replace('.', "_").eq_ignore_ascii_case(name) && !is_section(key))?;
    let meant = Notation::Variable { is_longer: false }.write(key);
    Some(format!("{variable} is not read: two underscores separate the parts of a key; did you mean {meant}?"))
}

/// The keys with this name in all sections: `listen` is in `http` and in `admin`.
fn elsewhere(name: &str) -> Vec<String> {
    known_keys().into_iter().filter(|key| key.rsplit('.').next() == Some(name)).collect()
}

/// Every section and every key that has a default.
fn known_keys() -> Vec<String> {
    let Ok(Value::Table(all)) = Value::try_from(Config::default()) else { return Vec::new() };
    let mut keys = Vec::new();
    collect(&all, "", &mut keys);
    keys
}

fn collect(table: &Table, prefix: &str, keys: &mut Vec<String>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        keys.push(key.clone());
        if let Value::Table(section) = value {
            collect(section, &format!("{key}."), keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested_in_the_notation_of_the_place() {
        let message = "unknown field `quota`, expected one of `segment_bytes`, `quota_bytes`";
        let unknown = UnknownKey::parse("spool.quota", message).unwrap();
        assert_eq!(unknown.siblings, ["segment_bytes", "quota_bytes"]);
        assert_eq!(unknown.hint(Notation::File), "; did you mean spool.quota_bytes?");
        let variable = Notation::Variable { is_longer: false };
        assert_eq!(unknown.hint(variable), "; did you mean LAKEGATE__SPOOL__QUOTA_BYTES?");
        let unknown = UnknownKey::parse("htpp", "unknown field `htpp`, expected `http` or `spool`").unwrap();
        assert_eq!(unknown.hint(Notation::Variable { is_longer: true }), "; did you mean LAKEGATE__HTTP__…?");
    }

    #[test]
    fn a_variable_with_one_underscore_between_the_parts_is_named_with_the_one_that_is_meant() {
        let told = single_underscores("LAKEGATE_HTTP_LISTEN").unwrap();
        assert!(told.contains("LAKEGATE_HTTP_LISTEN is not read") && told.contains("LAKEGATE__HTTP__LISTEN?"), "{told}");
        assert!(single_underscores("LAKEGATE_DATA_DIR").unwrap().contains("LAKEGATE__DATA_DIR?"));
        for other in ["LAKEGATE_CONFIG", "LAKEGATE__HTTP__LISTEN", "LAKEGATE_HTTP", "HTTP_LISTEN"] {
            assert_eq!(single_underscores(other), None, "{other}");
        }
    }

    #[test]
    fn a_key_of_another_section_is_found_there_and_else_the_known_ones_are_listed() {
        let unknown = |name: &str| UnknownKey::parse(name, &format!("unknown field `{name}`, expected `http` or `spool`"));
        assert_eq!(unknown("listen").unwrap().hint(Notation::File), "; did you mean admin.listen or http.listen?");
        assert_eq!(unknown("zzz").unwrap().hint(Notation::File), "; known are http, spool");
        assert_eq!(UnknownKey::parse("a", "invalid type: string \"x\", expected u64"), None);
    }
}
