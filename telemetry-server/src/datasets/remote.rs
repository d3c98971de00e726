//! Datasets of a Llama Stack server.

use std::time::Duration;

use axum::http::StatusCode;
use reqwest::{Client, Url, redirect};
use serde_json::{Value, json};

use crate::error::ApiError;

/// Largest number of rows in a request.
const ROWS: usize = 500;
/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Versions of the route that appends rows: servers up to 0.2 have the first, later ones the second.
const VERSIONS: [&str; 2] = ["v1", "v1beta"];

/// An export to a dataset of a server.
pub(super) struct Remote {
    client: Client,
    base: Url,
    token: Option<String>,
    dataset_id: String,
    /// The one of [`VERSIONS`] that the server has, once it has answered.
    version: Option<&'static str>,
    sent: usize,
}

impl Remote {
    pub(super) fn new(url: &str, token: Option<&str>, dataset_id: &str) -> Result<Self, ApiError> {
        let what = "can't send requests to the datasets server";
        let base = Url::parse(url).map_err(|error| ApiError::export_failed(what, &error))?;
        // A redirect would send the token to a host that is not configured.
        let client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none()).build();
        let client = client.map_err(|error| ApiError::export_failed(what, &error))?;
        Ok(Self {
            client,
            base,
            token: token.map(str::to_owned),
            dataset_id: dataset_id.to_owned(),
            version: None,
            sent: 0,
        })
    }

    /// Sends rows in as many requests as needed.
    pub(super) async fn send(&mut self, rows: &[Value]) -> Result<(), ApiError> {
        for rows in rows.chunks(ROWS) {
            self.send_some(rows).await?;
            self.sent += rows.len();
        }
        Ok(())
    }

    /// Sends one request, and finds out the version of the route first.
    async fn send_some(&mut self, rows: &[Value]) -> Result<(), ApiError> {
        let body = json!({ "rows": rows }).to_string();
        let mut missing = None;
        for version in self.version.map_or(VERSIONS.to_vec(), |known| vec![known]) {
            let response = self.post(version, body.clone()).await?;
            let status = response.status();
            if status.is_success() {
                self.version = Some(version);
                return Ok(());
            }
            // The answer is the same for an unknown dataset and an unknown route.
            if status != StatusCode::NOT_FOUND {
                return Err(self.rejected(status));
            }
            missing = Some(status);
        }
        Err(self.rejected(missing.unwrap_or(StatusCode::NOT_FOUND)))
    }

    async fn post(&self, version: &str, body: String) -> Result<reqwest::Response, ApiError> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([version, "datasetio", "append-rows", &self.dataset_id]);
        }
        let mut request = self.client.post(url).header("content-type", "application/json").body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answered = request.send().await.map_err(reqwest::Error::without_url);
        answered.map_err(|error| ApiError::export_failed("the datasets server does not answer", &error))
    }

    fn rejected(&self, status: StatusCode) -> ApiError {
        let (id, sent) = (&self.dataset_id, self.sent);
        if status == StatusCode::NOT_FOUND {
            return ApiError::not_found(format!("no dataset `{id}` on the datasets server"));
        }
        let detail = format!("the datasets server answered {status} for `{id}`, after {sent} rows");
        tracing::error!("export failed: {detail}");
        let status = if status.is_client_error() { StatusCode::BAD_REQUEST } else { StatusCode::BAD_GATEWAY };
        ApiError::Status(status, detail)
    }
}
