//! Changes one key in the text of a configuration file, and leaves the rest of the text as it is: comments, order, spelling.

use anyhow::{Context, bail};
use toml_edit::{Array, DocumentMut, InlineTable, Item, TableLike, Value};

use crate::config::{KeyConfig, SecretConfig};

/// Indent of a secret on a line of its own.
const INDENT: &str = "\n    ";

/// The text with the key `before` changed to `after`. Only the secrets and `enabled` may differ.
pub(super) fn with_key(text: &str, before: &KeyConfig, after: &KeyConfig) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let keys = document.get_mut("keys").context("the file has no keys")?;
    let key = find(keys, "name", &before.name).with_context(|| format!("the file has no key {:?}", before.name))?;
    match &after.secret_sha256 {
        Some(sha256) if after.secret_sha256 != before.secret_sha256 => set(key, "secret_sha256", sha256.as_str().into()),
        Some(_) => {}
        None => drop(key.remove("secret_sha256")),
    }
    for SecretConfig { sha256, .. } in &before.secrets {
        if !after.secrets.iter().any(|secret| secret.sha256 == *sha256) {
            remove(key, sha256)?;
        }
    }
    for secret in &after.secrets {
        match before.secrets.iter().find(|before| before.sha256 == secret.sha256) {
            Some(before) if before == secret => {}
            Some(_) => {
                let secrets = key.get_mut("secrets").context("secrets")?;
                let entry = find(secrets, "sha256", &secret.sha256).context("a secret")?;
                match secret.not_after {
                    Some(not_after) => set(entry, "not_after", not_after.to_string().into()),
                    None => drop(entry.remove("not_after")),
                }
            }
            None => add(key, secret)?,
        }
    }
    if after.enabled != before.enabled {
        set(key, "enabled", after.enabled.into());
    }
    Ok(document.to_string())
}

/// The table in `list` whose `field` is `text`. A list is written as `[[tables]]` or as `[{ … }, { … }]`.
fn find<'a>(list: &'a mut Item, field: &str, text: &str) -> Option<&'a mut dyn TableLike> {
    let is_meant = |table: &dyn TableLike| table.get(field).and_then(Item::as_str) == Some(text);
    match list {
        Item::ArrayOfTables(tables) => tables.iter_mut().find(|table| is_meant(*table)).map(|table| table as &mut dyn TableLike),
        Item::Value(Value::Array(array)) => array
            .iter_mut()
            .filter_map(Value::as_inline_table_mut)
            .find(|table| is_meant(*table))
            .map(|table| table as &mut dyn TableLike),
        _ => None,
    }
}

/// Sets a value, with the space and the comment around the old one.
fn set(table: &mut dyn TableLike, name: &str, mut value: Value) {
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => _ = table.insert(name, Item::Value(value)),
    }
}

fn remove(key: &mut dyn TableLike, sha256: &str) -> anyhow::Result<()> {
    let is_other = |table: &dyn TableLike| table.get("sha256").and_then(Item::as_str) != Some(sha256);
    let is_empty = match key.get_mut("secrets") {
        Some(Item::ArrayOfTables(tables)) => {
            tables.retain(|table| is_other(table));
            tables.is_empty()
        }
        Some(Item::Value(Value::Array(array))) => {
            array.retain(|value| value.as_inline_table().is_none_or(|table| is_other(table)));
            array.is_empty()
        }
        _ => bail!("secrets"),
    };
    if is_empty {
        key.remove("secrets");
    }
    Ok(())
}

