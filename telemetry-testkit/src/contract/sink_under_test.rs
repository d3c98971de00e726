//! A sink under test, and the signals that a case has written to it.

use std::time::Duration;

use telemetry_core::{BuiltSink, Signal, SignalSet, SinkError, Written};
use tokio::time::Instant;

use super::compare::{Compare, compare};
use super::verdict::Verdict;
use crate::{DEADLINE, Delivered, Driver, Harness};

/// A built sink, its harness, and the signals written so far.
pub(super) struct SinkUnderTest<H> {
    pub(super) harness: H,
    pub(super) driver: Driver,
    written: Vec<Signal>,
}

impl<H: Harness> SinkUnderTest<H> {
    /// Builds a sink with a new harness.
    pub(super) async fn start() -> Result<Self, String> {
        Self::with(H::new()).await
    }

    /// Builds a sink with this harness.
    pub(super) async fn with(harness: H) -> Result<Self, String> {
        let built = harness
            .build()
            .await
            .map_err(|error| format!("the sink can't be built: {}", error.full_text()))?;
        Ok(Self::of(harness, built))
    }

    /// Wraps a sink that is built already.
    pub(super) fn of(harness: H, built: BuiltSink) -> Self {
        Self { harness, driver: Driver::new(built), written: Vec::new() }
    }

    /// Writes a batch. Fails unless all of it is delivered.
    pub(super) async fn write(&mut self, signals: Vec<Signal>) -> Verdict {
        match self.try_write(signals).await {
            Ok(written) if written == Written::ALL => Ok(()),
            Ok(written) => Err(format!("a batch is delivered only in part: {written:?}")),
            Err(error) => Err(format!("a batch is not delivered: {}", error.full_text())),
        }
    }

    /// Writes a batch and returns the sink's answer.
    pub(super) async fn try_write(&mut self, signals: Vec<Signal>) -> Result<Written, SinkError> {
        self.count_written(&signals);
        within(DEADLINE, self.driver.write(signals)).await
    }

    /// Counts signals as written.
    pub(super) fn count_written(&mut self, signals: &[Signal]) {
        self.written.extend_from_slice(signals);
    }

    /// Forgets the signals written so far. The destination may still have them.
    pub(super) fn forget_written(&mut self) {
        self.written.clear();
    }

    /// Writes the latest batch again and again until it is delivered, at most for `limit`.
    pub(super) async fn write_again_until_ok(&mut self, limit: Duration) -> Verdict {
        let deadline = Instant::now() + limit;
        loop {
            match within(DEADLINE, self.driver.write_again()).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(format!("still not delivered after {limit:?}: {}", error.full_text()));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Flushes. Fails if the sink does.
    pub(super) async fn flush(&mut self) -> Verdict {
        within(DEADLINE, self.driver.flush())
            .await
            .map_err(|error| format!("the flush fails: {}", error.full_text()))
    }

    /// Compares the destination with what was written.
    pub(super) async fn compare(&self, how: Compare) -> Verdict {
        compare(&self.harness, self.expected(), how).await
    }

    /// Flushes, shuts down and compares.
    pub(super) async fn finish(mut self, how: Compare) -> Verdict {
        self.flush().await?;
        self.shut_down_and_compare(how).await
    }

    /// Shuts down without a flush and compares.
    pub(super) async fn shut_down_and_compare(self, how: Compare) -> Verdict {
        let expected = self.expected();
        let harness = self.shutdown().await?;
        compare(&harness, expected, how).await
    }

    /// Shuts down. Fails if the sink does.
    pub(super) async fn shutdown(self) -> Result<H, String> {
        let closed = within(DEADLINE, self.driver.shutdown()).await;
        closed.map_err(|error| format!("the shutdown fails: {}", error.full_text()))?;
        Ok(self.harness)
    }

    fn expected(&self) -> Delivered {
        let interest = self.driver.interest();
        Delivered::of(self.written.iter().filter(|signal| interest.contains(signal.kind())))
    }

    /// Returns true if the sink asked for this kind of signal.
    pub(super) fn wants(&self, kind: SignalSet) -> bool {
        self.driver.interest().contains(kind)
    }
}

/// Waits for a call of the sink, at most for `limit`.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, SinkError>>,
) -> Result<T, SinkError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(SinkError::close(format!("no answer within {limit:?}"))),
    }
}
