//! C10, C13, C14, C15: how a sink is built, what it asks for, what it must not show.

use std::collections::BTreeSet;
use std::sync::Arc;

use telemetry_core::{
    Entry, EventContext, Key, KeyKind, Location, MetricPoint, OptionValue, Options, RunId, Signal,
    SinkContext, SinkError, Span, Text, attrs,
};

use super::Verdict;
use super::log_capture::LogCapture;
use super::material::families;
use super::trial::{Compare, Trial};
use crate::signals::{child, end_waiting, ended, key, log, metric_point, open_span, started};
use crate::{Harness, SERVICE_NAME};

/// C10 independence: two sinks with options of their own, written to in turn, each deliver their own, also
/// what is the same.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c10_independence<H: Harness>() -> Verdict {
    let mut one = Trial::<H>::start().await?;
    let mut other = Trial::<H>::start().await?;
    one.write(families(0..5)).await?;
    other.write(families(0..5)).await?;
    other.write(families(100..105)).await?;
    one.write(families(5..10)).await?;
    one.finish(Compare::Exactly).await.map_err(|why| format!("the one: {why}"))?;
    other
        .write(families(105..110))
        .await
        .map_err(|why| format!("after the one was shut down, the other: {why}"))?;
    other.finish(Compare::Exactly).await.map_err(|why| format!("the other: {why}"))
}

/// C13 interest: the sink asks for something, and each kind it asks for is enough by itself: an end
/// without its start, a log of a span nobody knows, a measurement alone.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c13_interest<H: Harness>() -> Verdict {
    let orphan = EventContext::Span(key(7, 7));
    let point = MetricPoint { context: orphan, ..metric_point("kit_metric", 1, 5, attrs! {}) };
    let alone: [(&str, Signal); 5] = [
        ("a start", started(Span { name: "alone".into(), ..open_span(1, 1, 0) })),
        ("an end without a start", ended(child(2, 1, 99, 0, 5))),
        ("an end that waits", end_waiting(3, 1, 5, attrs! {})),
        ("a log of an unknown span", log(orphan, 5, "alone")),
        ("a metric of an unknown span", Signal::Metric(Arc::new(point))),
    ];
    let mut taken = 0;
    for (what, signal) in alone {
        let mut trial = Trial::<H>::start().await?;
        if !trial.takes(signal.kind()) {
            continue;
        }
        taken += 1;
        trial.write(vec![signal]).await.map_err(|why| format!("{what}: {why}"))?;
        trial.finish(Compare::AtLeastOnce).await.map_err(|why| format!("{what}: {why}"))?;
    }
    if taken == 0 { Err("the sink asks for no kind of signal".to_owned()) } else { Ok(()) }
}

/// C14 options: every option is described, and a value of the wrong kind fails the build with an error
/// that names the option.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c14_options<H: Harness>() -> Verdict {
    let harness = H::new();
    let keys = harness.entry().keys;
    if keys.is_empty() {
        return Err("the sink takes no options: declare `c14_options` as lacking".to_owned());
    }
    let names: BTreeSet<&str> = keys.iter().map(|key| key.name).collect();
    if names.len() < keys.len() {
        return Err("a key is described twice".to_owned());
    }
    for given in harness.options().keys() {
        if !names.contains(given) {
            return Err(format!(
                "the option `{given}` is not among the entry's keys: a configuration can't set it"
            ));
        }
    }
    for key in keys {
        if key.help.is_empty() {
            return Err(format!("the option `{}` has no help", key.name));
        }
        match build_with(&harness, key, malformed(key)).await {
            Ok(()) => return Err(format!("a malformed `{}` is accepted", key.name)),
            Err(error) if error.full_text().contains(key.name) => {}
            Err(error) => {
                return Err(format!(
                    "the error for a malformed `{}` does not name it: {}",
                    key.name,
                    error.full_text()
                ));
            }
        }
    }
    Ok(())
}

/// A value that the option can't take.
fn malformed(key: &Key) -> OptionValue {
    match key.kind {
        KeyKind::Text | KeyKind::Secret | KeyKind::Path => OptionValue::List(Vec::new()),
        KeyKind::List => OptionValue::Map(Vec::new()),
        _ => OptionValue::Text("no such value".to_owned()),
    }
}

/// Builds the sink, through its entry, with one option replaced.
async fn build_with<H: Harness>(harness: &H, key: &Key, value: OptionValue) -> Result<(), SinkError> {
    let options = harness.options();
    let mut entries: Vec<(String, Entry)> = options
        .keys()
        .filter(|name| *name != key.name)
        .filter_map(|name| Some((name.to_owned(), options.get(name)?.clone())))
        .collect();
    let location = Location { path: key.name.to_owned(), ..Location::default() };
    entries.push((key.name.to_owned(), Entry { value, location }));
    let service_name = Text::Borrowed(SERVICE_NAME);
    let context = SinkContext { service_name, options: Options::new(entries), run: RunId(1) };
    (harness.entry().build)(&context).await.map(drop)
}

/// C15 secrets: no secret appears in `Debug` output, in errors, or in what the sink logs.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c15_secrets<H: Harness>() -> Verdict {
    let logged = LogCapture::start();
    let harness = H::new();
    let secrets = harness.secrets();
    if secrets.is_empty() {
        return Err("the harness plants no secret: declare `c15_secrets` as lacking".to_owned());
    }
    let hidden = |where_: &str, text: &str| match secrets.iter().find(|secret| text.contains(secret.as_str()))
    {
        Some(_) => Err(format!("a secret appears in {where_}")),
        None => Ok(()),
    };
    for key in harness.entry().keys.iter().filter(|key| key.kind != KeyKind::Secret) {
        if let Err(error) = build_with(&harness, key, malformed(key)).await {
            hidden(&format!("the error for a malformed `{}`", key.name), &error.full_text())?;
            hidden(
                &format!("the Debug output of the error for a malformed `{}`", key.name),
                &format!("{error:?}"),
            )?;
        }
    }
    let built = harness.build().await.map_err(|error| format!("the build fails: {}", error.full_text()))?;
    hidden("the Debug output of the built sink", &format!("{built:?}"))?;
    let mut trial = Trial::of(harness, built);
    trial.write(families(0..2)).await?;
    if trial.harness.break_destination().await {
        if let Err(error) = trial.offer(families(2..4)).await {
            hidden("the error of an outage", &error.full_text())?;
            hidden("the Debug output of the error of an outage", &format!("{error:?}"))?;
        }
        trial.harness.mend_destination().await;
    }
    hidden("the log", &logged.text())
}