fn add(key: &mut dyn TableLike, secret: &SecretConfig) -> anyhow::Result<()> {
    let mut fields = InlineTable::new();
    fields.insert("sha256", secret.sha256.as_str().into());
    if let Some(not_after) = secret.not_after {
        fields.insert("not_after", not_after.to_string().into());
    }
    match key.entry("secrets").or_insert(Item::Value(Value::Array(Array::new()))) {
        Item::ArrayOfTables(tables) => tables.push(fields.into_table()),
        Item::Value(Value::Array(array)) => {
            // What stands before the closing bracket may be the comment of the last secret.
            let comment = array.trailing().as_str().unwrap_or_default().trim_end().to_owned();
            let mut value = Value::InlineTable(fields);
            value.decor_mut().set_prefix(format!("{comment}{INDENT}"));
            array.push_formatted(value);
            array.set_trailing("\n");
            array.set_trailing_comma(true);
        }
        _ => bail!("secrets"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NotAfter;

    fn hash(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn until(digit: char, year: i64) -> SecretConfig {
        SecretConfig { sha256: hash(digit), not_after: NotAfter::at((year - 1970) * 31_557_600) }
    }

    fn keys(text: &str) -> Vec<KeyConfig> {
        #[derive(serde::Deserialize)]
        struct File {
            keys: Vec<KeyConfig>,
        }
        toml::from_str::<File>(text).unwrap_or_else(|error| panic!("{error}\n{text}")).keys
    }

    /// The text after the change, with hashes shortened. What it says must be `after`.
    fn changed(text: &str, change: impl Fn(&mut KeyConfig)) -> String {
        let text =
            ['a', 'b', 'c', 'd'].iter().fold(text.to_owned(), |text, digit| text.replace(&format!("<{digit}>"), &hash(*digit)));
        let mut after = keys(&text);
        let before = after[0].clone();
        change(&mut after[0]);
        let changed = with_key(&text, &before, &after[0]).unwrap();
        assert_eq!(keys(&changed), after, "{changed}");
        ['a', 'b', 'c', 'd'].iter().fold(changed, |text, digit| text.replace(&hash(*digit), &format!("<{digit}>")))
    }

    fn rotate(key: &mut KeyConfig) {
        key.secrets.iter_mut().for_each(|secret| *secret = until(secret.sha256.chars().next().unwrap(), 2027));
        let old = key.secret_sha256.replace(hash('b')).unwrap();
        key.secrets.push(until(old.chars().next().unwrap(), 2028));
    }

    #[test]
    fn a_rotated_key_keeps_its_comments_and_those_around_it() {
        let text = "# top\n[[keys]] # mine\nname = 'web'\nsecret_sha256 = \"<a>\" # since May\nkind = \"server\"\n\n# other\n[[keys]]\n\
                    name = \"x\"\nsecret_sha256 = \"<c>\"\n";
        let expected = "# top\n[[keys]] # mine\nname = 'web'\nsecret_sha256 = \"<b>\" # since May\nkind = \"server\"\nsecrets = [\n    \
                        { sha256 = \"<a>\", not_after = \"2027-12-31T12:00:00Z\" },\n]\n\n# other\n[[keys]]\nname = \"x\"\n\
                        secret_sha256 = \"<c>\"\n";
        assert_eq!(
            changed(text, rotate),
            expected.replace("2027-12-31T12:00:00Z", &until('a', 2028).not_after.unwrap().to_string())
        );
    }

    #[test]
    fn every_notation_of_a_list_is_changed_in_its_own_way() {
        for text in [
            "[[keys]]\nname = \"w\"\nsecret_sha256 = \"<a>\"\nsecrets = [{ sha256 = \"<c>\" }] # so far\n",
            "[[keys]]\nname = \"w\"\nsecret_sha256 = \"<a>\"\nsecrets = [\n  { sha256 = \"<c>\" }, # so far\n  # last\n]\n",
            "[[keys]]\nname = \"w\"\nsecret_sha256 = \"<a>\"\nsecrets = [\n  { sha256 = \"<c>\" } # so far\n]\n",
            "[[keys]]\nname = \"w\"\nsecret_sha256 = \"<a>\"\n[[keys.secrets]] # so far\nsha256 = \"<c>\"\nnot_after = 2030-01-01T00:00:00Z\n",
            "keys = [{ name = \"w\", secret_sha256 = \"<a>\", secrets = [{ sha256 = \"<c>\" }] }] # so far\n",
            "[[keys]]\n\"name\" = \"w\"\n\"secret_sha256\" = '<a>' # so far\n",
        ] {
            let rotated = changed(text, rotate);
            assert!(rotated.contains("# so far") && rotated.contains("# last") == text.contains("# last"), "{rotated}");
            // And back, to the first secret alone.
            let revoked = changed(&rotated, |key| {
                key.secret_sha256 = None;
                key.secrets.retain(|secret| secret.sha256 == hash('a'));
            });
            assert!(!revoked.contains("<b>") && !revoked.contains("<c>"), "{revoked}");
            let one = changed(&rotated, |key| key.secrets.clear());
            assert!(!one.contains("secrets ="), "{one}");
        }
    }

    #[test]
    fn a_key_is_switched_off_where_it_says_that_it_is_on_or_in_a_line_more() {
        let off = |text: &str| changed(text, |key| key.enabled = false);
        let text = "[[keys]]\nname = \"w\"\nsecret_sha256 = \"<a>\"\n";
        assert_eq!(off(&format!("{text}enabled = true # for now\n")), format!("{text}enabled = false # for now\n"));
        assert_eq!(off(text), format!("{text}enabled = false\n"));
        assert!(with_key("[http]\n", &keys(&text.replace("<a>", &hash('a')))[0], &KeyConfig::new("w", hash('b'))).is_err());
    }
}
