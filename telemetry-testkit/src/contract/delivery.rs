//! C1 to C7: what is written arrives, whole, once and in order.

use std::sync::Arc;

use telemetry_core::{Chunk, RunId, SignalSet, Written};

use super::compare::Compare;
use super::input::{edge_cases, one_span, one_span_with_events, spans};
use super::sink_under_test::SinkUnderTest;
use super::verdict::Verdict;
use crate::Harness;

/// C1 lifecycle: a sink can be flushed before its first write, flushed twice, written to after a flush, and shut down
/// without any use.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c1_lifecycle<H: Harness>() -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.flush().await?;
    sink.write(one_span(0)).await?;
    sink.flush().await?;
    sink.flush().await?;
    sink.write(one_span(1)).await?;
    sink.finish(Compare::AtLeastOnce).await?;
    SinkUnderTest::<H>::start().await?.shutdown().await.map(drop)
}

/// C2 order: batches, chunks and signals arrive in the order in which they were written.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c2_order<H: Harness>() -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.write(spans(0..20)).await?;
    let chunks = [spans(20..30), spans(30..31), spans(31..50)];
    for signals in &chunks {
        sink.count_written(signals);
    }
    let chunks = chunks.map(|signals| Arc::new(Chunk::new(signals))).to_vec();
    let written = sink.driver.write_chunks(chunks).await;
    written.map_err(|error| format!("a batch of several chunks is not delivered: {}", error.full_text()))?;
    // Too many signals for one request of any sink.
    sink.write(spans(50..600)).await?;
    sink.write(one_span(600)).await?;
    sink.finish(Compare::InOrder).await
}

/// C3 once: an event that a span lists is not delivered a second time, and two equal signals are delivered twice.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c3_once<H: Harness>() -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.write(one_span_with_events(0)).await?;
    sink.write([one_span_with_events(1), one_span_with_events(2)].concat()).await?;
    for kind in [SignalSet::LOG, SignalSet::METRIC] {
        let repeated: Vec<_> = one_span(3).into_iter().filter(|signal| signal.kind() == kind).collect();
        sink.write(repeated.clone()).await?;
        sink.write(repeated.clone()).await?;
        sink.write([repeated.clone(), repeated].concat()).await?;
    }
    sink.finish(Compare::Exactly).await
}

/// C4 fidelity: all attribute types, unicode, control characters, a megabyte of text, and extreme ids, times and
/// numbers arrive unchanged, except for what [`Harness::normalize`] removes.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c4_fidelity<H: Harness>() -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    let signals = edge_cases();
    sink.count_written(&signals);
    let written = sink.driver.write(signals).await;
    // A sink may reject what its destination can't carry. It must not lose it.
    match written {
        Ok(written) if written.rejected > 0 && written.reason.is_none() => {
            Err(format!("{} signals are rejected without a reason", written.rejected))
        }
        Ok(Written { rejected, .. }) => sink.finish(Compare::AllBut(rejected)).await,
        Err(error) => Err(format!("the batch is not delivered: {}", error.full_text())),
    }
}

/// C5 empty: a batch without signals, or without any that the sink asked for, is accepted and changes nothing.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c5_empty<H: Harness>() -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.write(Vec::new()).await?;
    let chunks = vec![Arc::new(Chunk::default()), Arc::new(Chunk::default())];
    let written = sink.driver.write_chunks(chunks).await;
    if !matches!(written, Ok(Written { rejected: 0, .. })) {
        return Err(format!("a batch of empty chunks is not delivered: {written:?}"));
    }
    let interest = sink.driver.interest();
    let unwanted = one_span(0).into_iter().filter(|signal| !interest.contains(signal.kind())).collect();
    sink.write(unwanted).await?;
    sink.compare(Compare::Exactly).await?;
    sink.write(one_span(1)).await?;
    sink.finish(Compare::Exactly).await
}

/// C6 flush: after a flush, everything written before is at the destination.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c6_flush<H: Harness>() -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.write(spans(0..3)).await?;
    sink.flush().await?;
    sink.compare(Compare::AtLeastOnce).await?;
    sink.write(one_span(3)).await?;
    sink.flush().await?;
    sink.compare(Compare::AtLeastOnce).await?;
    sink.shutdown().await.map(drop)
}

/// C7 shutdown: it flushes and releases the destination. Another run of the program, which counts its batches from 1
/// again, can use the same destination.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c7_shutdown<H: Harness>() -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.write(spans(0..3)).await?;
    let harness = sink.shutdown().await?;
    let mut again =
        SinkUnderTest::with(harness).await.map_err(|reason| format!("after a shutdown {reason}"))?;
    again.driver = again.driver.in_run(RunId(2));
    again.count_written(&spans(0..3));
    again.compare(Compare::AtLeastOnce).await?;
    // Cumulative values, such as counters, start again with each run.
    again.forget_written();
    again.write(one_span(3)).await?;
    again.shut_down_and_compare(Compare::AtLeastOnce).await
}
