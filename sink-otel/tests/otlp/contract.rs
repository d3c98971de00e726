//! The sink contract: one test per clause and sink.

use std::collections::BTreeMap;

use async_trait::async_trait;
use telemetry_core::{
    Attributes, EventContext, MetricPoint, MetricValue, OptionValue, Options, SinkEntry, Timestamp, Value,
    canonical_name,
};
use telemetry_testkit::{Delivered, Harness};

use crate::decode;
use crate::support::{Receiver, text};

/// Applies the limits of OTLP and of the SDK's types, which the crate documentation lists.
fn normalize(delivered: &mut Delivered) {
    fn clamp_time(time: &mut Timestamp) {
        *time = (*time).max(Timestamp::from_nanos(0));
    }
    fn blur_attributes(attributes: &mut Attributes) {
        let no_null = |value| if value == Value::Null { Value::from("") } else { value };
        *attributes =
            std::mem::take(attributes).into_iter().map(|(key, value)| (key, no_null(value))).collect();
    }
    delivered.forget_arrival();
    for span in &mut delivered.spans {
        clamp_time(&mut span.start_time);
        span.end_time.iter_mut().for_each(clamp_time);
        blur_attributes(&mut span.attributes);
    }
    for log in &mut delivered.logs {
        clamp_time(&mut log.timestamp);
        blur_attributes(&mut log.attributes);
    }
}

/// Replaces the points of each series by one point with their sum, without time and span.
fn add_up(delivered: &mut Delivered) {
    delivered.forget_arrival();
    let mut series: BTreeMap<String, MetricPoint> = BTreeMap::new();
    for point in std::mem::take(&mut delivered.metrics) {
        let mut labels: Vec<_> = point.attributes.iter().cloned().collect();
        labels.sort_by(|one, other| one.0.cmp(&other.0));
        let name = canonical_name(&point.name).to_owned();
        let sum = series.entry(format!("{name} {labels:?}")).or_insert_with(|| MetricPoint {
            context: EventContext::None,
            timestamp: Timestamp::default(),
            name: name.into(),
            value: MetricValue::Float(0.0),
            attributes: labels.into(),
            ..point.clone()
        });
        sum.value = MetricValue::Float(sum.value.as_f64() + point.value.as_f64());
    }
    delivered.metrics = series.into_values().collect();
}

const SECRET: &str = "planted-secret";

fn options(receiver: &Receiver) -> Options {
    let headers = OptionValue::Text(format!("authorization=Bearer%20{SECRET}"));
    Options::from_pairs([("endpoint", text(&receiver.url())), ("headers", headers)])
}

macro_rules! harness {
    ($name:ident, $entry:expr, $delivered:expr, $normalize:expr) => {
        struct $name(Receiver);

        #[async_trait]
        impl Harness for $name {
            fn new() -> Self {
                Self(Receiver::start())
            }

            fn entry(&self) -> &'static SinkEntry {
                &$entry
            }

            fn options(&self) -> Options {
                options(&self.0)
            }

            async fn delivered(&self) -> Delivered {
                $delivered(&self.0)
            }

            fn normalize(&self, delivered: &mut Delivered) {
                $normalize(delivered);
            }

            async fn break_destination(&self) -> bool {
                self.0.set_out_of_order(true);
                true
            }

            async fn restore_destination(&self) {
                self.0.set_out_of_order(false);
            }

            fn secrets(&self) -> Vec<String> {
                vec![SECRET.to_owned()]
            }
        }
    };
}

fn spans(receiver: &Receiver) -> Delivered {
    Delivered { spans: decode::spans(receiver), ..Delivered::default() }
}

fn logs(receiver: &Receiver) -> Delivered {
    Delivered { logs: decode::logs(receiver), ..Delivered::default() }
}

fn series(receiver: &Receiver) -> Delivered {
    Delivered { metrics: decode::series(receiver), ..Delivered::default() }
}

harness!(TraceHarness, sink_otel::TRACE, spans, normalize);
harness!(LogHarness, sink_otel::LOG, logs, normalize);
harness!(MetricHarness, sink_otel::METRIC, series, add_up);

mod trace {
    telemetry_testkit::sink_contract!(super::TraceHarness);
}

mod log {
    telemetry_testkit::sink_contract!(super::LogHarness);
}

mod metric {
    telemetry_testkit::sink_contract!(
        super::MetricHarness,
        lacks { c11_outage: "a write only aggregates; metrics.rs tests the export during an outage" }
    );
}
