//! One call of a model, and the metrics that it logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use telemetry_core::{Event, EventContext, MetricValue, SpanKey, Text, attrs};
use telemetry_pipeline::{Telemetry, current_span};

use crate::GenAiConventions;
use crate::gen_ai::{Timing, histogram_points};

/// Creates [`Inference`]s and holds their settings. Cheap to clone. See the [crate](crate) for an example.
#[derive(Clone, Debug)]
pub struct TokenMetrics {
    telemetry: Telemetry,
    histograms: Option<GenAiConventions>,
    without_usage: Arc<AtomicU64>,
}

/// A metric in the answer of an API, in the shape of Llama Stack's `MetricInResponse`.
///
/// ```
/// use telemetry_tokens::MetricInResponse;
///
/// let metric = MetricInResponse { metric: "prompt_tokens".into(), value: 12.into(), unit: Some("tokens".into()) };
/// assert_eq!(
///     serde_json::to_string(&metric)?,
///     r#"{"metric":"prompt_tokens","value":12,"unit":"tokens"}"#
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricInResponse {
    /// The name.
    pub metric: Text,
    /// The value.
    pub value: MetricValue,
    /// The unit.
    pub unit: Option<Text>,
}

/// One call of a model.
///
/// It logs its metrics once, when it is [finished](Inference::finish) or dropped. A call that fails or is
/// cancelled logs what is known about it. The metrics belong to the span that was current when the
/// inference was created.
#[derive(Debug)]
#[must_use = "an inference logs its metrics when it is dropped"]
pub struct Inference {
    tokens: TokenMetrics,
    span: Option<SpanKey>,
    operation: Text,
    model_id: Text,
    provider_id: Text,
    started: Instant,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    duration: Option<Duration>,
    time_to_first_token: Option<Duration>,
    error: Option<Text>,
}

impl TokenMetrics {
    /// Returns token metrics that are logged to `telemetry`, without histograms.
    pub fn new(telemetry: Telemetry) -> Self {
        Self { telemetry, histograms: None, without_usage: Arc::default() }
    }

    /// Also logs durations as histograms, with the names of these conventions.
    #[must_use]
    pub fn with_histograms(self, conventions: GenAiConventions) -> Self {
        Self { histograms: Some(conventions), ..self }
    }

    /// Returns a new inference, which starts now.
    pub fn inference(&self, model_id: impl Into<Text>, provider_id: impl Into<Text>) -> Inference {
        Inference {
            tokens: self.clone(),
            span: current_span(),
            operation: Text::Borrowed("chat"),
            model_id: model_id.into(),
            provider_id: provider_id.into(),
            started: Instant::now(),
            prompt_tokens: None,
            completion_tokens: None,
            duration: None,
            time_to_first_token: None,
            error: None,
        }
    }

    /// Returns the number of calls that ended without the number of prompt or completion tokens.
    pub fn without_usage(&self) -> u64 {
        self.without_usage.load(Ordering::Relaxed)
    }
}

impl Inference {
    /// Sets the span of the metrics, instead of the span that was current when the inference was created.
    pub const fn in_span(mut self, span: SpanKey) -> Self {
        self.span = Some(span);
        self
    }

    /// Sets the operation, for example `embeddings`, as named in the GenAI conventions. The default is `chat`.
    pub fn set_operation(&mut self, operation: impl Into<Text>) {
        self.operation = operation.into();
    }

    /// Sets the number of tokens of the prompt.
    pub const fn set_prompt_tokens(&mut self, tokens: u64) {
        self.prompt_tokens = Some(tokens);
    }

    /// Sets the number of tokens of the completion. Replaces tokens that were added before.
    pub const fn set_completion_tokens(&mut self, tokens: u64) {
        self.completion_tokens = Some(tokens);
    }

    /// Adds tokens of the completion, for streams without a token count at their end.
    pub fn add_completion_tokens(&mut self, tokens: u64) {
        let before = self.completion_tokens.unwrap_or(0);
        self.completion_tokens = Some(before.saturating_add(tokens));
    }

    /// Sets the duration of the call, if the provider reports it. The default is the time until the
    /// metrics are logged.
    pub const fn set_duration(&mut self, duration: Duration) {
        self.duration = Some(duration);
    }

    /// Sets the time to the first token, if the provider reports it.
    pub const fn set_time_to_first_token(&mut self, duration: Duration) {
        self.time_to_first_token = Some(duration);
    }

    /// Records that the first token arrived now. Later calls change nothing. [`Inference::count`] calls it
    /// for the first item.
    pub fn first_token(&mut self) {
        if self.time_to_first_token.is_none() {
            self.time_to_first_token = Some(self.started.elapsed());
        }
    }

    /// Records that the call failed with an error of this type, for example `timeout` or `503`.
    pub fn fail(&mut self, error_type: impl Into<Text>) {
        self.error = Some(error_type.into());
    }

    /// Returns the token metrics known so far, for example for the last item of a stream.
    pub fn metrics(&self) -> Vec<MetricInResponse> {
        let metric = |(name, tokens): (&'static str, u64)| MetricInResponse {
            metric: Text::Borrowed(name),
            value: MetricValue::Int(i64::try_from(tokens).unwrap_or(i64::MAX)),
            unit: Some(Text::Borrowed("tokens")),
        };
        let total = self.prompt_tokens.zip(self.completion_tokens);
        [
            self.prompt_tokens.map(|tokens| ("prompt_tokens", tokens)),
            self.completion_tokens.map(|tokens| ("completion_tokens", tokens)),
            total.map(|(prompt, completion)| ("total_tokens", prompt.saturating_add(completion))),
        ]
        .into_iter()
        .flatten()
        .map(metric)
        .collect()
    }

    /// Logs the metrics, and returns the token metrics for the answer.
    pub fn finish(self) -> Vec<MetricInResponse> {
        self.metrics()
    }

    fn log_metrics(&self) {
        let log = |event: Event| {
            let context = self.span.map_or(EventContext::None, EventContext::Span);
            self.tokens.telemetry.log_event(event.in_context(context));
        };
        let labels =
            || attrs! { "model_id" => self.model_id.clone(), "provider_id" => self.provider_id.clone() };
        for MetricInResponse { metric, value, .. } in self.metrics() {
            log(Event::metric(metric, value, "tokens").with_attributes(labels()));
        }
        if self.prompt_tokens.is_none() || self.completion_tokens.is_none() {
            self.tokens.without_usage.fetch_add(1, Ordering::Relaxed);
            log(Event::metric("inference_without_usage_total", 1, "requests").with_attributes(labels()));
        }
        if let Some(conventions) = self.tokens.histograms {
            let timing = Timing {
                operation: &self.operation,
                model_id: &self.model_id,
                provider_id: &self.provider_id,
                error: self.error.as_ref(),
                duration: self.duration.unwrap_or_else(|| self.started.elapsed()),
                time_to_first_token: self.time_to_first_token,
                completion_tokens: self.completion_tokens,
            };
            histogram_points(&timing, conventions).into_iter().for_each(log);
        }
    }
}

impl Drop for Inference {
    fn drop(&mut self) {
        self.log_metrics();
    }
}
