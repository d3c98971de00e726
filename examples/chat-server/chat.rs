//! The handlers: each call of the model has a span and counts its tokens, whole or streamed.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use telemetry_core::{Severity, attrs};
use telemetry_pipeline::{SpanGuard, Telemetry};
use telemetry_tokens::{Inference, TokenMetrics};

use crate::openai::{self, ChatRequest, Usage};

const MODEL: &str = "parrot";
const PROVIDER: &str = "aviary";

/// The state that the handlers share.
#[derive(Clone)]
pub(crate) struct Chat {
    pub(crate) telemetry: Telemetry,
    pub(crate) tokens: TokenMetrics,
}

pub(crate) async fn models() -> Json<Value> {
    Json(json!({ "object": "list", "data": [{ "id": MODEL, "object": "model", "owned_by": PROVIDER }] }))
}

pub(crate) async fn complete(State(chat): State<Chat>, Json(request): Json<ChatRequest>) -> Response {
    // The layer has made the request's span the current one. The new span is its child.
    chat.telemetry.current().set_attribute("gen_ai.request.model", request.model.clone());
    let mut span = chat.telemetry.span(
        format!("chat {}", request.model),
        attrs! {
            "gen_ai.operation.name" => "chat",
            "gen_ai.provider.name" => PROVIDER,
            "gen_ai.request.model" => request.model.clone(),
            "gen_ai.request.stream" => request.stream,
        },
    );
    if request.model != MODEL {
        span.record_error(&format!("no model `{}`", request.model));
        return (StatusCode::NOT_FOUND, Json(openai::unknown_model(&request.model))).into_response();
    }

    let prompt = request.prompt();
    let mut inference = chat.tokens.inference(MODEL, PROVIDER).in_span(span.key());
    inference.set_prompt_tokens(openai::count_tokens(&prompt));
    span.log(Severity::Info, "prompt received");

    if request.stream {
        let chunks = streamed(&prompt, inference, span);
        Sse::new(chunks.map(Ok::<_, Infallible>)).into_response()
    } else {
        whole(&prompt, inference).await.into_response()
    }
}

/// Answers with the whole completion.
async fn whole(prompt: &str, mut inference: Inference) -> Json<Value> {
    let words: Vec<String> = parrot(prompt).collect().await;
    inference.set_completion_tokens(words.len() as u64);
    let usage = Usage::of(&inference.finish());
    Json(openai::completion(MODEL, &words.concat(), &usage))
}

/// Answers word by word. The stream owns the span and the inference, so they end with its last chunk or when the client
/// disconnects.
fn streamed(prompt: &str, inference: Inference, span: SpanGuard) -> impl Stream<Item = Event> + use<> {
    enum Part {
        Word(String),
        Usage(Usage),
    }
    let words = parrot(prompt).map(Part::Word);
    let parts = words.chain(stream::iter([Part::Usage(Usage::default())]));
    let counted = inference.count(parts, |part, inference| match part {
        Part::Word(_) => inference.add_completion_tokens(1),
        Part::Usage(usage) => *usage = Usage::of(&inference.metrics()),
    });
    let chunks = counted.map(move |part| {
        let chunk = match part {
            Part::Word(word) => openai::chunk(MODEL, &word),
            Part::Usage(usage) => {
                span.log(Severity::Info, "completion sent");
                openai::last_chunk(MODEL, &usage)
            }
        };
        Event::default().data(chunk.to_string())
    });
    chunks.chain(stream::iter([Event::default().data("[DONE]")]))
}

/// The model: repeats the prompt, one word every five milliseconds.
fn parrot(prompt: &str) -> impl Stream<Item = String> + use<> {
    let words: Vec<String> = prompt.split_inclusive(' ').map(str::to_owned).collect();
    stream::iter(words).then(async |word| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        word
    })
}
