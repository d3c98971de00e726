//! Thousands of requests at the same time share no span, in both kinds of runtime.

use std::collections::HashMap;

use crate::support::CapturingPipeline;
use telemetry_core::{Signal, Value};
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

const REQUESTS: usize = 2_000;

async fn request(number: usize) {
    for step in 0..3 {
        tokio::task::yield_now().await;
        async {
            tokio::task::yield_now().await;
            tracing::info!(number, "working");
        }
        .instrument(tracing::info_span!("step", number, step))
        .await;
    }
}

async fn all_requests() {
    let spawn = |number| {
        let request = request(number).instrument(tracing::info_span!(parent: None, "request", number));
        tokio::spawn(tracing::instrument::WithSubscriber::with_current_subscriber(request))
    };
    let running: Vec<_> = (0..REQUESTS).map(spawn).collect();
    for request in running {
        request.await.unwrap();
    }
}

fn each_request_has_its_own_trace(runtime: &tokio::runtime::Runtime) {
    let pipeline = CapturingPipeline::start();
    let telemetry = pipeline.telemetry();
    let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(telemetry.clone()));
    tracing::subscriber::with_default(subscriber, || runtime.block_on(all_requests()));
    let delivered = pipeline.finish();
    let ingest = telemetry.ledger().ingest;
    assert_eq!(ingest.refused_full, 0, "{ingest:?}");
    let mut number_of = HashMap::new();
    let mut spans = 0;
    for signal in &delivered.0 {
        let (trace, attributes) = match signal {
            Signal::SpanEnded(span) => {
                spans += 1;
                (span.trace_id, &span.attributes)
            }
            Signal::Log(log) => (log.context.trace_id().unwrap(), &log.attributes),
            _ => continue,
        };
        let number: &Value = attributes.get("number").unwrap();
        assert_eq!(number_of.entry(trace).or_insert(number), &number);
    }
    assert_eq!((number_of.len(), spans), (REQUESTS, 4 * REQUESTS));
    assert_eq!(telemetry.ledger().assembler.late, 0, "every log arrived while its span was open");
}

#[test]
fn on_many_threads() {
    each_request_has_its_own_trace(
        &tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap(),
    );
}

#[test]
fn on_one_thread() {
    each_request_has_its_own_trace(&tokio::runtime::Builder::new_current_thread().build().unwrap());
}
