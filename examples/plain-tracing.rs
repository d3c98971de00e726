//! A program that uses only `tracing`. One layer records its spans and events as telemetry.

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
        // The span and the log record the error. The program continues with the next file.
        let _ = index(path);
    }
    provider.shutdown(Duration::from_secs(5));
    Ok(())
}

/// Indexes a file. The arguments become attributes of the span, and an error fails it.
#[instrument(err)]
fn index(path: &str) -> Result<usize, UnknownFormat> {
    let chunks = split(path)?;
    info!(chunks, "indexed");
    // An event with `metric` and `value` is a metric point.
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
