//! A table of metrics. Each line is a field, its type, and its help text, which is also its documentation. A metric has the
//! name of its field, or the name after `as`.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry},
};

/// A gauge with fractions.
pub(super) type F64Gauge = Gauge<f64, AtomicU64>;

/// First bucket, factor from one bucket to the next, and number of buckets.
pub(super) type Buckets = (f64, f64, u16);

/// 0.25 ms to 16 s.
pub(super) const SECONDS: Buckets = (0.000_25, 2.0, 17);
/// 256 B to 16 MiB.
pub(super) const BYTES: Buckets = (256.0, 4.0, 9);
/// 10 µs to 2.6 s, for CPU time only.
pub(super) const FINE_SECONDS: Buckets = (0.000_01, 4.0, 10);
/// 1 KiB to 64 MiB, for batches of many requests.
pub(super) const BATCH_BYTES: Buckets = (1024.0, 4.0, 9);
/// 1 to 65,536.
pub(super) const COUNTS: Buckets = (1.0, 4.0, 9);

/// Declares a struct of metrics, and `register`, which creates them all and adds them to a registry. The buckets of a
/// histogram follow its help text. `beside` holds the fields that are not in the table; their values may use the registry.
macro_rules! metrics {
    (
        $(#[$about:meta])*
        pub struct $Struct:ident, registered with $registry:ident and $prefix:ident {
            $( $(#[$note:meta])* $visible:vis $field:ident $(as $name:literal)?: $Type:ty = $help:literal $(, $buckets:ident)?; )*
        }
        beside {
            $( $(#[$beside_note:meta])* $beside_visible:vis $beside:ident: $BesideType:ty = $value:expr; )*
        }
    ) => {
        $(#[$about])*
        pub struct $Struct {
            $( #[doc = concat!($help, ".")] $(#[$note])* $visible $field: $Type, )*
            $( $(#[$beside_note])* $beside_visible $beside: $BesideType, )*
        }

        impl $Struct {
            /// Creates all metrics at zero and adds them to `registry`, with `prefix` before their names.
            fn register($registry: &mut Registry, $prefix: &str) -> Self {
                Self {
                    $( $field: metrics!(@new $registry, &format!("{}{}", $prefix, metrics!(@name $field $($name)?)), $help $(, $buckets)?), )*
                    $( $beside: $value, )*
                }
            }
        }
    };
    (@name $field:ident $name:literal) => {
        $name
    };
    (@name $field:ident) => {
        stringify!($field)
    };
    (@new $registry:ident, $name:expr, $help:literal) => {
        $crate::telemetry::table::metric($registry, $name, $help)
    };
    (@new $registry:ident, $name:expr, $help:literal, $buckets:ident) => {
        $crate::telemetry::table::histogram($registry, $name, $help, $crate::telemetry::table::$buckets)
    };
}
pub(super) use metrics;

/// Creates a metric at zero and adds it to `registry`.
pub(super) fn metric<M: Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Creates a histogram without observations and adds it to `registry`.
pub(super) fn histogram(registry: &mut Registry, name: &str, help: &str, (first, factor, count): Buckets) -> Histogram {
    let histogram = Histogram::new(exponential_buckets(first, factor, count));
    registry.register(name, help, histogram.clone());
    histogram
}
