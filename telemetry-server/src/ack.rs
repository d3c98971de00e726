//! Acknowledged means stored: a client's 200 waits for the commit.

use telemetry_pipeline::{Submission, SubmitError};

use crate::error::ApiError;
use crate::exposition::Measurement;
use crate::state::AppState;

/// Submits, and waits until every store has committed. What was measured is then shown at `/metrics`.
pub(crate) async fn store(state: &AppState, submissions: Vec<Submission>) -> Result<(), ApiError> {
    if submissions.is_empty() {
        return Ok(());
    }
    let measurements: Vec<Measurement> = submissions.iter().filter_map(Measurement::of).collect();
    let receipt = match state.telemetry().submit(submissions) {
        Ok(receipt) => receipt,
        Err(SubmitError::Full(_)) => return Err(ApiError::full()),
        Err(SubmitError::Closed(_)) => return Err(ApiError::unavailable("the server is shutting down")),
    };
    match tokio::time::timeout(state.ack_within(), receipt).await {
        Ok(Ok(())) => {
            state.exposition().record(measurements);
            Ok(())
        }
        Ok(Err(_)) | Err(_) => Err(ApiError::unavailable("the store can't commit now; try again later")),
    }
}
