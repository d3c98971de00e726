//! The server behind a workload: what its requests are called and what they carry.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use telemetry_core::{
    Attributes, EventContext, MetricValue, Severity, Span, SpanId, SpanKey, SpanStatus, Text, Timestamp,
    TraceId, Value, attrs,
};

use super::{Moment, Workload};

const ROUTES: &[&str] = &[
    "POST /v1/inference/chat/completions",
    "POST /v1/inference/embeddings",
    "POST /v1/agents/turn",
    "POST /v1/vector-io/query",
];
const STEPS: &[&str] = &[
    "InferenceRouter.chat_completion",
    "SafetyRouter.run_shield",
    "VectorIORouter.query_chunks",
    "ToolRuntimeRouter.invoke_tool",
    "tokenize",
    "prefill",
    "decode",
];
const MODELS: &[&str] = &["llama-3.2-3b", "llama-3.3-70b", "qwen-3-8b", "nomic-embed-text"];
const PROVIDERS: &[&str] = &["ollama", "vllm", "fireworks"];
const MESSAGES: &[&str] = &[
    "request accepted",
    "cache miss",
    "the provider answers slowly",
    "retrying after 429",
    "stream closed by the client",
    "tool call returned nothing",
];

const MILLISECOND: i64 = 1_000_000;

/// Everything that happens, in order of time.
pub(super) fn moments(workload: &Workload) -> Vec<(Timestamp, Moment)> {
    let mut server =
        Server { workload, rng: StdRng::seed_from_u64(workload.seed), moments: Vec::new(), now: 0 };
    let mut arrival = workload.start.as_nanos();
    for _ in 0..workload.traces {
        server.now = arrival;
        server.request();
        arrival += server.rng.random_range(1..400) * MILLISECOND;
    }
    let mut moments = server.moments;
    moments.sort_by_key(|(time, _)| *time);
    moments
}

struct Server<'a> {
    workload: &'a Workload,
    rng: StdRng,
    moments: Vec<(Timestamp, Moment)>,
    /// The clock of the request being served, in nanoseconds.
    now: i64,
}

