//! `manifest.toml`: the hashes of published files, so that every later change is detected.
//!
//! Lines are added and never changed: a wrong hash is a finding, and only a person may correct it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::digest::sha256_hex;

/// The hashes of published files.
#[derive(Debug, Default)]
pub struct Manifest {
    /// By path below the folder.
    pub files: BTreeMap<String, String>,
    text: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The file is not a valid manifest.
    #[error("{0}: {1}")]
    Wrong(PathBuf, String),
}

const HEAD: &str = "# What has been published, and may not change any more. `lakegate schemas check --update-manifest` adds lines; none is\n\
                    # ever rewritten by it.\n\n[sha256]\n";

impl Manifest {
    /// The file's name in the registry's folder.
    pub const FILE: &str = "manifest.toml";

    /// Reads a manifest; `None` if there is no such file.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn load(file: &Path) -> Result<Option<Self>, ManifestError> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ManifestError::File(file.to_owned(), error)),
        };
        let wrong = |reason: String| ManifestError::Wrong(file.to_owned(), reason);
        let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let mut files = BTreeMap::new();
        for (section, value) in &table {
            let (true, toml::Value::Table(entries)) = (section == "sha256", value) else {
                return Err(wrong(format!("{section}: found; allowed: the table [sha256]")));
            };
            for (name, hash) in entries {
                let is_hash =
                    |hash: &&str| hash.len() == 64 && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
                let Some(hash) = hash.as_str().filter(is_hash) else {
                    return Err(wrong(format!("sha256.\"{name}\": found {hash}; allowed: 64 hexadecimal digits in quotes")));
                };
                files.insert(name.clone(), hash.to_owned());
            }
        }
        Ok(Some(Self { files, text }))
    }

    /// The text of this manifest with `more` files inserted in the order of names; existing lines stay unchanged.
    #[must_use]
    pub fn with(&self, more: &BTreeMap<String, String>) -> String {
        let text = if self.text.is_empty() { HEAD } else { &self.text };
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (name, hash) in more.iter().filter(|(name, _)| !self.files.contains_key(*name)) {
            let key = toml::Value::from(name.as_str());
            let line = format!("{key} = \"{hash}\"");
            let is_later =
                |line: &&String| line.starts_with('"') && line.split('"').nth(1).is_some_and(|other| other > name.as_str());
            let place = lines.iter().position(|line| is_later(&line)).unwrap_or(lines.len());
            lines.insert(place, line);
        }
        lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// The hash of a file's bytes, as written in a manifest.
    #[must_use]
    pub fn hash(bytes: &[u8]) -> String {
        sha256_hex(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_among_their_neighbours_and_none_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(Manifest::FILE);
        assert!(Manifest::load(&file).unwrap().is_none());
        let hashes = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Manifest::hash(name.as_bytes()))).collect();
        let first = Manifest::default().with(&hashes(&["b/1.json", "d/1.json"]));
        fs::write(&file, first.replace("\"d/1.json\"", "# by hand\n\"d/1.json\"")).unwrap();
        let manifest = Manifest::load(&file).unwrap().unwrap();
        assert_eq!(manifest.files, hashes(&["b/1.json", "d/1.json"]));
        let mut more: BTreeMap<String, String> = hashes(&["a/1.json", "c/1.json", "e/1.json"]);
        more.insert("b/1.json".into(), Manifest::hash(b"changed"));
        fs::write(&file, manifest.with(&more)).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('"').nth(1)).collect();
        assert_eq!(names, ["a/1.json", "b/1.json", "c/1.json", "d/1.json", "e/1.json"]);
        assert!(text.starts_with(HEAD) && text.contains("# by hand") && !text.contains(&Manifest::hash(b"changed")));
        assert_eq!(Manifest::load(&file).unwrap().unwrap().files.len(), 5);
    }

    #[test]
    fn a_manifest_that_is_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(Manifest::FILE);
        for (text, part) in [("[sha256]\n\"a\" = \"x\"", "sha256.\"a\""), ("[md5]", "[sha256]"), ("[", "TOML")] {
            fs::write(&file, text).unwrap();
            let error = Manifest::load(&file).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("manifest.toml"), "{error}");
        }
    }
}
