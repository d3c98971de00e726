//! An agent whose tools call other tools, some at the same time. It prints its trace as a tree:
//!
//! ```text
//! invoke_agent traveller
//!   step 1
//!     chat parrot
//!     execute_tool weather
//!     execute_tool hotel
//!       execute_tool exchange_rate (error)
//!   step 2
//!     chat parrot
//! ```
#![expect(clippy::print_stdout, reason = "a program prints its result")]

use std::error::Error;
use std::fmt::{self, Write as _};
use std::future::Future;
use std::time::Duration;

use telemetry_core::query::{SpanTree, TreeQuery};
use telemetry_core::{Attributes, Event, Severity, SpanId, SpanKey, SpanStatus, Text, attrs};
use telemetry_pipeline::{FutureExt as _, Telemetry};
use telemetry_provider::Provider;
use telemetry_tokens::TokenMetrics;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let provider = Provider::from_environment()?;
    let agent = Agent::new(provider.telemetry());

    let root = agent.telemetry.span("invoke_agent traveller", attrs! { "session_id" => "holidays" });
    let answer = agent.turn("Where shall I go?").in_span(root.context()).await?;
    let key = root.key();
    root.end();
    println!("{answer}\n");

    agent.telemetry.flush(Duration::from_secs(5)).await;
    print!("{}", trace_of(&agent.telemetry, key).await?);
    tokio::task::spawn_blocking(move || provider.shutdown(Duration::from_secs(5))).await?;
    Ok(())
}

struct Agent {
    telemetry: Telemetry,
    tokens: TokenMetrics,
}

#[derive(Debug)]
struct ToolError(&'static str);

impl Agent {
    fn new(telemetry: Telemetry) -> Self {
        Self { tokens: TokenMetrics::new(telemetry.clone()), telemetry }
    }

    /// Answers in two steps: asks the model and calls two tools, then lets the model read their results.
    async fn turn(&self, question: &str) -> Result<String, ToolError> {
        let results = async {
            self.infer(question).await;
            // Both run at the same time on one thread. Each future keeps its own current span.
            let (weather, hotel) = futures_util::join!(self.weather("Lisbon"), self.hotel("Lisbon"));
            Ok(format!("Lisbon: {}, {}.", weather?, hotel?))
        };
        let results = self.within("step 1", attrs! {}, results).await?;
        let answer = async { Ok(self.infer(&results).await) };
        self.within("step 2", attrs! {}, answer).await
    }

    /// Runs `work` in a child of the current span. An error fails the span.
    async fn within<T>(
        &self,
        name: impl Into<Text>,
        attributes: Attributes,
        work: impl Future<Output = Result<T, ToolError>>,
    ) -> Result<T, ToolError> {
        let mut span = self.telemetry.span(name, attributes);
        let outcome = work.in_span(span.context()).await;
        if let Err(error) = &outcome {
            span.record_error(error);
        }
        outcome
    }

    async fn infer(&self, prompt: &str) -> String {
        let span = self.telemetry.span("chat parrot", attrs! { "gen_ai.operation.name" => "chat" });
        let mut inference = self.tokens.inference("parrot", "aviary").in_span(span.key());
        sleep(Duration::from_millis(2)).await;
        let words = prompt.split_whitespace().count() as u64;
        inference.set_prompt_tokens(words);
        inference.set_completion_tokens(words);
        prompt.to_owned()
    }

    async fn weather(&self, city: &'static str) -> Result<String, ToolError> {
        let work = async {
            sleep(Duration::from_millis(2)).await;
            Ok("sunny".to_owned())
        };
        self.within("execute_tool weather", attrs! { "city" => city }, work).await
    }

    async fn hotel(&self, city: &'static str) -> Result<String, ToolError> {
        let work = async {
            sleep(Duration::from_millis(1)).await;
            let price = 80.0;
            Ok(match self.exchange_rate("EUR").await {
                Ok(rate) => format!("a room for {:.0} dollars", price * rate),
                Err(error) => {
                    let message = format!("no exchange rate: {error}");
                    self.telemetry.log_event(Event::log(Severity::Warn, message));
                    format!("a room for {price:.0} euros")
                }
            })
        };
        self.within("execute_tool hotel", attrs! { "city" => city }, work).await
    }

    async fn exchange_rate(&self, currency: &'static str) -> Result<f64, ToolError> {
        let work = async {
            sleep(Duration::from_millis(1)).await;
            Err(ToolError("the bank is closed"))
        };
        self.within("execute_tool exchange_rate", attrs! { "currency" => currency }, work).await
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for ToolError {}

/// Reads the spans below `root` from the store and formats them as a tree.
async fn trace_of(telemetry: &Telemetry, root: SpanKey) -> Result<String, Box<dyn Error>> {
    let store = telemetry.store().ok_or("no sink has a store; set TELEMETRY_SINKS=console,sqlite")?;
    let query = TreeQuery { span_id: root.span_id, trace_id: Some(root.trace_id), max_depth: None };
    let tree = store.span_tree(query).await?.ok_or("the trace is not in the store")?;
    let mut text = String::new();
    for top in tree.nodes.iter().filter(|node| node.depth == 1) {
        draw(&tree, top.span.span_id, &mut text)?;
    }
    Ok(text)
}

/// Writes a line for the span, then those of its children.
fn draw(tree: &SpanTree, span_id: SpanId, text: &mut String) -> fmt::Result {
    for node in tree.nodes.iter().filter(|node| node.span.span_id == span_id) {
        let indent = "  ".repeat(node.depth as usize - 1);
        let failed = if node.span.status == Some(SpanStatus::Error) { " (error)" } else { "" };
        writeln!(text, "{indent}{}{failed}", node.span.name)?;
    }
    for child in tree.nodes.iter().filter(|node| node.span.parent_span_id == Some(span_id)) {
        draw(tree, child.span.span_id, text)?;
    }
    Ok(())
}
