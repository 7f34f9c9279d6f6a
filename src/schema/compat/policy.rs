//! `registry.toml`: the compatibility mode of each event.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};
use wildmatch::WildMatch;

use super::Mode;
use crate::event::EventName;

/// The modes of a registry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// By event name or pattern of names.
    modes: BTreeMap<String, Mode>,
    /// Versions that need not be compatible with earlier versions, as `menu:item:viewed/3`, and why.
    fresh_starts: BTreeMap<String, String>,
}

/// Errors of the file.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file is not TOML.
    #[error("{file}: {error}")]
    NotToml {
        /// The file.
        file: PathBuf,
        /// The parser's message.
        error: toml::de::Error,
    },
    /// The file has an invalid value.
    #[error("{file}: {key}: {reason}")]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// The value, and the allowed values.
        reason: String,
    },
}

const SECTIONS: [&str; 2] = ["compatibility", "fresh_start"];

impl Policy {
    /// The file's name in the registry's folder.
    pub const FILE: &str = "registry.toml";

    /// Reads `folder/registry.toml`; without the file every event is [`Mode::Backward`].
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn load(folder: &Path) -> Result<Self, PolicyError> {
        let file = folder.join(Self::FILE);
        match fs::read_to_string(&file) {
            Ok(text) => Self::parse(&text, &file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(PolicyError::Unreadable(file, error)),
        }
    }

    /// Parses the text of such a file.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, PolicyError> {
        let wrong = |key: String, reason: String| PolicyError::Wrong { file: file.to_owned(), key, reason };
        let table: Table = toml::from_str(text).map_err(|error| PolicyError::NotToml { file: file.to_owned(), error })?;
        let mut policy = Self::default();
        for (section, value) in &table {
            let Value::Table(entries) = value else {
                let allowed = SECTIONS.map(|name| format!("[{name}]")).join(", ");
                return Err(wrong(section.clone(), format!("found a value; allowed: the tables {allowed}")));
            };
            for (name, value) in entries {
                let key = format!("{section}.\"{name}\"");
                let Value::String(text) = value else {
                    return Err(wrong(key, format!("found {value}; a string is allowed")));
                };
                match section.as_str() {
                    "compatibility" => {
                        check_name(name).map_err(|reason| wrong(key.clone(), reason))?;
                        policy.modes.insert(name.clone(), text.parse().map_err(|reason| wrong(key, reason))?);
                    }
                    "fresh_start" => {
                        check_version(name).map_err(|reason| wrong(key.clone(), reason))?;
                        if text.trim().is_empty() {
                            return Err(wrong(key, "found no reason; say why nothing before it counts".into()));
                        }
                        policy.fresh_starts.insert(name.clone(), text.clone());
                    }
                    _ => {
                        let allowed = SECTIONS.join(", ");
                        return Err(wrong(section.clone(), format!("is no section; allowed: {allowed}")));
                    }
                }
            }
        }
        Ok(policy)
    }

    /// The mode of an event: its own, else of the matching pattern with the most letters, else [`Mode::Backward`].
    #[must_use]
    pub fn mode(&self, event_name: &str) -> Mode {
        let letters = |pattern: &str| pattern.chars().filter(|letter| !matches!(letter, '*' | '?')).count();
        let exact = self.modes.get(event_name);
        let matching = self.modes.iter().filter(|(pattern, _)| WildMatch::new(pattern).matches(event_name));
        let closest = matching.max_by_key(|(pattern, _)| letters(pattern)).map(|(_, mode)| mode);
        exact.or(closest).copied().unwrap_or_default()
    }

    /// Why this version need not be compatible with earlier versions.
    #[must_use]
    pub fn fresh_start(&self, event_name: &str, version: u32) -> Option<&str> {
        self.fresh_starts.get(&format!("{event_name}/{version}")).map(String::as_str)
    }

