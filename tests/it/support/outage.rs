//! A sink that is away: the lake's folder is moved aside and a file stands in its place.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The outage; call [`Outage::repair`] to end it.
#[derive(Debug)]
pub struct Outage {
    lake: PathBuf,
    aside: PathBuf,
}

impl Outage {
    /// Begins: nothing can be written to the lake below `data` any more.
    pub fn begin(data: &Path) -> Self {
        let (lake, aside) = (data.join("lake"), data.join("lake.aside"));
        fs::rename(&lake, &aside).expect("the lake is there");
        fs::write(&lake, "in the way").expect("a file");
        Self { lake, aside }
    }

    /// Ends: the lake is as it was.
    pub fn repair(self) {
        fs::remove_file(&self.lake).expect("the file is there");
        fs::rename(&self.aside, &self.lake).expect("the lake is there");
    }
}
