//! The columns of the typed tables, by the registry that is in use.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    http::Gate,
    schema::{Registry, event_columns},
    sink::lake::Definitions,
};

/// The columns by the registry of `gate`, computed once for each registry.
pub(super) fn typed_columns(gate: &Arc<Gate>) -> Definitions {
    let gate = Arc::clone(gate);
    let known = Mutex::new(None);
    Definitions::new(move || {
        let registry: Arc<Registry> = gate.ingest.registry.load_full();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, columns)) if Arc::ptr_eq(of, &registry) => Arc::clone(columns),
            _ => {
                let columns = Arc::new(event_columns(&registry));
                *known = Some((registry, Arc::clone(&columns)));
                columns
            }
        }
    })
}
