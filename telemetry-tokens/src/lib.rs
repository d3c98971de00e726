//! Token metrics for the router of an LLM server.
//!
//! The router creates one [`Inference`] per call of a model and sets what it learns about the call. The
//! inference logs its metrics once, when it is finished or dropped.
//!
//! ```
//! use telemetry_pipeline::Telemetry;
//! use telemetry_tokens::TokenMetrics;
//!
//! # let telemetry = Telemetry::disabled();
//! let tokens = TokenMetrics::new(telemetry);
//!
//! let mut inference = tokens.inference("llama-3.2-3b", "vllm");
//! inference.set_prompt_tokens(12); // from the provider's `usage`
//! inference.set_completion_tokens(30);
//! let metrics = inference.finish(); // for the field `metrics` of the answer
//! assert_eq!(metrics[2].metric, "total_tokens");
//! assert_eq!(metrics[2].value, 42.into());
//! ```
//!
//! A stream is counted until it ends or is dropped, for example because the client disconnects:
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
//! # Metrics
//!
//! | Metric | Unit | Labels |
//! |---|---|---|
//! | `prompt_tokens`, `completion_tokens`, `total_tokens` | `tokens` | `model_id`, `provider_id` |
//! | `inference_without_usage_total` | `requests` | `model_id`, `provider_id` |
//!
//! `total_tokens` is logged only if both counts are known. If a provider reports no token counts, the known
//! metrics are logged, and the call counts in `inference_without_usage_total`.
//!
//! # Histograms of OpenTelemetry's GenAI conventions
//!
//! Off by default; [`TokenMetrics::with_histograms`] adds `gen_ai.server.request.duration`,
//! `gen_ai.server.time_to_first_token` and `gen_ai.server.time_per_output_token`, in seconds.
//! `gen_ai.client.token.usage` is not logged here: the sink `otel_metric` computes it from the token
//! metrics if its option `histograms` is on.

mod gen_ai;
mod inference;
mod stream;

pub use gen_ai::GenAiConventions;
pub use inference::{Inference, MetricInResponse, TokenMetrics};
pub use stream::CountedStream;
