//! Sections that were renamed since the last release. The old names are accepted, and the user gets one notice.

use toml::Table;

/// The old name of a section, and the name that replaces it.
const SECTIONS: [(&str, &str); 1] = [("dead_letter", "dead_letters")];

/// An environment variable that sets a key.
pub(super) struct Variable {
    /// The name in the environment, for error messages.
    pub(super) name: String,
    /// The key, split at its dots.
    pub(super) path: Vec<String>,
    /// The value.
    pub(super) text: String,
}

/// Both the old and the new name are used, so the intention is unclear.
pub(super) struct BothNames {
    /// The variable with the old name, if both are in the environment.
    pub(super) variable: Option<String>,
    /// The old name.
    pub(super) key: String,
    /// How to fix it.
    pub(super) reason: String,
}

/// Renames old sections of a file. Returns a notice for each.
pub(super) fn rename_in_file(table: &mut Table) -> Result<Vec<String>, BothNames> {
    let mut told = Vec::new();
    for (old, new) in SECTIONS {
        let Some(section) = table.remove(old) else { continue };
        if table.contains_key(new) {
            let reason = format!("is the old name of [{new}], and the file has both sections; move its keys to [{new}]");
            return Err(BothNames { variable: None, key: old.to_owned(), reason });
        }
        table.insert(new.to_owned(), section);
        told.push(format!("the section [{old}] of the configuration file is now called [{new}]; the old name works for now"));
    }
    Ok(told)
}

/// Renames old sections in environment variables. Returns a notice for each.
pub(super) fn rename_in_environment(variables: &mut [Variable]) -> Result<Vec<String>, BothNames> {
    let mut told = Vec::new();
    for (old, new) in SECTIONS {
        let is_in = |variable: &&Variable, section: &str| variable.path.first().is_some_and(|first| first == section);
        let Some(example) = variables.iter().find(|variable| is_in(variable, old)) else { continue };
        let (example, key) = (example.name.clone(), example.path.join("."));
        if let Some(other) = variables.iter().find(|variable| is_in(variable, new)) {
            let reason =
                format!("has the old name of the section [{new}], and {} has the new one; use the new one for all", other.name);
            return Err(BothNames { variable: Some(example), key, reason });
        }
        for first in variables.iter_mut().filter_map(|variable| variable.path.first_mut()).filter(|first| *first == old) {
            new.clone_into(first);
        }
        let (old, new) = (old.to_uppercase(), new.to_uppercase());
        told.push(format!(
            "the environment variables LAKEGATE__{old}__… are now called LAKEGATE__{new}__…, {example} among them; the old names work for now"
        ));
    }
    Ok(told)
}
