//! The requests for erasures on disk, so that a crash interrupts none for ever.
//!
//! ```text
//! erasures/<id>.request.json   an erasure that is not finished, with its values and with what is reported so far
//! erasures/<id>.report.json    the report of a finished one, without its values
//! ```
//!
//! A request is durable before anything is erased. It is removed after its report is durable. Files and folder can be read by
//! the gateway's own user only.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{criterion::CriterionText, report::Report};
use crate::{durable, limits::ERASURE_REPORTS_MAX};

const FOLDER: &str = "erasures";
const REQUEST_SUFFIX: &str = ".request.json";
const REPORT_SUFFIX: &str = ".report.json";

/// An erasure that is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRequest {
    /// What is erased.
    pub criterion: CriterionText,
    /// What was done so far.
    pub report: Report,
}

/// The folder of the requests.
#[derive(Clone, Debug)]
pub struct Requests {
    folder: PathBuf,
}

impl Requests {
    /// The requests in this data folder.
    #[must_use]
    pub fn in_data_dir(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER) }
    }

    /// Stores a request durably, in place of its earlier state.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn store(&self, request: &StoredRequest) -> io::Result<()> {
        durable::make_folder(&self.folder)?;
        durable::replace_file(&self.path(&request.report.id, REQUEST_SUFFIX), &serde_json::to_vec(request)?)
    }

    /// Stores the report of a finished erasure, and removes its request.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn finish(&self, report: &Report) -> io::Result<()> {
        durable::make_folder(&self.folder)?;
        self.make_room();
        durable::replace_file(&self.path(&report.id, REPORT_SUFFIX), &serde_json::to_vec_pretty(report)?)?;
        match fs::remove_file(self.path(&report.id, REQUEST_SUFFIX)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => durable::sync_folder(&self.folder),
        }
    }

    /// The unfinished erasures, the oldest first. A request that has a report is finished: a crash came before its removal.
    ///
    /// # Errors
    /// The error of the disk, or a request that cannot be read.
    pub fn unfinished(&self) -> io::Result<Vec<StoredRequest>> {
        let mut unfinished = Vec::new();
        for id in self.ids(REQUEST_SUFFIX)? {
            let path = self.path(&id, REQUEST_SUFFIX);
            if self.path(&id, REPORT_SUFFIX).exists() {
                fs::remove_file(&path)?;
                continue;
            }
            let unreadable = |error| io::Error::other(format!("{}: {error}", path.display()));
            unfinished.push(serde_json::from_slice(&fs::read(&path)?).map_err(unreadable)?);
        }
        Ok(unfinished)
    }

    /// The report of a finished erasure.
    ///
    /// # Errors
    /// The error of the disk, or a report that cannot be read.
    pub fn report(&self, id: &str) -> io::Result<Report> {
        Ok(serde_json::from_slice(&fs::read(self.path(id, REPORT_SUFFIX))?)?)
    }

    fn path(&self, id: &str, suffix: &str) -> PathBuf {
        self.folder.join(format!("{id}{suffix}"))
    }

    /// The names in the files with this suffix; they begin with their time, so that they sort by it.
    fn ids(&self, suffix: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(|name| name.strip_suffix(suffix)).map(str::to_owned));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn make_room(&self) {
        let Ok(reports) = self.ids(REPORT_SUFFIX) else { return };
        for oldest in reports.iter().take((reports.len() + 1).saturating_sub(ERASURE_REPORTS_MAX)) {
            if let Err(error) = fs::remove_file(self.path(oldest, REPORT_SUFFIX)) {
                tracing::warn!(%error, "an old report of an erasure cannot be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_there_until_its_report_is_and_the_report_has_no_values() {
        let root = tempfile::tempdir().unwrap();
        let requests = Requests::in_data_dir(root.path());
        assert_eq!(requests.unfinished().unwrap(), []);
        let criterion: CriterionText =
            serde_json::from_str(r#"{"where":[{"field":"session_id","values":["whose-secret"]}]}"#).unwrap();
        let request = |id| {
            let report = Report::new(id, &criterion, false, "2026-11-27T00:00:00.000Z");
            StoredRequest { criterion: criterion.clone(), report }
        };
        requests.store(&request("b")).unwrap();
        requests.store(&request("a")).unwrap();
        assert_eq!(requests.unfinished().unwrap(), [request("a"), request("b")]);
        requests.finish(&request("a").report).unwrap();
        assert_eq!(requests.unfinished().unwrap(), [request("b")]);
        assert_eq!(requests.report("a").unwrap(), request("a").report);
        let folder = root.path().join(FOLDER);
        assert!(!fs::read_to_string(folder.join("a.report.json")).unwrap().contains("whose-secret"));
        // A crash between the report and the removal of the request.
        requests.store(&request("a")).unwrap();
        assert_eq!(requests.unfinished().unwrap(), [request("b")]);
        assert!(!folder.join("a.request.json").exists());
    }

    #[test]
    fn the_hash_of_a_criterion_is_verifiable_and_differs_between_erasures() {
        let text = r#"{"where":[{"field":"session_id","values":["s"]}],"events":[],"unreadable_too":false}"#;
        let criterion: CriterionText = serde_json::from_str(text).unwrap();
        assert_eq!(criterion.hash("a"), crate::digest::sha256_hex(format!("a\n{text}")));
        assert_ne!(criterion.hash("a"), criterion.hash("b"));
    }
}
