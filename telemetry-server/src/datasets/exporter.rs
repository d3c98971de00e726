//! Appends exported spans to a dataset.

use std::fmt;
use std::path::PathBuf;

use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use telemetry_core::{OptionError, Options, Pages, Span};

use crate::datasets::directory::Directory;
use crate::datasets::remote::Remote;
use crate::error::ApiError;

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
    /// Nowhere. An export is answered 400.
    #[default]
    None,
    /// To this directory. The dataset `x` is the file `x.jsonl`.
    Directory(PathBuf),
    /// To a Llama Stack server: `POST /v1/datasetio/append-rows/{dataset_id}`.
    Server {
        /// Its base URL.
        url: String,
        /// Its bearer token, if it needs one.
        token: Option<DatasetToken>,
    },
}

/// A token. `Debug` does not show it.
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
    /// An [`OptionError`] if both are set, or for an invalid URL.
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
            (Some(_), Some(_)) => Err(options
                .error("dataset_url", "`dataset_dir` and `dataset_url` exclude each other: set one of them")),
        }
    }
}

/// Appends spans to datasets, one export at a time.
#[derive(Debug)]
pub(crate) struct Exporter {
    datasets: Datasets,
    /// An export rewrites a whole file, so two at once would overwrite each other.
    exclusive: tokio::sync::Mutex<()>,
}

impl Exporter {
    pub(crate) fn new(datasets: Datasets) -> Self {
        Self { datasets, exclusive: tokio::sync::Mutex::default() }
    }

    /// Appends a row for each span. In a directory, appends all rows or none.
    pub(crate) async fn append(&self, dataset_id: &str, mut spans: Pages<Span>) -> Result<(), ApiError> {
        let _guard = self.exclusive.lock().await;
        let mut target = match &self.datasets {
            Datasets::None => {
                let detail = format!(
                    "can't export to dataset `{dataset_id}`: set `server.dataset_dir` or `server.dataset_url` first"
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

/// Converts a span to a row. Its attributes become fields too, unless the span has a field of that name.
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
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use futures_util::stream;
    use telemetry_core::{QueryError, SpanId, SpanKey, Timestamp, TraceId, attrs};

    fn span(number: u64) -> Span {
        let key = SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(number).unwrap());
        let mut span = Span::open(key, "chat", Timestamp::from_nanos(0));
        span.attributes = attrs! { "input" => "hello", "name" => "not this" };
        span
    }

    fn pages(pages: Vec<Result<Vec<Span>, QueryError>>) -> Pages<Span> {
        Box::pin(stream::iter(pages))
    }

    #[tokio::test]
    async fn an_export_appends_all_rows_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let exporter = Exporter::new(Datasets::Directory(folder.path().join("new")));
        let file = folder.path().join("new/spans.jsonl");
        exporter.append("spans", pages(vec![Ok(vec![])])).await.unwrap();
        assert!(!file.exists(), "without rows there is no file");
        exporter.append("spans", pages(vec![Ok(vec![span(1)]), Ok(vec![span(2)])])).await.unwrap();
        let first = std::fs::read_to_string(&file).unwrap();
        assert_eq!(
            first.lines().next().unwrap(),
            "{\"trace_id\":\"00000000000000000000000000000001\",\"span_id\":\"0000000000000001\",\
             \"parent_span_id\":null,\"name\":\"chat\",\"start_time\":\"1970-01-01T00:00:00Z\",\"end_time\":null,\
             \"input\":\"hello\"}"
        );
        let broken = pages(vec![Ok(vec![span(3)]), Err(QueryError::Timeout)]);
        assert!(exporter.append("spans", broken).await.is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), first, "no row of a failed export is there");
        exporter.append("spans", pages(vec![Ok(vec![span(3)])])).await.unwrap();
        let second = std::fs::read_to_string(&file).unwrap();
        assert!(second.starts_with(&first) && second.lines().count() == 3);
        let names: Vec<_> =
            std::fs::read_dir(folder.path().join("new")).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(names.len(), 2, "only the dataset and the lock: {names:?}");
    }

    #[tokio::test]
    async fn a_row_starts_on_a_new_line_even_if_the_last_line_has_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spans.jsonl");
        std::fs::write(&file, "{}").unwrap();
        let exporter = Exporter::new(Datasets::Directory(folder.path().to_path_buf()));
        exporter.append("spans", pages(vec![Ok(vec![span(1)])])).await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("{}\n{\"trace_id\"") && text.lines().count() == 2, "{text}");
    }

    #[tokio::test]
    async fn a_directory_that_another_process_has_locked_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let lock = telemetry_files::FileLock::acquire(&folder.path().join(".lock")).unwrap();
        let exporter = Exporter::new(Datasets::Directory(folder.path().to_path_buf()));
        let error = exporter.append("spans", pages(vec![Ok(vec![span(1)])])).await.unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        exporter.append("spans", pages(vec![Ok(vec![span(1)])])).await.unwrap();
    }

    /// Starts a datasets server with this route. Returns its URL and the rows it receives.
    async fn datasets_server(
        route: &str,
    ) -> (String, std::sync::Arc<std::sync::Mutex<Vec<(String, Value)>>>) {
        use axum::extract::Path;
        use axum::http::HeaderMap;
        let seen = std::sync::Arc::<std::sync::Mutex<Vec<(String, Value)>>>::default();
        let sent = std::sync::Arc::clone(&seen);
        let append = async move |Path(id): Path<String>, headers: HeaderMap, body: axum::Json<Value>| {
            if id == "nowhere" {
                return StatusCode::NOT_FOUND;
            }
            assert_eq!(headers["authorization"], "Bearer hush");
            sent.lock().unwrap().push((id, body.0));
            StatusCode::OK
        };
        let router = axum::Router::new().route(&format!("{route}/{{id}}"), axum::routing::post(append));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        (url, seen)
    }

    #[tokio::test]
    async fn rows_are_sent_to_a_llama_stack_server_of_either_version() {
        for route in ["/v1/datasetio/append-rows", "/v1beta/datasetio/append-rows"] {
            let (url, seen) = datasets_server(route).await;
            let exporter = Exporter::new(Datasets::Server { url, token: Some(DatasetToken("hush".into())) });
            exporter.append("a::b/c", pages(vec![Ok((1..=600).map(span).collect())])).await.unwrap();
            let seen = std::mem::take(&mut *seen.lock().unwrap());
            let rows: Vec<usize> =
                seen.iter().map(|(_, body)| body["rows"].as_array().unwrap().len()).collect();
            assert_eq!(rows, [500, 100]);
            assert_eq!(seen[0].0, "a::b/c");
            assert_eq!(seen[0].1["rows"][0], row(&span(1)));
            let Err(ApiError::Status(status, detail)) =
                exporter.append("nowhere", pages(vec![Ok(vec![span(1)])])).await
            else {
                panic!("accepted")
            };
            assert_eq!((status, detail.contains("nowhere")), (StatusCode::NOT_FOUND, true));
        }
    }

    #[tokio::test]
    async fn an_unreachable_server_is_reported_without_its_token() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let exporter = Exporter::new(Datasets::Server { url, token: Some(DatasetToken("hush".into())) });
        let error = exporter.append("spans", pages(vec![Ok(vec![span(1)])])).await.unwrap_err();
        assert!(matches!(&error, ApiError::Status(StatusCode::BAD_GATEWAY, _)), "{error:?}");
        assert!(!format!("{error:?} {exporter:?}").contains("hush"));
    }
}
