//! Where cumulative streams stand.

use sqlx::Row as _;
use telemetry_core::{QueryError, StreamMark};

use super::Reader;
use crate::error::query_error;

impl Reader {
    /// The latest mark of each of these streams that has one which has not expired.
    pub(super) async fn marks(&self, streams: &[u128]) -> Result<Vec<StreamMark>, QueryError> {
        let mut session = self.session().await?;
        let mut marks = Vec::new();
        for &stream in streams {
            let row = sqlx::query("SELECT state FROM stream_mark WHERE stream = ? AND expires > ?")
                .bind(&stream.to_be_bytes()[..])
                .bind(session.now)
                .fetch_optional(&mut *session.db)
                .await
                .map_err(query_error)?;
            if let Some(row) = row {
                let state: String = row.try_get(0).map_err(query_error)?;
                marks.push(StreamMark { stream, state: state.into() });
            }
        }
        Ok(marks)
    }
}
