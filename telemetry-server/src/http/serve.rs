//! Serves connections: HTTP/1.1 by hyper, with a limit on everything a client can occupy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

use crate::http::connections::{Connections, Place};
use crate::http::hyper_errors::ErrorBodies;
use crate::limits::Limits;

/// Largest buffer of a connection, unless a head may be larger.
const BUFFER: usize = 64 << 10;
/// How long a request may still take to arrive completely once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Pause after the system could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` is true. Then answers the complete requests, and returns when the last connection has
/// closed.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    connections: Arc<Connections>,
    mut stop: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(BUFFER.max(limits.max_header_bytes));
    let write_timeout = limits.write_timeout;
    let origin = Instant::now();
    let stopped = stop.clone();
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let place = connections.enter(origin).await;
                    let io = prepare(stream, write_timeout);
                    tokio::spawn(connection(http.clone(), io, router.clone(), place, stopped.clone()));
                }
                Err(error) => {
                    // The client has gone already, or the file descriptors are used up. Neither ends the server.
                    tracing::warn!(%error, "http: can't accept a connection; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    // The system now refuses new connections at once, instead of letting them wait in vain.
    drop(listener);
    connections.all_closed().await;
}

type Io = ErrorBodies<TokioIo<std::pin::Pin<Box<TimeoutStream<TcpStream>>>>>;

/// Adds the write timeout and the bodies of errors.
fn prepare(stream: TcpStream, write_timeout: Duration) -> Io {
    // An answer is one write. Waiting for more data would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "http: can't set TCP_NODELAY; answers may be delayed");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(write_timeout));
    ErrorBodies::new(TokioIo::new(Box::pin(stream)))
}

/// Serves one connection until it closes.
async fn connection(
    http: http1::Builder,
    io: Io,
    router: Router,
    place: Place,
    mut stop: watch::Receiver<bool>,
) {
    let state = Arc::clone(&place.connection);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&state));
        let answer = router.clone().oneshot(request);
        async move {
            Ok::<Response, std::convert::Infallible>(answer.await.unwrap_or_else(|never| match never {}))
        }
    });
    let mut serving = std::pin::pin!(http.serve_connection(io, service));
    let mut outcome = tokio::select! {
        outcome = serving.as_mut() => Some(outcome),
        () = place.connection.evicted() => return,
        _ = stop.wait_for(|stop| *stop) => None,
    };
    if outcome.is_none() {
        serving.as_mut().graceful_shutdown();
        outcome = tokio::select! {
            outcome = serving => Some(outcome),
            () = place.connection.left_waiting(STOP_GRACE) => None,
        };
    }
    if let Some(Err(error)) = outcome {
        tracing::debug!(%error, "http: a connection ended early");
    }
}
