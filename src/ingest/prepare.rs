//! The costly part of a request: inflate, pay, validate. Each step is paid for before its work is done.
//!
//! 1. The body is inflated into memory from the budget of all requests.
//! 2. The bytes and the events are paid for. The events are counted by the name of a field that each event has, which costs a
//!    tenth of splitting. So a request that is refused for its rate costs next to nothing. A body of less than
//!    [`COUNTED_FROM_BYTES`] pays for one event first.
//! 3. The events are validated. If there are more events than were paid for (some lack the field, or spell it in another
//!    way), they are counted exactly and paid before the first of them is validated. If there are fewer, the rest is given
//!    back.
//!
//! Work of more than about a millisecond is started again, or continues, in a [`Turn`] of `work_pool.rs`. So a small body
//! never waits, and a large body never blocks the runtime.

use std::time::Instant;

use bytes::Bytes;

use super::{
    components::Ingest,
    submission::{Submission, SubmissionError},
    validate::{ValidatedBody, Validator},
};
use crate::{
    body_budget::BudgetUsedUp,
    dead_letters::RequestLetters,
    decode::{BodyForm, Encoding, Growth, InflateError, count_elements, events_named, inflate, try_for_each_element},
    limits::{
        BODY_MEMORY_QUARTERS, COUNTED_FROM_BYTES, EVENT_MEMORY_BYTES, EVENTS_PER_REQUEST_MAX, HEAVY_FROM_BYTES,
        HEAVY_FROM_COMPRESSED_BYTES, HEAVY_FROM_EVENT_BYTES, HEAVY_FROM_EVENTS, INFLATE_RATIO_MAX, LIGHT_TIME_MAX,
    },
    rate_limit::Payers,
};

/// A request whose events are validated, but not stored yet.
pub struct Prepared {
    pub(super) validated: ValidatedBody,
    pub(super) submission: Submission,
}

/// The progress of the work on a body.
#[derive(Default)]
struct Work {
    /// The inflated body.
    body: Option<Bytes>,
    /// The events and bytes paid for so far.
    events: usize,
    bytes: usize,
    /// Whether all its bytes, and the estimated number of events, are paid for.
    is_paid: bool,
    /// The claims of the rejected events that were validated so far.
    letters: Option<Box<RequestLetters>>,
}

/// Why the work on a body stopped.
pub(super) enum Halt {
    Refused(SubmissionError),
    /// The body needs a turn.
    Heavy,
}

impl<E: Into<SubmissionError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Ingest {
    /// Validates the events of a request. Nothing is stored, so the future may be dropped at any time.
    ///
    /// # Errors
    /// See [`SubmissionError`].
    pub async fn prepare(&self, mut submission: Submission) -> Result<Prepared, SubmissionError> {
        let validated = match self.begin(&mut submission, Self::validate) {
            Ok(validated) => validated,
            Err((Halt::Refused(error), _)) => return Err(error),
            Err((Halt::Heavy, work)) => Box::pin(self.in_turn(&mut submission, work, Self::validate)).await?,
        };
        Ok(Prepared { validated, submission })
    }

    /// Counts the events of a request, at the same price.
    ///
    /// # Errors
    /// See [`SubmissionError`].
    pub async fn count(&self, mut submission: Submission) -> Result<usize, SubmissionError> {
        match self.begin(&mut submission, Self::count_exactly) {
            Ok(count) => Ok(count),
            Err((Halt::Refused(error), _)) => Err(error),
            Err((Halt::Heavy, work)) => self.in_turn(&mut submission, work, Self::count_exactly).await,
        }
    }

    fn begin<T>(&self, submission: &mut Submission, job: Job<T>) -> Result<T, (Halt, Work)> {
        let mut work = Work::default();
        let may_be_light = submission.encoding == Encoding::Identity || submission.body.len() < HEAVY_FROM_COMPRESSED_BYTES;
        if !may_be_light {
            return Err((Halt::Heavy, work));
        }
        let done = self.open(submission, &mut work, true).and_then(|body| job(self, submission, &mut work, &body, true));
        done.map_err(|halt| (halt, work))
    }

    async fn in_turn<T>(&self, submission: &mut Submission, mut work: Work, job: Job<T>) -> Result<T, SubmissionError> {
        let address = submission.payers.address.as_ref().map(|(_, from)| *from);
        let turn = self.pool.turn(&submission.source, address).await;
        let _turn = turn.inspect_err(|_| submission.payers.give_back(work.events, work.bytes))?;
        let done = tokio::task::block_in_place(|| {
            let body = self.open(submission, &mut work, false)?;
            job(self, submission, &mut work, &body, false)
        });
        done.map_err(|halt| match halt {
            Halt::Refused(error) => error,
            Halt::Heavy => unreachable!("only what must be light is found to be heavy"),
        })
    }

    /// Inflates a body and pays for it.
    fn open(&self, submission: &mut Submission, work: &mut Work, is_light_only: bool) -> Result<Bytes, Halt> {
        let body = match work.body.take() {
            Some(body) => body,
            None => self.inflate(submission, work, is_light_only)?,
        };
        if !work.is_paid {
            let named = if body.len() < COUNTED_FROM_BYTES { 1 } else { events_named(&body) };
            // More events than that are refused whatever they pay, and repeated field names must not raise the price forever.
            let events = named.clamp(1, EVENTS_PER_REQUEST_MAX).max(work.events);
            let received = if submission.encoding == Encoding::Identity { 0 } else { submission.body.len() };
            submission.memory.hold(received + body.len() * BODY_MEMORY_QUARTERS / 4 + events * EVENT_MEMORY_BYTES)?;
            submission.payers.pay(events - work.events, body.len().saturating_sub(work.bytes))?;
            (work.events, work.bytes, work.is_paid) = (events, body.len(), true);
        }
        if is_light_only && is_heavy(body.len(), work.events) {
            work.body = Some(body);
            return Err(Halt::Heavy);
        }
        Ok(body)
    }

