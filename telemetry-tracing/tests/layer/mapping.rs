//! One test for each line of the table in the crate's documentation.

use std::io::{Error, ErrorKind};

use crate::support::{CapturingPipeline, message, traced};
use telemetry_core::{EventContext, MetricKind, SpanKind, SpanStatus, Value, attrs};
use tracing::instrument;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

#[test]
fn spans_become_a_tree_with_their_logs() {
    let delivered = traced(|| {
        let outer = tracing::info_span!("chat", model_id = "llama", tokens = 3, cached = false);
        let _outer = outer.enter();
        tracing::info!(turn = 1, "prompt received");
        let inner = tracing::debug_span!("tool call", cost = 0.5);
        inner.in_scope(|| tracing::warn!("slow"));
        tracing::info!("answered");
    });
    let expected = r#"
chat {"model_id":"llama","tokens":3,"cached":false}
  - info: prompt received
  - info: answered
  tool call {"cost":0.5}
    - warn: slow
"#;
    assert_eq!(delivered.tree(), expected.trim_start());
    assert_eq!(delivered.logs()[0].attributes, attrs! { "turn" => 1, "target" => "layer::mapping" });
}

#[test]
fn fields_keep_their_types() {
    let error = Error::new(ErrorKind::NotFound, "no model");
    let chained: Box<dyn std::error::Error> = Box::new(Chained(error));
    let delivered = traced(|| {
        let span = tracing::info_span!(
            "s",
            integer = -7,
            large = u64::MAX,
            huge = 1_i128 << 100,
            float = 7.0,
            not_a_number = f64::NAN,
            flag = true,
            text = "t",
            display = %"d",
            debug = ?Some(1),
            error = &*chained,
            r#type = "keyword",
            later = tracing::field::Empty,
            never = tracing::field::Empty,
        );
        span.record("later", 5);
        span.record("text", "changed");
    });
    let expected = attrs! {
        "integer" => -7, "large" => u64::MAX.to_string(), "huge" => (1_i128 << 100).to_string(),
        "float" => 7.0, "not_a_number" => "NaN", "flag" => true, "text" => "changed", "display" => "d",
        "debug" => "Some(1)", "error" => "can't load: no model", "type" => "keyword", "later" => 5,
    };
    assert_eq!(delivered.span("s").attributes, expected);
}

#[derive(Debug)]
struct Chained(Error);

impl std::fmt::Display for Chained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("can't load")
    }
}

impl std::error::Error for Chained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn levels_are_severities() {
    let delivered = traced(|| {
        tracing::trace!("1");
        tracing::debug!("2");
        tracing::info!("3");
        tracing::warn!("4");
        tracing::error!("5");
    });
    let messages: Vec<String> = delivered.logs().iter().map(|log| message(log)).collect();
    assert_eq!(messages, ["verbose: 1", "debug: 2", "info: 3", "warn: 4", "error: 5"]);
    assert!(delivered.logs().iter().all(|log| log.context == EventContext::None));
}

#[test]
fn the_message_of_an_event_without_one_is_its_fields() {
    let delivered = traced(|| tracing::info!(tokens = 42, model_id = "llama"));
    assert_eq!(message(&delivered.logs()[0]), "info: tokens=42 model_id=llama");
}

#[instrument(err, ret)]
fn divide(dividend: i32, divisor: i32) -> Result<i32, String> {
    dividend.checked_div(divisor).ok_or_else(|| "by zero".to_owned())
}

#[test]
fn an_instrumented_function_logs_what_it_returns_and_fails_with_its_error() {
    let delivered = traced(|| {
        assert_eq!(divide(6, 3), Ok(2));
        assert!(divide(6, 0).is_err());
    });
    let expected = r#"
divide {"dividend":6,"divisor":3}
  - info: return=2
divide {"dividend":6,"divisor":0} failed
  - error: error=by zero
"#;
    assert_eq!(delivered.tree(), expected.trim_start());
}

