//! The two delivery modes.

use tokio::sync::watch;

use super::{batches::BatchDeliverer, stream::StreamDeliverer};

/// One of the two delivery modes.
pub enum Mode {
    /// In batches.
    Batches(Box<BatchDeliverer>),
    /// To a stream.
    Stream(Box<StreamDeliverer>),
}

impl Mode {
    pub(super) async fn run(self, stopping: watch::Receiver<bool>) {
        match self {
            Self::Batches(deliverer) => deliverer.run(stopping).await,
            Self::Stream(deliverer) => deliverer.run(stopping).await,
        }
    }

    pub(super) async fn run_until_interrupted(self, stopping: watch::Receiver<bool>, mut interrupted: watch::Receiver<bool>) {
        match self {
            Self::Batches(deliverer) => deliverer.run_until_interrupted(stopping, interrupted).await,
            Self::Stream(deliverer) => tokio::select! {
                () = deliverer.run(stopping) => {}
                // Its calls are given up, as if the gateway were killed.
                Ok(_) = interrupted.wait_for(|is_interrupted| *is_interrupted) => {}
            },
        }
    }
}