    fn inflate(&self, submission: &mut Submission, work: &mut Work, is_light_only: bool) -> Result<Bytes, Halt> {
        if submission.encoding == Encoding::Identity {
            return Ok(submission.body.clone());
        }
        if !is_light_only {
            // The inflated body has at least as many bytes. They stay paid in any case, because inflating is work.
            submission.payers.pay(1, submission.body.len())?;
            (work.events, work.bytes) = (1, submission.body.len());
        }
        let (browser, server) = INFLATE_RATIO_MAX;
        let mut used_up = BudgetUsedUp::Whole;
        let received = submission.body.len();
        let memory = &mut submission.memory;
        let mut take = |bytes: usize| match memory.hold(received + bytes * BODY_MEMORY_QUARTERS / 4) {
            Ok(()) => true,
            Err(error) => {
                used_up = error;
                false
            }
        };
        let ratio_max = if submission.sender.is_public() { browser } else { server };
        match inflate(submission.encoding, &submission.body, Growth { ratio_max, is_light_only, memory: &mut take }) {
            Ok(body) => Ok(body),
            Err(InflateError::Heavy) => Err(Halt::Heavy),
            Err(InflateError::NoMemory) => Err(used_up.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn validate(
        &self,
        submission: &mut Submission,
        work: &mut Work,
        body: &Bytes,
        is_light_only: bool,
    ) -> Result<ValidatedBody, Halt> {
        let started = Instant::now();
        let Submission { form, source, sender, payers, memory, client_address, received_millis, .. } = submission;
        let validator = Validator {
            registry: &self.registry.load(),
            unknown_events: self.unknown_events,
            source,
            is_scoped: sender.is_public(),
            client_address: client_address.as_deref(),
            sent_events: &sender.events,
            event_bytes_max: sender.event_bytes_max,
            received_millis: *received_millis,
            created_in_time: sender.created_days.around(*received_millis),
            replayed: false,
            refused: None,
            known_letters: self.dead_letters.known(),
            event_names: &self.ledger.names().events,
            metrics: &self.metrics,
        };
        let (mut validated, mut is_late) = (ValidatedBody::with_capacity(body.len(), work.events, started), false);
        validated.audience = self.live_events.audience(source, body);
        validated.letters = work.letters.take().map_or_else(RequestLetters::default, |letters| *letters);
        let held = memory.held();
        let halted = try_for_each_element(body, *form, |element| -> Result<(), Halt> {
            if is_late {
                return Err(Halt::Heavy);
            }
            if validated.verdicts.len() == work.events {
                // Pay for the rest before it is validated.
                let count = pay_exactly(payers, body, *form, work.events);
                work.events = count.inspect_err(|_| payers.give_back(work.events, body.len()))?;
                if is_light_only && is_heavy(body.len(), work.events) {
                    return Err(Halt::Heavy);
                }
            }
            if validator.next(&element, &mut validated) {
                memory.hold(held + validated.rejected_bytes())?;
                // Valid events are validated fast. Describing and storing errors may take a hundred times as long.
                is_late = is_light_only && started.elapsed() > LIGHT_TIME_MAX;
            }
            Ok(())
        });
        if let Err(halt) = halted {
            if matches!(halt, Halt::Heavy) {
                (work.body, work.letters) = (Some(body.clone()), Some(Box::new(validated.letters.begin_again())));
            }
            return Err(halt);
        }
        // The name of the field also occurred elsewhere in the body.
        payers.give_back(work.events.saturating_sub(validated.verdicts.len()), 0);
        validated.validated_at = Instant::now();
        self.metrics.validate_seconds.observe(validated.validated_at.duration_since(started).as_secs_f64());
        Ok(validated)
    }

    fn count_exactly(&self, submission: &mut Submission, work: &mut Work, body: &Bytes, _: bool) -> Result<usize, Halt> {
        let count = pay_exactly(&submission.payers, body, submission.form, work.events)?;
        submission.payers.give_back(work.events.saturating_sub(count), 0);
        Ok(count)
    }
}

/// Whether a body of this many bytes and events needs more than about a millisecond of work.
fn is_heavy(bytes: usize, events: usize) -> bool {
    bytes > HEAVY_FROM_BYTES || events > HEAVY_FROM_EVENTS || bytes > HEAVY_FROM_EVENT_BYTES * events
}

/// The work on an inflated and paid body. Stops with [`Halt::Heavy`] if the work must be light and is not.
type Job<T> = fn(&Ingest, &mut Submission, &mut Work, &Bytes, bool) -> Result<T, Halt>;

/// Counts the events of a body exactly, and pays for those beyond `paid`.
fn pay_exactly(payers: &Payers, body: &Bytes, form: BodyForm, paid: usize) -> Result<usize, SubmissionError> {
    let count = count_elements(body, form)?;
    payers.pay(count.saturating_sub(paid), 0)?;
    Ok(count)
}