#[test]
fn a_panic_ends_the_spans_it_passes_as_failed() {
    let delivered = traced(|| {
        let panicked = std::panic::catch_unwind(|| {
            let _entered = tracing::info_span!("doomed").entered();
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        tracing::info_span!("afterwards").in_scope(|| ());
    });
    assert_eq!(delivered.span("doomed").status, Some(SpanStatus::Error));
    let afterwards = delivered.span("afterwards");
    assert_eq!((afterwards.status, afterwards.parent_span_id), (Some(SpanStatus::Ok), None));
}

#[test]
fn opentelemetry_fields_set_name_and_status() {
    let delivered = traced(|| {
        let span =
            tracing::info_span!("dull", otel.name = "GET /models", otel.status_code = tracing::field::Empty);
        span.record("otel.status_code", "ERROR");
    });
    let span = delivered.span("GET /models");
    assert_eq!((span.status, span.attributes.len()), (Some(SpanStatus::Error), 0));
}

#[test]
fn opentelemetry_fields_set_the_kind() {
    let delivered = traced(|| {
        drop(tracing::info_span!("call", otel.kind = "client"));
        drop(tracing::info_span!("request", otel.kind = ?SpanKind::Server));
        drop(tracing::info_span!("odd", otel.kind = "sideways"));
    });
    let kind = |name| delivered.span(name).kind;
    assert_eq!(
        [kind("call"), kind("request"), kind("odd")],
        [SpanKind::Client, SpanKind::Server, SpanKind::Internal]
    );
    assert_eq!(delivered.span("call").attributes.len(), 0);
    assert_eq!(delivered.span("odd").attributes, attrs! { "otel.kind" => "sideways" });
}

#[test]
fn what_a_span_follows_from_is_a_link() {
    let delivered = traced(|| {
        let cause = tracing::info_span!("cause");
        let effect = tracing::info_span!(parent: None, "effect");
        effect.follows_from(&cause);
    });
    let cause = delivered.span("cause");
    let expected = format!(r#"[{{"trace_id":"{}","span_id":"{}"}}]"#, cause.trace_id, cause.span_id);
    assert_eq!(delivered.span("effect").attributes.get("otel.links"), Some(&Value::from(expected)));
    assert_ne!(delivered.span("effect").trace_id, cause.trace_id);
}

#[test]
fn links_beyond_the_limit_are_counted() {
    let delivered = traced(|| {
        let (cause, effect) = (tracing::info_span!("cause"), tracing::info_span!(parent: None, "effect"));
        for _ in 0..130 {
            effect.follows_from(&cause);
        }
    });
    let attributes = &delivered.span("effect").attributes;
    assert_eq!(attributes.get("otel.dropped_links_count"), Some(&Value::Int(2)));
    assert_eq!(attributes.get("otel.links").unwrap().as_str().unwrap().matches("trace_id").count(), 128);
}

#[test]
fn parents_may_be_given() {
    let delivered = traced(|| {
        let parent = tracing::info_span!("parent");
        let other = tracing::info_span!("other").entered();
        tracing::info_span!(parent: &parent, "child").in_scope(|| ());
        tracing::info_span!(parent: None, "root").in_scope(|| ());
        tracing::info!(parent: &parent, "elsewhere");
        tracing::info!(parent: None, "nowhere");
        drop(other);
    });
    assert_eq!(delivered.span("child").parent_span_id, Some(delivered.span("parent").span_id));
    assert_eq!(delivered.span("root").parent_span_id, None);
    let contexts: Vec<Option<_>> = delivered.logs().iter().map(|log| log.context.span_key()).collect();
    assert_eq!(contexts, [Some(delivered.span("parent").key()), None]);
}

#[test]
fn a_span_that_is_filtered_out_leaves_its_children_to_its_parent() {
    let pipeline = CapturingPipeline::start();
    let layer = telemetry_tracing::layer(pipeline.telemetry()).with_filter(LevelFilter::INFO);
    // Another layer takes everything, so the spans exist.
    let subscriber = tracing_subscriber::registry().with(layer).with(Unfiltered);
    tracing::subscriber::with_default(subscriber, || {
        let _outer = tracing::info_span!("outer").entered();
        let hidden = tracing::debug_span!("hidden");
        let _hidden = hidden.enter();
        tracing::debug!("hidden too");
        tracing::info!("seen");
        tracing::info_span!("inner").in_scope(|| ());
        tracing::info_span!(parent: &hidden, "explicit").in_scope(|| ());
    });
    let expected = "outer {}\n  - info: seen\n  inner {}\n  explicit {}\n";
    assert_eq!(pipeline.finish().tree(), expected);
}

struct Unfiltered;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Unfiltered {}

#[test]
fn an_event_with_metric_and_value_is_a_metric_point() {
    let delivered = traced(|| {
        let _span = tracing::info_span!("inference").entered();
        tracing::info!(metric = "prompt_tokens", value = 42, unit = "tokens", model_id = "llama");
        tracing::info!(metric = "queue", value = 0.5, kind = "gauge");
        tracing::info!(metric = "not", value = "a number");
        tracing::info!(metric = "said", value = 1, "with a message it is a log");
    });
    let metrics = delivered.metrics();
    let inference = delivered.span("inference").key();
    assert_eq!((metrics.len(), delivered.logs().len()), (2, 2));
    assert_eq!((metrics[0].name.as_ref(), metrics[0].unit.as_ref()), ("prompt_tokens", "tokens"));
    assert_eq!(metrics[0].attributes, attrs! { "model_id" => "llama" });
    assert_eq!(metrics[0].context.span_key(), Some(inference));
    assert_eq!((metrics[1].kind, metrics[1].unit.as_ref()), (Some(MetricKind::Gauge), "1"));
}

#[test]
fn records_of_the_log_crate_are_logs_with_their_own_target() {
    tracing_log::LogTracer::init().unwrap();
    let delivered = traced(|| {
        let _span = tracing::info_span!("request").entered();
        log::warn!(target: "old_library", "answer {}", 42);
    });
    assert_eq!(delivered.tree(), "request {}\n  - warn: answer 42\n");
    let log = &delivered.logs()[0];
    assert_eq!(message(log), "warn: answer 42");
    assert_eq!(log.attributes, attrs! { "target" => "old_library" });
}

#[test]
fn a_task_that_outlives_its_span_does_not_prolong_it() {
    let mut answered = None;
    let delivered = traced(|| {
        let request = tracing::info_span!("request");
        let job = request.in_scope(|| tracing::info_span!("job"));
        answered = Some(telemetry_core::Timestamp::now());
        // `job` keeps `request` open for `tracing`.
        drop(request);
        let later = std::time::Instant::now() + std::time::Duration::from_millis(20);
        while std::time::Instant::now() < later {
            std::hint::spin_loop();
        }
        job.in_scope(|| ());
    });
    let (request, job) = (delivered.span("request"), delivered.span("job"));
    assert_eq!(job.parent_span_id, Some(request.span_id));
    let prolonged = request.end_time.unwrap().since(answered.unwrap());
    assert!(prolonged < std::time::Duration::from_millis(10), "{prolonged:?} too long");
    assert!(job.end_time > request.end_time);
}

#[test]
fn a_span_that_is_never_entered_ends_when_it_closes() {
    let delivered = traced(|| {
        let outer = tracing::info_span!("outer");
        let inner = tracing::info_span!(parent: &outer, "inner");
        drop(outer);
        drop(inner);
    });
    assert!(delivered.span("outer").end_time >= delivered.span("inner").end_time);
}

#[test]
fn a_field_named_target_stays_and_the_event_s_target_moves() {
    let delivered = traced(|| tracing::info!(target = "mine", "hit"));
    assert_eq!(
        delivered.logs()[0].attributes,
        attrs! { "target" => "mine", "tracing.target" => "layer::mapping" }
    );
}