    /// The keys of the file for names and versions that are not in `events`, as written.
    #[must_use]
    pub fn unused(&self, events: &[(&str, u32)]) -> Vec<String> {
        let has_name = |pattern: &str| events.iter().any(|(name, _)| WildMatch::new(pattern).matches(name));
        let has_version = |label: &str| events.iter().any(|(name, version)| format!("{name}/{version}") == label);
        let modes =
            self.modes.keys().filter(|name| *name != "*" && !has_name(name)).map(|name| format!("compatibility.\"{name}\""));
        let starts = self.fresh_starts.keys().filter(|label| !has_version(label)).map(|label| format!("fresh_start.\"{label}\""));
        modes.chain(starts).collect()
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = "allowed: an event name such as menu:item:viewed, or a pattern such as menu:*";
    let plain = name.replace(['*', '?'], "x");
    EventName::parse(&plain).map(|_| ()).map_err(|error| format!("the name {error}; {allowed}"))
}

fn check_version(label: &str) -> Result<(), String> {
    let allowed = "allowed: an event name and a version above 1, such as menu:item:viewed/3";
    let (name, version) = label.split_once('/').ok_or(allowed)?;
    let is_version = version.parse().is_ok_and(|number: u32| number > 1 && number.to_string() == version);
    if is_version && EventName::parse(name).is_ok() { Ok(()) } else { Err(allowed.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, String> {
        Policy::parse(text, Path::new("schemas/registry.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_most_specific_name_wins() {
        let policy = parse(
            "[compatibility]\n\"*\" = \"FORWARD\"\n\"menu:*\" = \"FULL\"\n\"menu:item:*\" = \"NONE\"\n\
             \"menu:item:viewed\" = \"BACKWARD_TRANSITIVE\"\n[fresh_start]\n\"menu:item:viewed/3\" = \"a new app\"",
        )
        .unwrap();
        for (name, mode) in [
            ("account:created", Mode::Forward),
            ("menu:page:opened", Mode::Full),
            ("menu:item:ordered", Mode::None),
            ("menu:item:viewed", Mode::BackwardTransitive),
        ] {
            assert_eq!(policy.mode(name), mode, "{name}");
        }
        assert_eq!(Policy::default().mode("menu:item:viewed"), Mode::Backward);
        assert_eq!(policy.fresh_start("menu:item:viewed", 3), Some("a new app"));
        assert_eq!(policy.fresh_start("menu:item:viewed", 2), None);
        assert_eq!(policy.unused(&[("menu:item:viewed", 1), ("menu:item:viewed", 2)]), ["fresh_start.\"menu:item:viewed/3\""]);
        assert_eq!(policy.unused(&[("account:created", 1)]).len(), 4);
    }

    #[test]
    fn a_bad_file_is_told_with_its_key_what_was_found_and_what_is_allowed() {
        for (text, parts) in [
            ("[compatibility]\n\"menu:*\" = \"full\"", vec!["compatibility.\"menu:*\"", "\"full\"", "FULL_TRANSITIVE"]),
            ("[compatibility]\n\"menu:*\" = 1", vec!["compatibility.\"menu:*\"", "found 1", "a string"]),
            ("[compatibility]\n\"menu item\" = \"FULL\"", vec!["compatibility.\"menu item\"", "allowed"]),
            ("compatibility = \"FULL\"", vec!["compatibility:", "[compatibility]"]),
            ("[modes]\n\"menu:*\" = \"FULL\"", vec!["modes", "fresh_start"]),
            ("[fresh_start]\n\"menu:item:viewed/1\" = \"x\"", vec!["menu:item:viewed/1", "above 1"]),
            ("[fresh_start]\n\"menu:item:viewed/2\" = \" \"", vec!["no reason"]),
            ("[compatibility]\n\"a\" = \"FULL\"\n\"a\" = \"NONE\"", vec!["line 3"]),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("schemas/registry.toml: "), "{error}");
            assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
        }
    }
}
