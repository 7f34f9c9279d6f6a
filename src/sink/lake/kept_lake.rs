//! A lake that is asked again and again: its table stays open, and only new commits are read.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    LakeConfig, LakeError, TableFormat,
    read::Lake,
    store::Store,
    table::{ADOPTING, Table},
};

/// A lake that stays open between questions.
#[derive(Debug)]
pub struct KeptLake {
    config: LakeConfig,
    open: Mutex<Option<(Arc<Store>, Arc<Table>)>>,
}

impl KeptLake {
    /// The lake of `config`. Reads nothing yet.
    #[must_use]
    pub fn new(config: LakeConfig) -> Self {
        Self { config, open: Mutex::default() }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.config.root
    }

    /// The lake at its newest version.
    ///
    /// # Errors
    /// As [`Lake::open_with`].
    pub fn newest(&self) -> Result<Lake, LakeError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((store, table)) = open.as_ref().filter(|(_, table)| !table.is_gone()) {
            return Ok(Lake::of(store.clone(), Some(table.refresh()?)));
        }
        *open = None;
        let store = Arc::new(Store::for_upkeep(&self.config)?);
        let table = match self.config.table {
            TableFormat::Delta => Table::open_in(store.clone())?.filter(|table| table.known().setting(ADOPTING).is_none()),
            TableFormat::None => None,
        };
        let Some(table) = table.map(Arc::new) else { return Ok(Lake::of(store, None)) };
        let snapshot = table.known();
        *open = Some((store.clone(), table));
        Ok(Lake::of(store, Some(snapshot)))
    }
}
