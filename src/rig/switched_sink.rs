//! A sink that a test can switch off.

use std::{future::Future, pin::Pin, sync::Arc};

use super::faults::Faults;
use crate::{
    event::Record,
    sink::{Batch, Delivery, Sink},
};

/// Delivers to another sink, unless a test said that the sink is down.
pub struct SwitchedSink {
    /// The other sink.
    pub sink: Box<dyn Sink>,
    /// What the test said.
    pub faults: Arc<Faults>,
}

impl Sink for SwitchedSink {
    fn name(&self) -> &'static str {
        self.sink.name()
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Vec<Delivery>> + Send + 'a>> {
        if self.faults.is_sink_down() {
            let down = Delivery::Retry("a test switched the sink off".to_owned());
            return Box::pin(std::future::ready(vec![down; batch.records.len()]));
        }
        self.sink.deliver(batch)
    }

    fn place_of(&self, record: &Record) -> String {
        self.sink.place_of(record)
    }

    fn replays_by_range(&self) -> bool {
        self.sink.replays_by_range()
    }
}
