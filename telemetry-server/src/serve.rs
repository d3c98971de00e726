//! `telemetry serve`: from a configuration to an orderly end.

use std::error::Error;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use telemetry_provider::{Config, Provider};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::router;
use crate::settings::Settings;

/// Starts the program's own log, on stderr.
pub(crate) fn start_log(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_new(&settings.log_level)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if settings.log_json {
        log.json().init();
    } else {
        log.init();
    }
    Ok(())
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub(crate) fn run(config: Config, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // First, so that a port in use is told before anything is opened.
    let listener = runtime.block_on(listen(settings.listen))?;
    let provider = Provider::start(config)?;
    let ended = runtime.block_on(serve(listener, &provider, settings));
    let deadline = ended?;
    runtime.shutdown_background();
    let report = provider.shutdown(deadline.saturating_duration_since(Instant::now()));
    for sink in &report.abandoned {
        tracing::warn!(sink, "the sink did not end in time");
    }
    for sink in report.ledger.sinks.iter().filter(|sink| sink.failed + sink.dropped > 0) {
        tracing::warn!(sink = sink.name, failed = sink.failed, dropped = sink.dropped, "signals were lost");
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Box<dyn Error>> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| format!("can't listen on {address}: {error}; choose another with --listen").into())
}

/// Serves; returns when everything must have ended.
async fn serve(
    listener: TcpListener,
    provider: &Provider,
    settings: &Settings,
) -> Result<Instant, Box<dyn Error>> {
    let address = listener.local_addr()?;
    let (stop, mut stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let asked_to_stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            // Without a handler for Ctrl-C only SIGTERM ends the program.
            Ok(()) = tokio::signal::ctrl_c() => {}
        }
        stop.send_replace(true);
    };
    let router = router(provider.telemetry(), settings);
    let server = axum::serve(listener, router).with_graceful_shutdown(asked_to_stop);
    announce(address);
    let mut serving = std::pin::pin!(server.into_future());
    tokio::select! {
        outcome = &mut serving => {
            outcome?;
            return Ok(Instant::now() + settings.shutdown_within);
        }
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    let deadline = Instant::now() + settings.shutdown_within;
    // Half of the time for answers, the rest for the sinks.
    let answers = settings.shutdown_within.min(Duration::from_secs(60)) / 2;
    if tokio::time::timeout(answers, serving).await.is_err() {
        tracing::warn!("some requests were not answered in time");
    }
    Ok(deadline)
}

/// Tells people, and programs that wait for it, that the server answers.
#[expect(clippy::print_stderr, reason = "the line is part of the interface, whatever the log's level")]
fn announce(address: SocketAddr) {
    eprintln!("listening on http://{address}");
}
