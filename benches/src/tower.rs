//! What the layers of telemetry-tower cost a request, on the thread that serves it.

use std::convert::Infallible;

use anyhow::Result;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use telemetry_pipeline::Telemetry;
use telemetry_tower::{RequestMetricsLayer, RequestSpanLayer, Routes};
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};

use crate::bursts::{BURST, BURSTS, dense};
use crate::counting::{counting_pipeline, ensure_delivered, flush, note};
use crate::figures::line;

type Body = Full<&'static [u8]>;

/// The smallest service. Its own cost is negligible.
async fn hello(_: Request<()>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Full::new(b"hello")))
}

/// Sends a request and reads its whole response in one poll.
fn ask<S, B>(service: &S)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body,
{
    let mut request = Request::new(());
    *request.uri_mut() = http::Uri::from_static("/v1/chat/completions");
    let answer = async {
        let Ok(response) = service.clone().oneshot(request).await;
        response.into_body().collect().await.is_ok()
    };
    assert_eq!(answer.now_or_never(), Some(true), "the service answers at once");
}

/// Returns the service with both layers.
fn layered(
    telemetry: Telemetry,
) -> impl Service<Request<()>, Response = Response<impl http_body::Body>, Error = Infallible> + Clone + Sync {
    let routes = Routes::new().route("/v1/chat/completions", "inference");
    ServiceBuilder::new()
        .layer(RequestSpanLayer::new(telemetry.clone(), routes.clone()))
        .layer(RequestMetricsLayer::new(telemetry, routes))
        .service(service_fn(hello))
}

pub(crate) fn run() -> Result<()> {
    println!("serving thread, ns per request (2 layers: a span with 4 attributes, 4 metrics), all delivered");
    let bare = service_fn(hello);
    let bare = dense(1, || (0..BURST).for_each(|_| ask(&bare)), || ());
    let disabled = layered(Telemetry::disabled());
    let disabled = dense(1, || (0..BURST).for_each(|_| ask(&disabled)), || ());
    let pipeline = counting_pipeline()?;
    let telemetry = pipeline.telemetry();
    let enabled = layered(telemetry.clone());
    let enabled = dense(1, || (0..BURST).for_each(|_| ask(&enabled)), || flush(&telemetry));
    note(BURST * BURSTS);
    ensure_delivered(&telemetry)?;
    line("telemetry disabled", disabled, "ns", "the service alone", bare);
    line("telemetry enabled", enabled, "ns", "the service alone", bare);
    Ok(())
}
