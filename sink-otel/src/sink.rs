//! The sink for spans and logs, which are sent one by one as they came.

use async_trait::async_trait;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use telemetry_core::{
    Batch, BuiltSink, RetainedBytes, Signal, SignalSet, Sink, SinkContext, SinkError, Written,
};

use crate::config::{Config, SignalKind};
use crate::http_client::{Client, exporter_error};
use crate::request_plan::{Limits, Rejections, RequestPlan};
use crate::resource::Resources;
use crate::response::Outcome;

/// Converts and exports the items of one signal: all that differs between spans and logs.
pub(crate) trait Exporter: Sized + Send + 'static {
    /// What one signal carries.
    type Item: RetainedBytes + Sync;

    /// The signal that is exported.
    const SIGNAL: SignalKind;
    /// The signals that the sink receives.
    const INTEREST: SignalSet;

    /// Builds the exporter. It sends its requests through `client`.
    fn build(config: &Config, client: &Client) -> Result<Self, ExporterBuildError>;

    /// Returns the item in a signal of [`Self::INTEREST`].
    fn item(signal: &Signal) -> Option<&Self::Item>;

    /// Returns the service that the item comes from; `None` is this process.
    fn service(item: &Self::Item) -> Option<&str>;

    /// Sends `items` in one request, or none if nothing of them is to be sent.
    fn export(
        &mut self,
        items: &[&Self::Item],
        resource: &Resource,
    ) -> impl Future<Output = OTelSdkResult> + Send;
}

/// Builds the sink of one signal.
pub(crate) fn build<E: Exporter>(context: &SinkContext) -> Result<BuiltSink, SinkError> {
    let config = Config::from_context(context, E::SIGNAL)?;
    let client = Client::new(&config)?;
    let sink = ItemSink {
        exporter: E::build(&config, &client).map_err(exporter_error)?,
        client,
        resources: Resources::new(&context.service_name, &config.resource_attributes),
        limits: Limits { signals: config.request_size, bytes: config.request_bytes },
        unreported: Rejections::default(),
    };
    Ok(BuiltSink::new(sink, E::INTEREST).with_options(config.worker))
}

/// Sends each batch in one or more requests.
///
/// Not `Debug`: the exporter would show the headers that it found in the environment.
struct ItemSink<E> {
    exporter: E,
    client: Client,
    resources: Resources,
    limits: Limits,
    unreported: Rejections,
}

#[async_trait]
impl<E: Exporter> Sink for ItemSink<E> {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let items: Vec<&E::Item> = batch.iter().filter_map(E::item).collect();
        let sizes = items.iter().map(|item| (E::service(item), item.retained_bytes()));
        let mut plan = RequestPlan::new(sizes, self.limits);
        while let Some(range) = plan.next() {
            let part = &items[range.clone()];
            let resource = self.resources.of(E::service(part[0]));
            let outcome = Outcome::of(&self.client, self.exporter.export(part, &resource)).await;
            if let Err(error) = plan.settle(range, outcome) {
                plan.move_rejections_to(&mut self.unreported);
                return Err(error);
            }
        }
        plan.finish(batch.len(), &mut self.unreported)
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}
