//! A program that knows only `tracing`: one layer, and its spans and events are telemetry.

use std::error::Error;
use std::time::Duration;

use telemetry_provider::Provider;
use tracing::{info, instrument, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> Result<(), Box<dyn Error>> {
    let provider = Provider::from_environment()?;
    tracing_subscriber::registry().with(telemetry_tracing::layer(provider.telemetry())).init();

    for path in ["poem.txt", "picture.png"] {
        // The span and the log say what went wrong; here it is no reason to stop.
        let _ = index(path);
    }
    provider.shutdown(Duration::from_secs(5));
    Ok(())
}

/// Arguments become attributes; an error fails the span.
#[instrument(err)]
fn index(path: &str) -> Result<usize, UnknownFormat> {
    let chunks = split(path)?;
    info!(chunks, "indexed");
    // An event with `metric` and `value` is a measurement.
    info!(metric = "chunks_indexed", value = chunks, unit = "chunks", path);
    Ok(chunks)
}

#[instrument]
fn split(path: &str) -> Result<usize, UnknownFormat> {
    let Some((_, "txt")) = path.rsplit_once('.') else {
        warn!("only text can be split");
        return Err(UnknownFormat);
    };
    Ok(3)
}

#[derive(Debug)]
struct UnknownFormat;

impl std::fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unknown format")
    }
}

impl Error for UnknownFormat {}
