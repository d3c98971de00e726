//! C10, C13, C14, C15: how a sink is built, which signals it asks for, and that it shows no secret.

use std::collections::BTreeSet;
use std::sync::Arc;

use telemetry_core::{
    Entry, EventContext, Key, KeyKind, Location, MetricPoint, OptionValue, Options, RunId, Signal,
    SinkContext, SinkError, Span, Text, attrs,
};

use super::compare::Compare;
use super::input::spans;
use super::log_capture::LogCapture;
use super::sink_under_test::SinkUnderTest;
use super::verdict::Verdict;
use crate::signals::{child, end_waiting, ended, key, log, metric_point, open_span, started};
use crate::{Harness, SERVICE_NAME};

/// C10 independence: two sinks with different options, written to in turn, each deliver their own signals, even if both
/// receive equal ones.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c10_independence<H: Harness>() -> Verdict {
    let mut first = SinkUnderTest::<H>::start().await?;
    let mut second = SinkUnderTest::<H>::start().await?;
    first.write(spans(0..5)).await?;
    second.write(spans(0..5)).await?;
    second.write(spans(100..105)).await?;
    first.write(spans(5..10)).await?;
    first.finish(Compare::Exactly).await.map_err(|reason| format!("the first sink: {reason}"))?;
    second
        .write(spans(105..110))
        .await
        .map_err(|reason| format!("the second sink, after the first was shut down: {reason}"))?;
    second.finish(Compare::Exactly).await.map_err(|reason| format!("the second sink: {reason}"))
}

/// C13 interest: the sink asks for at least one kind of signal, and each kind is delivered without the others: an end
/// without its start, a log or a metric point of an unknown span.
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
        ("a metric point of an unknown span", Signal::Metric(Arc::new(point))),
    ];
    let mut wanted = 0;
    for (what, signal) in alone {
        let mut sink = SinkUnderTest::<H>::start().await?;
        if !sink.wants(signal.kind()) {
            continue;
        }
        wanted += 1;
        sink.write(vec![signal]).await.map_err(|reason| format!("{what}: {reason}"))?;
        sink.finish(Compare::AtLeastOnce).await.map_err(|reason| format!("{what}: {reason}"))?;
    }
    if wanted == 0 { Err("the sink asks for no kind of signal".to_owned()) } else { Ok(()) }
}

/// C14 options: every option is described in the entry's keys, and a value of the wrong kind fails the build with an
/// error that names the option.
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
                "the option `{given}` is missing in the entry's keys, so no configuration can set it"
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

/// Returns a value of a kind that the option does not accept.
fn malformed(key: &Key) -> OptionValue {
    match key.kind {
        KeyKind::Text | KeyKind::Secret | KeyKind::Path => OptionValue::List(Vec::new()),
        KeyKind::List => OptionValue::Map(Vec::new()),
        _ => OptionValue::Text("no such value".to_owned()),
    }
}

/// Builds the sink through its entry, with one option replaced.
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

/// C15 secrets: no secret appears in `Debug` output, in errors or in what the sink logs.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c15_secrets<H: Harness>() -> Verdict {
    let logged = LogCapture::start();
    let harness = H::new();
    let secrets = harness.secrets();
    if secrets.is_empty() {
        return Err("the harness has no secret: declare `c15_secrets` as lacking".to_owned());
    }
    let check = |place: &str, text: &str| {
        let shows_secret = secrets.iter().any(|secret| text.contains(secret));
        if shows_secret { Err(format!("a secret appears in {place}")) } else { Ok(()) }
    };
    for key in harness.entry().keys.iter().filter(|key| key.kind != KeyKind::Secret) {
        if let Err(error) = build_with(&harness, key, malformed(key)).await {
            check(&format!("the error for a malformed `{}`", key.name), &error.full_text())?;
            check(
                &format!("the Debug output of the error for a malformed `{}`", key.name),
                &format!("{error:?}"),
            )?;
        }
    }
    let built =
        harness.build().await.map_err(|error| format!("the sink can't be built: {}", error.full_text()))?;
    check("the Debug output of the built sink", &format!("{built:?}"))?;
    let mut sink = SinkUnderTest::of(harness, built);
    sink.write(spans(0..2)).await?;
    if sink.harness.break_destination().await {
        if let Err(error) = sink.try_write(spans(2..4)).await {
            check("the error of an outage", &error.full_text())?;
            check("the Debug output of the error of an outage", &format!("{error:?}"))?;
        }
        sink.harness.restore_destination().await;
    }
    check("the log", &logged.text())
}
