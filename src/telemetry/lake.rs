//! Metrics of the lakes' upkeep. Every metric has the name of its sink as a label.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::table::F64Gauge;

/// A sink; bounded by [`SINKS_MAX`](crate::limits::SINKS_MAX).
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LakeLabel {
    sink: String,
}

/// A sink, and an event name that has a schema: bounded by [`SCHEMAS_MAX`](crate::limits::SCHEMAS_MAX).
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabel {
    sink: String,
    event_name: String,
}

/// A counter of rows for each event name that has a schema.
#[derive(Clone, Debug)]
pub struct RowsByEvent {
    family: Family<EventLabel, Counter>,
    sink: String,
}

impl RowsByEvent {
    /// Counts rows.
    pub fn inc_by(&self, event_name: &str, rows: u64) {
        let label = EventLabel { sink: self.sink.clone(), event_name: event_name.to_owned() };
        self.family.get_or_create(&label).inc_by(rows);
    }
}

/// Declares the metrics of one lake, and those of all lakes. A metric is called `lake_` and the name of its field.
macro_rules! metrics_of_a_lake {
    ($( $field:ident: $Type:ty = $help:literal; )*) => {
        /// Metrics of one lake.
        #[derive(Clone, Debug)]
        pub struct LakeMetrics {
            $( #[doc = concat!($help, ".")] pub $field: $Type, )*
            /// Rows of typed tables with a value that did not fit its column.
            pub typed_unconverted_rows: RowsByEvent,
        }

        /// Metrics of all lakes.
        #[derive(Clone, Debug)]
        pub struct LakeFamilies {
            $( $field: Family<LakeLabel, $Type>, )*
            typed_unconverted_rows: Family<EventLabel, Counter>,
        }

        impl LakeFamilies {
            /// Adds the metrics to `registry`.
            pub(super) fn new(registry: &mut Registry) -> Self {
                $(
                    let $field = Family::<LakeLabel, $Type>::default();
                    registry.register(concat!("lake_", stringify!($field)), $help, $field.clone());
                )*
                let typed_unconverted_rows = Family::<EventLabel, Counter>::default();
                let help = "Rows written into typed tables with a value that did not fit its column";
                registry.register("lake_typed_unconverted_rows", help, typed_unconverted_rows.clone());
                Self { $( $field, )* typed_unconverted_rows }
            }

            /// The metrics of the lake of this sink, which are zero if it is new.
            #[must_use]
            pub fn of(&self, sink: &str) -> LakeMetrics {
                let label = LakeLabel { sink: sink.to_owned() };
                LakeMetrics {
                    $( $field: self.$field.get_or_create(&label).clone(), )*
                    typed_unconverted_rows: RowsByEvent { family: self.typed_unconverted_rows.clone(), sink: sink.to_owned() },
                }
            }
        }
    };
}

metrics_of_a_lake! {
    files: Gauge<i64, AtomicI64> = "Files of the lake's table";
    bytes: Gauge<i64, AtomicI64> = "Bytes of the files of the lake's table";
    unknown_files: Gauge<i64, AtomicI64> = "Files in the lake's folders that its table does not know, at the last daily look";
    compacted_rows: Counter = "Rows that compaction wrote into larger files";
    dropped_doubles: Counter = "Rows that compaction dropped, because the same event was received before";
    expired_rows: Counter = "Rows removed because their retention was over";
    removed_files: Counter = "Files removed from the lake's folders that its table did not have any more";
    typed_lag_seconds: F64Gauge = "Time since the typed tables had every event that the lake had";
    typed_rows: Counter = "Rows written into typed tables";
    upkeep_failures: Counter = "Rounds of the upkeep that failed";
    upkeep_success_timestamp_seconds: F64Gauge = "When the last round of the upkeep succeeded, as Unix time";
}
