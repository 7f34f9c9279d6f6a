//! The problems of what operators ask for: repairs and erasures.

use super::{Problem, ProblemCode};
use crate::{erasure::ErasureError, repair::RepairError};

impl From<RepairError> for Problem {
    fn from(error: RepairError) -> Self {
        let code = match &error {
            RepairError::NotApplicable { .. } => ProblemCode::PatchNotApplicable,
            RepairError::Disk(_) => ProblemCode::StorageUnavailable,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ErasureError> for Problem {
    fn from(error: ErasureError) -> Self {
        let code = match &error {
            ErasureError::Criterion(_) => ProblemCode::InvalidErasure,
            ErasureError::Disk(_) => ProblemCode::StorageUnavailable,
        };
        Self::new(code, error.to_string())
    }
}
