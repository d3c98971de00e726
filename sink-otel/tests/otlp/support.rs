//! An OTLP receiver on a free port, which stores what it receives.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use telemetry_core::{Entry, Location, OptionValue, Options, RunId, SinkContext, SinkEntry, SinkError};
use telemetry_testkit::{DEADLINE, Driver, block_on};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Decompressed.
    pub(crate) body: Bytes,
}

/// The receiver's answer to one request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A status, headers and a body.
    With(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// No answer.
    Never,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::With(status, Vec::new(), Vec::new())
    }

    pub(crate) fn protobuf(message: &impl Message) -> Self {
        let content_type = ("content-type", "application/x-protobuf".to_owned());
        Self::With(200, vec![content_type], message.encode_to_vec())
    }
}

#[derive(Default)]
struct Inner {
    received: Mutex<Vec<Received>>,
    replies: Mutex<VecDeque<Reply>>,
    out_of_order: AtomicBool,
    count: watch::Sender<usize>,
}

/// The receiver. It answers with 200 unless a test sets another reply.
#[derive(Clone)]
pub(crate) struct Receiver {
    inner: Arc<Inner>,
    scheme: &'static str,
    address: SocketAddr,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn listen(listener: TcpListener) -> Self {
        Self::serve(listener, "http", |listener| listener)
    }

    /// Starts a receiver for https, with a certificate for `localhost`.
    pub(crate) fn start_https(tls: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serve(listener, "https", |listener| TlsListener { listener, tls })
    }

    /// Serves on a thread of its own, since a sink may block the test's runtime.
    fn serve<L: Listener<Addr = SocketAddr>>(
        listener: TcpListener,
        scheme: &'static str,
        wrap: impl FnOnce(tokio::net::TcpListener) -> L + Send + 'static,
    ) -> Self {
        let inner = Arc::new(Inner::default());
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let app = Router::new()
            .fallback(receive)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&inner));
        std::thread::spawn(move || {
            block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(wrap(listener), app).await
            })
        });
        Self { inner, scheme, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    /// Sets the replies to the next requests.
    pub(crate) fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.inner.replies.lock().unwrap().extend(replies);
    }

    /// Sets whether the receiver is out of order: it then answers with 503 and stores nothing.
    pub(crate) fn set_out_of_order(&self, out_of_order: bool) {
        self.inner.out_of_order.store(out_of_order, Ordering::SeqCst);
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap().clone()
    }

    /// Waits until this many requests have been received.
    pub(crate) async fn wait_for(&self, requests: usize) {
        let mut count = self.inner.count.subscribe();
        let enough = count.wait_for(|&count| count >= requests);
        tokio::time::timeout(DEADLINE, enough).await.unwrap().unwrap();
    }

    fn decoded<M: Message + Default>(&self) -> Vec<M> {
        self.requests().into_iter().map(|request| M::decode(request.body).unwrap()).collect()
    }

    pub(crate) fn traces(&self) -> Vec<ExportTraceServiceRequest> {
        self.decoded()
    }

    pub(crate) fn logs(&self) -> Vec<ExportLogsServiceRequest> {
        self.decoded()
    }

    pub(crate) fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.decoded()
    }

    /// Returns every span of every request.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests = self.traces();
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// Returns the metrics of the latest request.
    pub(crate) fn latest_metrics(&self) -> Vec<Metric> {
        let latest = self.metrics().pop().unwrap_or_default();
        let resources = latest.resource_metrics.into_iter();
        resources.flat_map(|resource| resource.scope_metrics).flat_map(|scope| scope.metrics).collect()
    }
}

/// Accepts TLS connections one after the other.
struct TlsListener {
    listener: tokio::net::TcpListener,
    tls: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            // A client that does not trust the certificate closes the connection.
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn receive(State(inner): State<Arc<Inner>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if inner.out_of_order.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let encoding = headers.get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
    let body = match encoding.as_deref() {
        None => body,
        Some("gzip") => {
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*body), &mut plain).unwrap();
            plain.into()
        }
        Some("zstd") => zstd::stream::decode_all(&*body).unwrap().into(),
        Some(_) => return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
    };
    inner.received.lock().unwrap().push(Received { path: uri.path().to_owned(), headers, body });
    inner.count.send_modify(|count| *count += 1);
    let reply = inner.replies.lock().unwrap().pop_front();
    match reply {
        None => StatusCode::OK.into_response(),
        Some(Reply::Never) => std::future::pending().await,
        Some(Reply::With(status, headers, body)) => {
            let mut response = Response::new(body.into());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
    }
}

/// Builds a sink with these options only.
pub(crate) async fn try_build(
    entry: &'static SinkEntry,
    options: &[(&str, OptionValue)],
) -> Result<Driver, SinkError> {
    let entries = options.iter().map(|(key, value)| {
        ((*key).to_owned(), Entry { value: value.clone(), location: Location::default() })
    });
    let options = Options::new(entries.collect());
    let context = SinkContext { service_name: "test".into(), options, run: RunId(1) };
    Ok(Driver::new((entry.build)(&context).await?))
}

/// Builds a sink that sends to `url`.
pub(crate) async fn build(entry: &'static SinkEntry, url: &str, more: &[(&str, OptionValue)]) -> Driver {
    let mut options = vec![("endpoint", text(url))];
    options.extend_from_slice(more);
    try_build(entry, &options).await.unwrap()
}

pub(crate) fn text(text: &str) -> OptionValue {
    OptionValue::Text(text.to_owned())
}

/// Formats attributes as `name=type:value`, in their order.
pub(crate) fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let show = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        None => "nothing".to_owned(),
        Some(Any::StringValue(text)) => format!("text:{text}"),
        Some(Any::BoolValue(flag)) => format!("bool:{flag}"),
        Some(Any::IntValue(number)) => format!("int:{number}"),
        Some(Any::DoubleValue(number)) => format!("double:{number:?}"),
        Some(other) => format!("{other:?}"),
    };
    attributes.iter().map(|pair| format!("{}={}", pair.key, show(&pair.value))).collect()
}

/// Returns the service name of a resource.
pub(crate) fn service(resource: Option<&Resource>) -> String {
    let attributes = &resource.unwrap().attributes;
    let name = attributes.iter().find(|pair| pair.key == "service.name").cloned();
    shown(&name.into_iter().collect::<Vec<_>>()).join("")
}
