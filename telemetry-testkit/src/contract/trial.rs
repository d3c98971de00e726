//! One sink under test, what it was given, and how that compares with what arrived.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use telemetry_core::{BuiltSink, Signal, SignalSet, SinkError, Written};
use tokio::time::Instant;

use super::Verdict;
use crate::{DEADLINE, Delivered, Driver, Harness};

/// A sink under test.
pub(super) struct Trial<H> {
    pub(super) harness: H,
    pub(super) driver: Driver,
    given: Vec<Signal>,
}

/// How what was expected compares with what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// The same things, in the same order.
    InOrder,
    /// The same things, each as often.
    Exactly,
    /// The same things, each at least as often.
    AtLeastOnce,
    /// Nothing more often than expected.
    AtMostOnce,
    /// The same things, each at least as often, apart from so many.
    AllBut(u64),
}

impl<H: Harness> Trial<H> {
    pub(super) async fn start() -> Result<Self, String> {
        Self::with(H::new()).await
    }

    pub(super) async fn with(harness: H) -> Result<Self, String> {
        let built =
            harness.build().await.map_err(|error| format!("the build fails: {}", error.full_text()))?;
        Ok(Self::of(harness, built))
    }

    pub(super) fn of(harness: H, built: BuiltSink) -> Self {
        Self { harness, driver: Driver::new(built), given: Vec::new() }
    }

    /// Writes a batch that must be delivered.
    pub(super) async fn write(&mut self, signals: Vec<Signal>) -> Verdict {
        match self.offer(signals).await {
            Ok(written) if written == Written::ALL => Ok(()),
            Ok(written) => Err(format!("a batch is delivered only in part: {written:?}")),
            Err(error) => Err(format!("a batch is not delivered: {}", error.full_text())),
        }
    }

    /// Writes a batch that may fail.
    pub(super) async fn offer(&mut self, signals: Vec<Signal>) -> Result<Written, SinkError> {
        self.note(&signals);
        within(DEADLINE, self.driver.write(signals)).await
    }

    /// Counts a batch as given.
    pub(super) fn note(&mut self, signals: &[Signal]) {
        self.given.extend_from_slice(signals);
    }

    /// Expects only what is given from now on, whatever else is there.
    pub(super) fn forget_given(&mut self) {
        self.given.clear();
    }

    /// Offers the latest batch until it is delivered.
    pub(super) async fn write_again_until_ok(&mut self, limit: Duration) -> Verdict {
        let give_up_at = Instant::now() + limit;
        loop {
            match within(DEADLINE, self.driver.write_again()).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > give_up_at => {
                    return Err(format!("still not delivered after {limit:?}: {}", error.full_text()));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Flushes; must work.
    pub(super) async fn flush(&mut self) -> Verdict {
        within(DEADLINE, self.driver.flush())
            .await
            .map_err(|error| format!("a flush fails: {}", error.full_text()))
    }

    /// Compares what is at the destination now with what was given.
    pub(super) async fn compare(&self, how: Compare) -> Verdict {
        compare(&self.harness, &self.expected(), how).await
    }

    /// Flushes, shuts down, and compares.
    pub(super) async fn finish(mut self, how: Compare) -> Verdict {
        self.flush().await?;
        self.shut_down_and_compare(how).await
    }

    /// Shuts down without a flush, and compares.
    pub(super) async fn shut_down_and_compare(self, how: Compare) -> Verdict {
        let expected = self.expected();
        let harness = self.shutdown().await?;
        compare(&harness, &expected, how).await
    }

    /// Shuts down; must work.
    pub(super) async fn shutdown(self) -> Result<H, String> {
        let closed = within(DEADLINE, self.driver.shutdown()).await;
        closed.map_err(|error| format!("the shutdown fails: {}", error.full_text()))?;
        Ok(self.harness)
    }

    fn expected(&self) -> Delivered {
        let interest = self.driver.interest();
        Delivered::of(self.given.iter().filter(|signal| interest.contains(signal.kind())))
    }

    /// Whether the sink takes this kind of signal.
    pub(super) fn takes(&self, kind: SignalSet) -> bool {
        self.driver.interest().contains(kind)
    }
}

/// A call of the sink that must come back.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, SinkError>>,
) -> Result<T, SinkError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(SinkError::close(format!("no answer within {limit:?}"))),
    }
}

async fn compare<H: Harness>(harness: &H, expected: &Delivered, how: Compare) -> Verdict {
    let mut expected = expected.clone();
    let mut delivered = harness.delivered().await;
    // What a span lists came as signals of its own; whether a medium repeats it is up to the medium.
    for span in expected.spans.iter_mut().chain(&mut delivered.spans) {
        span.events.clear();
    }
    harness.blur(&mut expected);
    harness.blur(&mut delivered);
    let (expected, delivered) = (expected.lines(), delivered.lines());
    if how == Compare::InOrder {
        // What is missing or doubled is the concern of other clauses.
        let common = |lines: &[String], others: &[String]| -> Vec<String> {
            let others: HashSet<&String> = others.iter().collect();
            lines.iter().filter(|line| others.contains(line)).cloned().collect()
        };
        let (wanted, found) = (common(&expected, &delivered), common(&delivered, &expected));
        if found.is_empty() {
            return Err("nothing arrived whose order could be seen".to_owned());
        }
        let place = wanted.iter().zip(&found).position(|(wanted, found)| wanted != found);
        return match place {
            Some(place) => Err(format!(
                "out of order: {} is where {} should be",
                clip(&found[place]),
                clip(&wanted[place])
            )),
            None => Ok(()),
        };
    }
    let (wanted, found) = (counts(&expected), counts(&delivered));
    let mut may_miss = match how {
        Compare::AtMostOnce => u64::MAX,
        Compare::AllBut(refused) => refused,
        Compare::InOrder | Compare::Exactly | Compare::AtLeastOnce => 0,
    };
    for (line, count) in &wanted {
        let arrived = found.get(line).copied().unwrap_or(0);
        let Some(left) = may_miss.checked_sub(count.saturating_sub(arrived) as u64) else {
            return Err(format!("{arrived} of {count} arrived: {}", missing(line, &delivered)));
        };
        may_miss = left;
    }
    if matches!(how, Compare::Exactly | Compare::AtMostOnce) {
        for (line, count) in &found {
            let given = wanted.get(line).copied().unwrap_or(0);
            if *count > given {
                return Err(format!("given {given} times, arrived {count} times: {}", clip(line)));
            }
        }
    }
    Ok(())
}

fn counts(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line.as_str()).or_default() += 1;
    }
    counts
}

/// The missing thing beside the most similar of what arrived, from where they part.
fn missing(wanted: &str, delivered: &[String]) -> String {
    let alike =
        |line: &String| line.bytes().zip(wanted.bytes()).take_while(|(left, right)| left == right).count();
    let Some(nearest) = delivered.iter().max_by_key(|line| alike(line)) else { return clip(wanted) };
    let start =
        (0..=alike(nearest).saturating_sub(40)).rev().find(|at| wanted.is_char_boundary(*at)).unwrap_or(0);
    let from = |line: &str| clip(line.get(start..).unwrap_or(line));
    format!("{} … wanted {}, nearest {}", clip(wanted), from(wanted), from(nearest))
}

fn clip(line: &str) -> String {
    const LONGEST: usize = 300;
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
