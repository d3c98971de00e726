//! Token metrics of inference, fed by the router of an LLM server.
//!
//! One [`Inference`] per call of a model: it is told what it is told, and reports once, when it is
//! finished or dropped.
//!
//! ```
//! use telemetry_pipeline::Telemetry;
//! use telemetry_tokens::TokenMetrics;
//!
//! # let telemetry = Telemetry::disabled();
//! let tokens = TokenMetrics::new(telemetry);
//!
//! let mut inference = tokens.inference("llama-3.2-3b", "vllm");
//! inference.set_prompt_tokens(12); // as the provider's `usage` says
//! inference.set_completion_tokens(30);
//! let metrics = inference.finish(); // for the field `metrics` of the answer
//! assert_eq!(metrics[2].metric, "total_tokens");
//! assert_eq!(metrics[2].value, 42.into());
//! ```
//!
//! A stream is counted to its end, also where the client hangs up and the end is a drop:
//!
//! ```
//! use futures_util::{StreamExt as _, stream};
//! # use telemetry_tokens::TokenMetrics;
//!
//! # let tokens = TokenMetrics::new(telemetry_pipeline::Telemetry::disabled());
//! let mut inference = tokens.inference("llama-3.2-3b", "vllm");
//! inference.set_prompt_tokens(12);
//! let chunks = stream::iter(["Hel", "lo"]);
//! let counted = inference.count(chunks, |_chunk, inference| inference.add_completion_tokens(1));
//! # let _: Vec<_> = telemetry_testkit::block_on(counted.collect());
//! ```
//!
//! # What is reported
//!
//! | Metric | Unit | Labels |
//! |---|---|---|
//! | `prompt_tokens`, `completion_tokens`, `total_tokens` | `tokens` | `model_id`, `provider_id` |
//! | `inference_without_usage_total` | `requests` | `model_id`, `provider_id` |
//!
//! The total needs both counts. Providers that don't say how many tokens a call took are no error: what
//! is known is reported, and the call is counted as one without usage.
//!
//! # Histograms of OpenTelemetry's GenAI conventions
//!
//! Off by default; [`TokenMetrics::with_histograms`] adds `gen_ai.server.request.duration`,
//! `gen_ai.server.time_to_first_token` and `gen_ai.server.time_per_output_token`, in seconds.
//! `gen_ai.client.token.usage` needs nothing here: the sink `otel_metric` makes it of the token
//! metrics where its option `histograms` is on.

mod gen_ai;
mod inference;
mod stream;

pub use gen_ai::GenAiConventions;
pub use inference::{Inference, MetricInResponse, TokenMetrics};
pub use stream::CountedStream;
