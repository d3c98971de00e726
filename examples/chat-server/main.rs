//! An OpenAI-compatible chat server with telemetry, and Llama Stack's API to query that telemetry.
//!
//! Its only model, `parrot`, repeats the prompt.
#![expect(clippy::print_stderr, reason = "a program prints its address")]

mod chat;
mod openai;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use clap::Parser;
use telemetry_provider::Provider;
use telemetry_tokens::{GenAiConventions, TokenMetrics};
use telemetry_tower::{RequestMetricsLayer, RequestSpanLayer, Routes};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::chat::Chat;

/// An OpenAI-compatible chat server with telemetry.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 picks one
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();

    // 1. The sinks, as the environment chooses them. `Provider::from_file("run.yaml")` reads a file instead.
    let provider = Provider::from_environment()?;
    let telemetry = provider.telemetry();

    // 2. Token metrics: Llama Stack's three, and the histograms of OpenTelemetry's GenAI conventions.
    let tokens = TokenMetrics::new(telemetry.clone()).with_histograms(GenAiConventions::V1_37);

    // 3. The API of each route, and three metrics and a span for each request.
    let routes = Routes::new().route("/v1/chat/completions", "inference").route("/v1/models", "models");
    let app = Router::new()
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/models", get(chat::models))
        .with_state(Chat { telemetry: telemetry.clone(), tokens })
        .layer(RequestMetricsLayer::new(telemetry.clone(), routes.clone()))
        .layer(RequestSpanLayer::new(telemetry.clone(), routes))
        // 4. The query API. It is added after the layers, so that queries are not recorded.
        .merge(telemetry_server::router(telemetry, &telemetry_server::Settings::default()));

    let listener = TcpListener::bind(arguments.listen).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;

    // 5. Deliver what is still waiting.
    tokio::task::spawn_blocking(move || provider.shutdown(Duration::from_secs(5))).await?;
    Ok(())
}
