//! Where exported spans go: a directory of JSON Lines, or a Llama Stack server's datasets.

mod directory;
mod remote;

use std::fmt;
use std::path::PathBuf;

use axum::http::StatusCode;
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use telemetry_core::{OptionError, Options, Pages, Span};

use crate::error::ApiError;
use directory::Directory;
use remote::Remote;

/// Where exported spans go. `Debug` shows no token.
///
/// ```
/// use telemetry_core::{OptionValue, Options};
/// use telemetry_server::Datasets;
///
/// let text = |text: &str| OptionValue::Text(text.into());
/// let options = Options::from_pairs([("dataset_url", text("http://127.0.0.1:8321")), ("dataset_token", text("hush"))]);
/// assert!(!format!("{:?}", Datasets::from_options(&options)?).contains("hush"));
/// # Ok::<(), telemetry_core::OptionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Datasets {
    /// Nowhere: an export is refused.
    #[default]
    None,
    /// Into this directory: the dataset `x` is the file `x.jsonl`.
    Directory(PathBuf),
    /// To a Llama Stack server: `POST /v1/datasetio/append-rows/{dataset_id}`.
    Server {
        /// Its base URL.
        url: String,
        /// Its bearer token, if it asks for one.
        token: Option<DatasetToken>,
    },
}

/// A token that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct DatasetToken(String);

impl fmt::Debug for DatasetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatasetToken(not shown)")
    }
}

impl Datasets {
    /// Reads `dataset_dir`, or `dataset_url` and `dataset_token`.
    ///
    /// # Errors
    ///
    /// An [`OptionError`]: both are given, or the URL is none.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        match (options.text("dataset_dir")?, options.text("dataset_url")?) {
            (None, None) => Ok(Self::None),
            (Some(directory), None) => Ok(Self::Directory(directory.into())),
            (None, Some(url)) => {
                if reqwest::Url::parse(&url)
                    .is_ok_and(|url| url.has_host() && url.scheme().starts_with("http"))
                {
                    let token = options.text("dataset_token")?.map(DatasetToken);
                    return Ok(Self::Server { url, token });
                }
                Err(options.error("dataset_url", "expected a URL like http://127.0.0.1:8321"))
            }
            (Some(_), Some(_)) => {
                Err(options
                    .error("dataset_url", "spans go to one place: give `dataset_dir` or `dataset_url`"))
            }
        }
    }
}

/// Appends to datasets, one export after the other.
#[derive(Debug)]
pub(crate) struct Exporter {
    datasets: Datasets,
    /// A file is written anew for each export; two at once would undo each other.
    turn: tokio::sync::Mutex<()>,
}

impl Exporter {
    pub(crate) fn new(datasets: Datasets) -> Self {
        Self { datasets, turn: tokio::sync::Mutex::default() }
    }

    /// Appends a row for each span; all of them or, in a directory, none.
    pub(crate) async fn append(&self, dataset_id: &str, mut spans: Pages<Span>) -> Result<(), ApiError> {
        let _turn = self.turn.lock().await;
        let mut target = match &self.datasets {
            Datasets::None => {
                let detail = format!(
                    "no dataset `{dataset_id}`: set `dataset_dir` or `dataset_url` in the server's configuration"
                );
                return Err(ApiError::bad_request(detail));
            }
            Datasets::Directory(directory) => {
                Target::Directory(Directory::open(directory, dataset_id).await?)
            }
            Datasets::Server { url, token } => {
                let token = token.as_ref().map(|DatasetToken(token)| token.as_str());
                Target::Remote(Remote::new(url, token, dataset_id)?)
            }
        };
        while let Some(page) = spans.next().await {
            let rows: Vec<Value> = page?.iter().map(row).collect();
            match &mut target {
                Target::Directory(directory) => directory.write(&rows).await?,
                Target::Remote(remote) => remote.send(&rows).await?,
            }
        }
        match target {
            Target::Directory(directory) => directory.finish().await,
            Target::Remote(_) => Ok(()),
        }
    }
}

enum Target {
    Directory(Directory),
    Remote(Remote),
}

/// What could not be done, as the client is told; the log has the rest.
fn failed(what: &str, error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "{what}");
    ApiError::Status(StatusCode::BAD_GATEWAY, format!("{what}: {error}"))
}

/// A span as a row. Its attributes stand beside its fields; where names clash, the field wins.
fn row(span: &Span) -> Value {
    let fields = json!({
        "trace_id": span.trace_id, "span_id": span.span_id, "parent_span_id": span.parent_span_id,
        "name": span.name, "start_time": span.start_time, "end_time": span.end_time,
    });
    let mut row: Map<String, Value> = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for (name, value) in &span.attributes {
        if !row.contains_key(name.as_ref()) {
            row.insert(name.to_string(), json!(value));
        }
    }
    Value::Object(row)
}

#[cfg(test)]
mod tests;
