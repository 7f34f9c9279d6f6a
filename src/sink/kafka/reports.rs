//! The delivery reports of librdkafka: one for each record, with what is known of its fate.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::{bindings::rd_kafka_message_status, message::DeliveryResult, types::RDKafkaErrorCode};
use tokio::sync::Notify;

/// The fate of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// All in-sync replicas have it.
    Stored,
    /// It is certainly not stored.
    NotStored(RDKafkaErrorCode),
    /// It was sent, and whether it is stored is not known.
    Unknown(RDKafkaErrorCode),
}

/// The records that were given to librdkafka together, and their reports.
#[derive(Debug)]
pub(super) struct Reports {
    state: Mutex<State>,
    complete: Notify,
}

#[derive(Debug)]
struct State {
    reports: Vec<Option<Report>>,
    missing: usize,
}

/// Travels with a record through librdkafka, and comes back with its report.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) reports: Arc<Reports>,
    pub(super) index: usize,
}

impl Reports {
    /// For `records` records.
    pub(super) fn new(records: usize) -> Arc<Self> {
        let state = State { reports: vec![None; records], missing: records };
        Arc::new(Self { state: Mutex::new(state), complete: Notify::new() })
    }

    /// Takes the report of one record. A second report of a record is ignored.
    pub(super) fn put(&self, index: usize, report: Report) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { reports, missing } = &mut *state;
        if let Some(place @ None) = reports.get_mut(index) {
            *place = Some(report);
            *missing -= 1;
            if *missing == 0 {
                self.complete.notify_one();
            }
        }
    }

    /// Waits until every record has its report.
    pub(super) async fn complete(&self) {
        if self.state.lock().unwrap_or_else(PoisonError::into_inner).missing > 0 {
            self.complete.notified().await;
        }
    }

    /// The reports so far. A record without a report may be stored.
    pub(super) fn take(&self) -> Vec<Report> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = || Report::Unknown(RDKafkaErrorCode::MessageTimedOut);
        state.reports.iter_mut().map(|report| report.take().unwrap_or_else(unknown)).collect()
    }
}

/// What librdkafka says of a record.
pub(super) fn read_report(result: &DeliveryResult<'_>) -> Report {
    let Err((error, message)) = result else { return Report::Stored };
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
    // SAFETY: the message is borrowed from the report's event, so that its pointer is valid here.
    #[allow(unsafe_code, reason = "the crate has no safe name for this function")]
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    if status == rdkafka::bindings::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED {
        Report::NotStored(code)
    } else {
        // An error of a stored record is a contradiction; sending it again is the safe side.
        Report::Unknown(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_without_a_report_may_be_stored_and_a_second_report_counts_for_nothing() {
        let reports = Reports::new(3);
        reports.put(0, Report::Stored);
        reports.put(0, Report::NotStored(RDKafkaErrorCode::QueueFull));
        reports.put(2, Report::NotStored(RDKafkaErrorCode::QueueFull));
        reports.put(9, Report::Stored);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(1), reports.complete()).await;
        assert!(waited.is_err(), "one is missing");
        let expected =
            [Report::Stored, Report::Unknown(RDKafkaErrorCode::MessageTimedOut), Report::NotStored(RDKafkaErrorCode::QueueFull)];
        assert_eq!(reports.take(), expected);
        let reports = Reports::new(1);
        reports.put(0, Report::Stored);
        reports.complete().await;
    }
}
