//! Acknowledged means stored: a client's 200 waits for the commit.

use telemetry_core::Submission;
use telemetry_pipeline::{Receipt, SubmitError};

use crate::error::ApiError;
use crate::exposition::Measurement;
use crate::state::AppState;

/// Submits, and waits until every store has committed. What was measured is then shown at `/metrics`.
pub(crate) async fn store(state: &AppState, submissions: Vec<Submission>) -> Result<(), ApiError> {
    if submissions.is_empty() {
        return Ok(());
    }
    Pending::submit(state, submissions)?.wait(state).await
}

/// What was submitted, until every store has committed.
#[derive(Debug)]
pub(crate) struct Pending {
    receipt: Receipt,
    is_stored: Option<bool>,
    measurements: Vec<Measurement>,
}

impl Pending {
    pub(crate) fn submit(state: &AppState, submissions: Vec<Submission>) -> Result<Self, ApiError> {
        let measurements = submissions.iter().filter_map(Measurement::of).collect();
        match state.telemetry().submit(submissions) {
            Ok(receipt) => Ok(Self { receipt, is_stored: None, measurements }),
            Err(SubmitError::Full(_)) => Err(ApiError::full()),
            Err(SubmitError::Closed(_)) => Err(ApiError::unavailable("the server is shutting down")),
        }
    }

    /// Waits as long as a client does. After an error it may still be stored.
    pub(crate) async fn wait(&mut self, state: &AppState) -> Result<(), ApiError> {
        let stored = tokio::time::timeout(state.ack_within(), self.outcome(state)).await;
        if stored == Ok(true) { Ok(()) } else { Err(not_now()) }
    }

    /// Waits as long as it takes, and says whether it is stored.
    pub(crate) async fn outcome(&mut self, state: &AppState) -> bool {
        if let Some(is_stored) = self.is_stored {
            return is_stored;
        }
        let is_stored = (&mut self.receipt).await.is_ok();
        self.is_stored = Some(is_stored);
        if is_stored {
            state.exposition().record(std::mem::take(&mut self.measurements));
        }
        is_stored
    }
}

/// The store does not commit in time.
pub(crate) fn not_now() -> ApiError {
    ApiError::unavailable("the store can't commit now; try again later")
}