impl Server<'_> {
    fn pass(&mut self) {
        self.now += self.rng.random_range(1_000..40 * MILLISECOND);
    }

    fn pick(&mut self, texts: &[&'static str]) -> &'static str {
        texts.choose(&mut self.rng).copied().unwrap_or_default()
    }

    fn happen(&mut self, moment: Moment) {
        self.pass();
        self.moments.push((Timestamp::from_nanos(self.now), moment));
    }

    fn request(&mut self) {
        let trace_id = loop {
            if let Some(id) = TraceId::from_u128(self.rng.random()) {
                break id;
            }
        };
        let model = self.pick(MODELS);
        self.log_beside(EventContext::None);
        let mut spans = self.rng.random_range(1..=self.workload.spans_per_trace.max(1));
        let route = self.pick(ROUTES);
        self.span(trace_id, None, route, model, &mut spans);
        if self.workload.late_logs {
            self.log_beside(EventContext::Trace(trace_id));
        }
    }

    /// A span, its logs, and children while `left` spans are left.
    fn span(
        &mut self,
        trace_id: TraceId,
        parent: Option<SpanId>,
        name: &'static str,
        model: &'static str,
        left: &mut usize,
    ) {
        let span_id = loop {
            if let Some(id) = SpanId::from_u64(self.rng.random()) {
                break id;
            }
        };
        let key = SpanKey::new(trace_id, span_id);
        *left = left.saturating_sub(1);
        self.pass();
        let start = Timestamp::from_nanos(self.now);
        let attributes = self.span_attributes(model);
        let span = Span { parent_span_id: parent, attributes, ..Span::open(key, name, start) };
        self.moments.push((start, Moment::Start(span)));
        for _ in 0..self.workload.logs_per_span {
            self.log(EventContext::Span(key));
        }
        while *left > 0 && self.rng.random_bool(0.6) {
            let step = self.pick(STEPS);
            self.span(trace_id, Some(span_id), step, model, left);
        }
        if parent.is_none() && self.workload.metrics {
            self.count_tokens(key, model);
        }
        let failed = self.rng.random_bool(0.15);
        let status = if failed { SpanStatus::Error } else { SpanStatus::Ok };
        let attributes = attrs! { "finish_reason" => if failed { "error" } else { "stop" } };
        self.happen(Moment::End { key, status, attributes });
        if self.workload.late_logs && self.rng.random_bool(0.3) {
            self.log(EventContext::Span(key));
        }
    }

    fn span_attributes(&mut self, model: &'static str) -> Attributes {
        let temperature = f64::from(self.rng.random_range(0..20_u32)) / 10.0;
        let attributes = attrs! {
            "model_id" => model,
            "temperature" => temperature,
            "max_tokens" => self.rng.random_range(1..4_096_i64),
            "stream" => self.rng.random_bool(0.5),
            "session" => format!("{:08x}", self.rng.random::<u32>()),
        };
        if !self.workload.odd_attributes {
            return attributes;
        }
        let (key, value) = self.odd();
        attributes.into_iter().chain([(Text::Borrowed(key), value)]).collect()
    }

    fn odd(&mut self) -> (&'static str, Value) {
        let odd: [(&str, Value); 12] = [
            ("a.b[0]", Value::from("dots and brackets")),
            ("quo\"te", Value::from("it's \"quoted\" \\ escaped")),
            ("ключ 鍵 🔑", Value::from("значение 値 🦙")),
            ("control", Value::from("line\nbreak\ttab\u{1b}[31mred\u{0}end")),
            ("empty", Value::from("")),
            ("__hidden__", Value::from(true)),
            ("nothing", Value::Null),
            ("least", Value::from(i64::MIN)),
            ("most", Value::from(i64::MAX)),
            ("tiny", Value::from(f64::MIN_POSITIVE)),
            ("whole float", Value::from(7.0)),
            ("long", Value::from("x".repeat(10_000))),
        ];
        let place = self.rng.random_range(0..odd.len());
        odd.into_iter().nth(place).unwrap_or(("", Value::Null))
    }

    fn log(&mut self, context: EventContext) {
        let severity = Severity::ALL.choose(&mut self.rng).copied().unwrap_or(Severity::Info);
        let message = Text::Borrowed(self.pick(MESSAGES));
        let attributes = attrs! { "attempt" => self.rng.random_range(1..4_i64) };
        self.happen(Moment::Log { context, severity, message, attributes });
    }

    /// Now and then a line that belongs to no span.
    fn log_beside(&mut self, context: EventContext) {
        if self.rng.random_bool(0.3) {
            self.log(context);
        }
    }

    fn count_tokens(&mut self, key: SpanKey, model: &'static str) {
        let provider = self.pick(PROVIDERS);
        let prompt = self.rng.random_range(1..2_000_i64);
        let completion = self.rng.random_range(1..800_i64);
        let labels = attrs! { "model_id" => model, "provider_id" => provider };
        let tokens = [
            ("prompt_tokens", prompt),
            ("completion_tokens", completion),
            ("total_tokens", prompt + completion),
        ];
        for (name, count) in tokens {
            let value = MetricValue::Int(count);
            self.metric(EventContext::Span(key), name, value, "tokens", labels.clone());
        }
        let load = MetricValue::Float(self.rng.random());
        self.metric(EventContext::None, "gpu_utilization", load, "1", attrs! { "gpu" => 0 });
    }

    fn metric(
        &mut self,
        context: EventContext,
        name: &'static str,
        value: MetricValue,
        unit: &'static str,
        attributes: Attributes,
    ) {
        let (name, unit) = (Text::Borrowed(name), Text::Borrowed(unit));
        self.happen(Moment::Metric { context, name, value, unit, attributes });
    }
}
