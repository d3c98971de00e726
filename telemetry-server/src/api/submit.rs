//! Submits records and waits until they are stored: an answer with status 200 means that every store has
//! committed.

use telemetry_core::Submission;
use telemetry_pipeline::{Receipt, SubmitError};

use crate::error::ApiError;
use crate::exposition::Sample;
use crate::state::AppState;

/// Submits, and waits until every store has committed. Then shows the metric points at `/metrics`.
pub(super) async fn submit(state: &AppState, submissions: Vec<Submission>) -> Result<(), ApiError> {
    if submissions.is_empty() {
        return Ok(());
    }
    Pending::submit(state, submissions)?.wait(state).await
}

/// Submissions that not every store has committed yet.
#[derive(Debug)]
pub(super) struct Pending {
    receipt: Receipt,
    is_stored: Option<bool>,
    samples: Vec<Sample>,
}

impl Pending {
    pub(super) fn submit(state: &AppState, submissions: Vec<Submission>) -> Result<Self, ApiError> {
        let samples = submissions.iter().filter_map(Sample::of).collect();
        match state.telemetry().submit(submissions) {
            Ok(receipt) => Ok(Self { receipt, is_stored: None, samples }),
            Err(SubmitError::Full(_)) => Err(ApiError::queue_full()),
            Err(SubmitError::Closed(_)) => Err(ApiError::shutting_down()),
        }
    }

    /// Waits no longer than a client does. After an error the submissions may still be stored.
    pub(super) async fn wait(&mut self, state: &AppState) -> Result<(), ApiError> {
        let stored = tokio::time::timeout(state.ack_within(), self.outcome(state)).await;
        if stored == Ok(true) { Ok(()) } else { Err(ApiError::not_committed()) }
    }

    /// Waits until the outcome is known. Returns true if the submissions are stored.
    pub(super) async fn outcome(&mut self, state: &AppState) -> bool {
        if let Some(is_stored) = self.is_stored {
            return is_stored;
        }
        let is_stored = (&mut self.receipt).await.is_ok();
        self.is_stored = Some(is_stored);
        if is_stored {
            state.exposition().record(std::mem::take(&mut self.samples));
        }
        is_stored
    }
}
