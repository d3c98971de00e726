//! `telemetry serve`: from a configuration to an orderly end.

use std::error::Error;
use std::io::IsTerminal as _;
use std::iter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use telemetry_provider::{Config, Provider};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::feedback;
use crate::http::{self, Connections};
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
    let listeners = runtime.block_on(async {
        let main = listen(settings.listen, "--listen")?;
        let otlp = settings.otlp_listen.map(|address| listen(address, "--otlp-listen")).transpose()?;
        Ok::<_, Box<dyn Error>>(iter::once(main).chain(otlp).collect::<Vec<_>>())
    })?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    feedback::refuse(&config, &addresses, |name| std::env::var(name).ok())?;
    let provider = Provider::start(config)?;
    let ended = runtime.block_on(serve(listeners, &addresses, &provider, settings));
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

fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, Box<dyn Error>> {
    let bound = bind(address);
    bound.map_err(|error| format!("can't listen on {address}: {error}; choose another with {flag}").into())
}

/// Connections the system keeps until they are accepted. Tokio's own 128 are gone in the first
/// millisecond of a rush, and who does not fit tries again a second later.
const BACKLOG: u32 = 4_096;

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `TcpListener::bind` does: a restart need not wait for old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves; returns when everything must have ended.
async fn serve(
    listeners: Vec<TcpListener>,
    addresses: &[SocketAddr],
    provider: &Provider,
    settings: &Settings,
) -> Result<Instant, Box<dyn Error>> {
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
    let connections = Connections::new(http::provide(settings.limits.max_connections));
    tokio::spawn(asked_to_stop);
    let serving = listeners.into_iter().map(|listener| {
        let (limits, connections) = (settings.limits.clone(), Arc::clone(&connections));
        tokio::spawn(http::serve(listener, router.clone(), limits, connections, stopped.clone()))
    });
    let serving = futures_util::future::join_all(serving.collect::<Vec<_>>());
    announce(addresses);
    // Fails only when nobody is left who could ask for the end.
    let _ = stopped.wait_for(|stopped| *stopped).await;
    let deadline = Instant::now() + settings.shutdown_within;
    // Half of the time for answers, the rest for the sinks.
    let answers = settings.shutdown_within.min(Duration::from_secs(60)) / 2;
    if tokio::time::timeout(answers, serving).await.is_err() {
        tracing::warn!(connections = connections.count(), "some requests were not answered in time");
    }
    Ok(deadline)
}

/// Tells people, and programs that wait for it, that the server answers.
#[expect(clippy::print_stderr, reason = "the line is part of the interface, whatever the log's level")]
fn announce(addresses: &[SocketAddr]) {
    let [main, more @ ..] = addresses else { return };
    for address in more {
        eprintln!("receiving OTLP on http://{address}");
    }
    eprintln!("listening on http://{main}");
}
