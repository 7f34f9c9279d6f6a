//! What goes wrong, and how often.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use fastrand::Rng;

use super::Service;

/// A way to fail. *Before* means that nothing was stored, *After* that everything was stored and the client cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    // of single records, drawn for each
    /// The record is answered `ProvisionedThroughputExceededException`, by Firehose `ServiceUnavailableException`.
    RecordThrottled,
    /// The record is answered `InternalFailure`.
    RecordFailed,

    // of whole PutRecords calls, drawn for each call in this order; the first that strikes is the one
    /// 500 `InternalFailure`.
    CallFailed,
    /// 503 `ServiceUnavailable`, by Firehose 503 `ServiceUnavailableException`.
    CallUnavailable,
    /// 400 `ProvisionedThroughputExceededException`, by Firehose 503 `ServiceUnavailableException`.
    CallThrottled,
    /// 400 `LimitExceededException`.
    CallLimited,
    /// 400 `KMSThrottlingException`.
    KmsThrottled,
    /// 400 `KMSAccessDeniedException`, by Firehose 400 `InvalidKMSResourceException`.
    KmsDenied,
    /// 400 `ResourceNotFoundException`.
    NotFound,
    /// 400 `ExpiredTokenException`.
    TokenExpired,
    /// 400 `AccessDeniedException`.
    AccessDenied,
    /// 400 `ValidationException`, whatever is in the call.
    CallInvalid,
    /// 400 `InvalidArgumentException`, whatever is in the call.
    ArgumentInvalid,
    /// The connection is reset.
    ResetBefore,
    /// The same, when all is stored.
    ResetAfter,
    /// The connection ends in the middle of the answer.
    CutAfter,
    /// No answer, ever; the connection stays open.
    StallBefore,
    /// The same, when all is stored.
    StallAfter,
    /// 200 with a body that is no JSON.
    GarbageBefore,
    /// The same, when all is stored.
    GarbageAfter,
    /// 200 with one result too few, which all say success, although nothing is stored.
    TooFewBefore,
    /// The same, when all is stored.
    TooFewAfter,
    /// 200 with one result too many, which all say success, although nothing is stored.
    TooManyBefore,
    /// The same, when all is stored.
    TooManyAfter,

    // beside any other, drawn for each PutRecords call
    /// The answer comes late, see [`super::Stream::set_slow`].
    Slow,

    // of whole calls for other targets; by Firehose of DescribeDeliveryStream
    /// ListShards is answered `AccessDeniedException`.
    ListShardsDenied,
    /// ListShards is answered 500 `InternalFailure`.
    ListShardsFailed,
    /// ListShards is answered `LimitExceededException`.
    ListShardsLimited,

    // of GetRecords
    /// 400 `ProvisionedThroughputExceededException`.
    ReadThrottled,
    /// 500 `InternalFailure`.
    ReadFailed,
    /// 400 `AccessDeniedException`.
    ReadDenied,
    /// 400 `ExpiredIteratorException`.
    IteratorExpired,
    /// No records although there are some.
    ReadEmpty,
}

/// The faults of whole PutRecords calls.
pub const OF_CALLS: [Fault; 22] = [
    Fault::CallFailed,
    Fault::CallUnavailable,
    Fault::CallThrottled,
    Fault::CallLimited,
    Fault::KmsThrottled,
    Fault::KmsDenied,
    Fault::NotFound,
    Fault::TokenExpired,
    Fault::AccessDenied,
    Fault::CallInvalid,
    Fault::ArgumentInvalid,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::CutAfter,
    Fault::StallBefore,
    Fault::StallAfter,
    Fault::GarbageBefore,
    Fault::GarbageAfter,
    Fault::TooFewBefore,
    Fault::TooFewAfter,
    Fault::TooManyBefore,
    Fault::TooManyAfter,
];

impl Fault {
    /// Whether the records are stored although the call goes wrong.
    pub fn is_after_storing(self) -> bool {
        use Fault::*;
        matches!(self, ResetAfter | CutAfter | StallAfter | GarbageAfter | TooFewAfter | TooManyAfter | Slow)
    }

    /// Status, code and message, where it is a plain error.
    pub fn error(self, service: Service) -> Option<(u16, &'static str, &'static str)> {
        if service == Service::Firehose {
            match self {
                Self::CallUnavailable | Self::CallThrottled => {
                    return Some((503, "ServiceUnavailableException", "Slow down."));
                }
                Self::KmsDenied => return Some((400, "InvalidKMSResourceException", "The key may not be used")),
                _ => {}
            }
        }
        Some(match self {
            Self::CallFailed | Self::ListShardsFailed | Self::ReadFailed => {
                (500, "InternalFailure", "The request processing has failed")
            }
            Self::CallUnavailable => (503, "ServiceUnavailable", "Try again"),
            Self::CallThrottled | Self::ReadThrottled => {
                (400, "ProvisionedThroughputExceededException", "Rate exceeded for the stream")
            }
            Self::CallLimited | Self::ListShardsLimited => (400, "LimitExceededException", "Rate exceeded"),
            Self::KmsThrottled => (400, "KMSThrottlingException", "The request was denied due to request throttling"),
            Self::KmsDenied => (400, "KMSAccessDeniedException", "The ciphertext refers to a key that you may not use"),
            Self::NotFound => (400, "ResourceNotFoundException", "The stream was not found"),
            Self::TokenExpired => (400, "ExpiredTokenException", "The security token included in the request is expired"),
            Self::AccessDenied => (400, "AccessDeniedException", "User is not authorized to put records"),
            Self::CallInvalid => (400, "ValidationException", "1 validation error detected"),
            Self::ArgumentInvalid => (400, "InvalidArgumentException", "The argument is not valid"),
            Self::IteratorExpired => (400, "ExpiredIteratorException", "Iterator expired"),
            Self::ListShardsDenied | Self::ReadDenied => (400, "AccessDeniedException", "User is not authorized to look"),
            _ => return None,
        })
    }
}

/// The faults of one stream.
pub struct Faults {
    rng: Rng,
    probabilities: BTreeMap<Fault, f64>,
    struck: BTreeMap<Fault, u64>,
    pub script: VecDeque<Option<Fault>>,
    pub slow: Duration,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            probabilities: BTreeMap::new(),
            struck: BTreeMap::new(),
            script: VecDeque::new(),
            slow: Duration::from_millis(100),
        }
    }

    pub fn set(&mut self, fault: Fault, probability: f64) {
        assert!((0.0..=1.0).contains(&probability), "{probability} is no probability");
        self.probabilities.insert(fault, probability);
    }

    pub fn clear(&mut self) {
        self.probabilities.clear();
        self.script.clear();
    }

    pub fn struck(&self, fault: Fault) -> u64 {
        self.struck.get(&fault).copied().unwrap_or(0)
    }

    /// Whether `fault` strikes now.
    pub fn draw(&mut self, fault: Fault) -> bool {
        let probability = self.probabilities.get(&fault).copied().unwrap_or(0.0);
        let strikes = probability > 0.0 && self.rng.f64() < probability;
        if strikes {
            self.strike(fault);
        }
        strikes
    }

    fn strike(&mut self, fault: Fault) {
        *self.struck.entry(fault).or_default() += 1;
    }

    /// What happens to the PutRecords call that comes in now.
    pub fn next_call(&mut self) -> Option<Fault> {
        if let Some(fault) = self.script.pop_front() {
            fault.into_iter().for_each(|fault| self.strike(fault));
            return fault;
        }
        OF_CALLS.into_iter().find(|fault| self.draw(*fault))
    }
}
