//! C1 to C7: what is given arrives, whole, once and in order.

use std::sync::Arc;

use telemetry_core::{Chunk, RunId, SignalSet, Written};

use super::Verdict;
use super::material::{families, family, family_with_events, hard_to_carry};
use super::trial::{Compare, Trial};
use crate::Harness;

/// C1 lifecycle: a sink may be flushed before it has written anything, flushed twice, written to after
/// a flush, and shut down without ever having been used.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c1_lifecycle<H: Harness>() -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    trial.flush().await?;
    trial.write(family(0)).await?;
    trial.flush().await?;
    trial.flush().await?;
    trial.write(family(1)).await?;
    trial.finish(Compare::AtLeastOnce).await?;
    Trial::<H>::start().await?.shutdown().await.map(drop)
}

/// C2 order: batches, chunks and signals arrive in the order in which they were given.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c2_order<H: Harness>() -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    trial.write(families(0..20)).await?;
    let chunks = [families(20..30), families(30..31), families(31..50)];
    for signals in &chunks {
        trial.note(signals);
    }
    let chunks = chunks.map(|signals| Arc::new(Chunk::new(signals))).to_vec();
    let written = trial.driver.write_chunks(chunks).await;
    written.map_err(|error| format!("a batch of several chunks is not delivered: {}", error.full_text()))?;
    // More than any request holds.
    trial.write(families(50..600)).await?;
    trial.write(family(600)).await?;
    trial.finish(Compare::InOrder).await
}

/// C3 once: what a span lists again is not delivered twice, and what is logged twice is delivered twice.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c3_once<H: Harness>() -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    trial.write(family_with_events(0)).await?;
    trial.write([family_with_events(1), family_with_events(2)].concat()).await?;
    let twice = |kind| move |signal: &telemetry_core::Signal| kind == signal.kind();
    for kind in [SignalSet::LOG, SignalSet::METRIC] {
        let repeated: Vec<_> = family(3).into_iter().filter(twice(kind)).collect();
        trial.write(repeated.clone()).await?;
        trial.write(repeated.clone()).await?;
        trial.write([repeated.clone(), repeated].concat()).await?;
    }
    trial.finish(Compare::Exactly).await
}

/// C4 fidelity: all attribute types, unicode, control characters, a megabyte of text, the extremes of
/// ids, times and numbers arrive as they were given, as far as the harness does not blur them.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c4_fidelity<H: Harness>() -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    let signals = hard_to_carry();
    trial.note(&signals);
    let written = trial.driver.write(signals).await;
    // Refusing openly what the medium can't carry is no breach; losing it is.
    match written {
        Ok(written) if written.rejected > 0 && written.reason.is_none() => {
            Err(format!("{} signals are refused without a reason", written.rejected))
        }
        Ok(Written { rejected, .. }) => trial.finish(Compare::AllBut(rejected)).await,
        Err(error) => Err(format!("the batch is not delivered: {}", error.full_text())),
    }
}

/// C5 empty: a batch without signals, or without any that the sink wants, is delivered by doing nothing.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c5_empty<H: Harness>() -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    trial.write(Vec::new()).await?;
    let chunks = vec![Arc::new(Chunk::default()), Arc::new(Chunk::default())];
    let written = trial.driver.write_chunks(chunks).await;
    if !matches!(written, Ok(Written { rejected: 0, .. })) {
        return Err(format!("a batch of empty chunks is not delivered: {written:?}"));
    }
    let interest = trial.driver.interest();
    let unwanted = family(0).into_iter().filter(|signal| !interest.contains(signal.kind())).collect();
    trial.write(unwanted).await?;
    trial.compare(Compare::Exactly).await?;
    trial.write(family(1)).await?;
    trial.finish(Compare::Exactly).await
}

/// C6 flush: what was written before a flush is at the destination after it.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c6_flush<H: Harness>() -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    trial.write(families(0..3)).await?;
    trial.flush().await?;
    trial.compare(Compare::AtLeastOnce).await?;
    trial.write(family(3)).await?;
    trial.flush().await?;
    trial.compare(Compare::AtLeastOnce).await?;
    trial.shutdown().await.map(drop)
}

/// C7 shutdown: it flushes, and gives back what the sink holds, so that the same destination can be
/// used again, by another run of the program that counts its batches anew.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c7_shutdown<H: Harness>() -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    trial.write(families(0..3)).await?;
    let harness = trial.shutdown().await?;
    let mut again = Trial::with(harness).await.map_err(|why| format!("after a shutdown {why}"))?;
    again.driver = again.driver.in_run(RunId(2));
    again.note(&families(0..3));
    again.compare(Compare::AtLeastOnce).await?;
    // What counts up, as metrics do, begins again with the run.
    again.forget_given();
    again.write(family(3)).await?;
    again.shut_down_and_compare(Compare::AtLeastOnce).await
}
