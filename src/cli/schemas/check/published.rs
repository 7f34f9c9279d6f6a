//! Published schemas must not change: they are compared with a git revision, or with a manifest of hashes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use serde_json::Value;

use super::finding::{Code, Finding, Report};
use crate::schema::{Inspected, Manifest, bytes_of};

/// Files that are published with a version: each version's own file, and the pieces that it refers to.
fn published_files(inspected: &Inspected) -> BTreeSet<PathBuf> {
    let versions = inspected.versions.values();
    versions.flat_map(|written| written.pieces.iter().chain([&written.file])).cloned().collect()
}

/// Compares with the hashes of `manifest`. Returns the hashes of files that are not in it yet.
pub(super) fn against_manifest(
    dir: &Path,
    manifest: Option<&Manifest>,
    is_updated: bool,
    inspected: &Inspected,
    report: &mut Report,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut unlisted = BTreeMap::new();
    let mut present = BTreeSet::new();
    for file in published_files(inspected) {
        let bytes = bytes_of(dir, &file).with_context(|| file.display().to_string())?;
        let (name, hash) = (name_of(&file), Manifest::hash(&bytes));
        match manifest.and_then(|manifest| manifest.files.get(&name)) {
            Some(known) if *known == hash => {}
            Some(_) => report.add(Finding::new(Code::ChangedInPlace, &file, changed(&file, inspected, "the manifest", None))),
            None => {
                unlisted.insert(name.clone(), hash);
            }
        }
        present.insert(name);
    }
    let faulty: BTreeSet<String> = inspected.faults.iter().map(|fault| name_of(&fault.file)).collect();
    for name in manifest.into_iter().flat_map(|manifest| manifest.files.keys()) {
        if !present.contains(name) && !faulty.contains(name) && !dir.join(name).exists() {
            let reason = "the manifest holds it, and it is not there any more; published versions stay".to_owned();
            report.add(Finding::new(Code::Removed, Path::new(name), reason));
        }
    }
    if manifest.is_none() && !is_updated {
        let reason = "there is no manifest, so nothing tells what was changed; --update-manifest makes one".to_owned();
        report.add(Finding::new(Code::NoManifest, Path::new(Manifest::FILE), reason));
    } else if !is_updated {
        for name in unlisted.keys() {
            let reason = "is not in the manifest yet; once it is final, --update-manifest adds it".to_owned();
            report.add(Finding::new(Code::NotInManifest, Path::new(name), reason));
        }
    }
    Ok(unlisted)
}

/// Compares with the files at git's `revision`.
pub(super) fn against_git(dir: &Path, revision: &str, inspected: &Inspected, report: &mut Report) -> anyhow::Result<()> {
    let listed = git(dir, &["ls-tree", "-r", "-z", revision], "")?;
    let mut then = BTreeMap::new();
    for entry in listed.split('\0') {
        // `100644 blob <hash>\t<path>`
        if let Some((head, path)) = entry.split_once('\t')
            && let Some(hash) = head.split(' ').nth(2)
        {
            then.insert(PathBuf::from(path), hash.to_owned());
        }
    }
    let pieces: BTreeSet<&PathBuf> = inspected.versions.values().flat_map(|written| &written.pieces).collect();
    let is_published = |file: &PathBuf| Inspected::is_version(file) || pieces.contains(file);
    let published: Vec<&PathBuf> = then.keys().filter(|file| is_published(file)).collect();
    let (there, gone): (Vec<&PathBuf>, Vec<&PathBuf>) = published.into_iter().partition(|file| dir.join(file).exists());
    for file in gone {
        let reason = format!("{revision} holds it, and it is not there any more; published versions stay");
        report.add(Finding::new(Code::Removed, file, reason));
    }
    // Absolute paths, because git resolves these from the top of the repository.
    let whole = dir.canonicalize()?;
    let paths = there.iter().fold(String::new(), |text, file| text + &whole.join(file).display().to_string() + "\n");
    let hashes = git(dir, &["hash-object", "--stdin-paths"], &paths)?;
    for (file, hash) in there.into_iter().zip(hashes.lines()) {
        if then[file] != hash {
            let before = git(dir, &["show", &format!("{revision}:./{}", file.display())], "")?;
            let reason = changed(file, inspected, revision, Some((&before, &bytes_of(dir, file)?)));
            report.add(Finding::new(Code::ChangedInPlace, file, reason));
        }
    }
    Ok(())
}

/// The message for a file that differs from its state at `of`.
fn changed(file: &Path, inspected: &Inspected, of: &str, texts: Option<(&str, &[u8])>) -> String {
    let words = texts.is_some_and(|(before, now)| without_words(before.as_bytes()) == without_words(now));
    let extent = if words { " (only in its words: what it accepts is the same)" } else { "" };
    let users: Vec<String> = inspected
        .versions
        .iter()
        .filter(|(_, written)| written.pieces.contains(file))
        .map(|((name, version), _)| format!("{name}/{version}"))
        .collect();
    let advice = if users.is_empty() {
        "published versions stay as they are; write the change as the next version".to_owned()
    } else {
        let shown = users.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = users.len().saturating_sub(3);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{shown}{more} refer to it; write the change as a new file")
    };
    format!("is another than {of} has it{extent}; {advice}")
}

fn without_words(text: &[u8]) -> Option<Value> {
    fn strip(schema: &mut Value) {
        match schema {
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(members) => {
                for word in ["title", "description", "examples", "$comment"] {
                    // A member with this name has a schema; the keyword has a text.
                    if members.get(word).is_some_and(|value| word == "examples" && value.is_array() || value.is_string()) {
                        members.remove(word);
                    }
                }
                members.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    let mut schema = serde_json::from_slice(text).ok()?;
    strip(&mut schema);
    Some(schema)
}

fn git(dir: &Path, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("git")?;
    let mut stdin = child.stdin.take().context("git")?;
    let input = input.to_owned();
    // On a separate thread, because git answers before it has read all input.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().context("git")?;
    let written = writer.join();
    anyhow::ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    written.map_err(|_| anyhow::anyhow!("git"))?.context("git")?;
    String::from_utf8(output.stdout).context("git")
}

fn name_of(file: &Path) -> String {
    file.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
