//! Spans appended to datasets.

use super::*;
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
async fn an_export_is_appended_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = Exporter::new(Datasets::Directory(folder.path().join("new")));
    let file = folder.path().join("new/spans.jsonl");
    exporter.append("spans", pages(vec![Ok(vec![])])).await.unwrap();
    assert!(!file.exists(), "no rows, no file");
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
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first, "nothing of a broken export is there");
    exporter.append("spans", pages(vec![Ok(vec![span(3)])])).await.unwrap();
    let second = std::fs::read_to_string(&file).unwrap();
    assert!(second.starts_with(&first) && second.lines().count() == 3);
    let names: Vec<_> =
        std::fs::read_dir(folder.path().join("new")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names.len(), 2, "the dataset and the lock, no rests: {names:?}");
}

#[tokio::test]
async fn a_row_never_stands_on_a_line_that_another_program_left_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    std::fs::write(&file, "{}").unwrap();
    let exporter = Exporter::new(Datasets::Directory(folder.path().to_path_buf()));
    exporter.append("spans", pages(vec![Ok(vec![span(1)])])).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("{}\n{\"trace_id\"") && text.lines().count() == 2, "{text}");
}

#[tokio::test]
async fn another_process_at_work_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(folder.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    let exporter = Exporter::new(Datasets::Directory(folder.path().to_path_buf()));
    assert!(exporter.append("spans", pages(vec![Ok(vec![span(1)])])).await.is_err());
    drop(lock);
    exporter.append("spans", pages(vec![Ok(vec![span(1)])])).await.unwrap();
}

/// A datasets' server that knows this route; what it was sent.
async fn datasets_server(route: &str) -> (String, std::sync::Arc<std::sync::Mutex<Vec<(String, Value)>>>) {
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
async fn rows_go_to_a_llama_stack_server_of_either_version() {
    for route in ["/v1/datasetio/append-rows", "/v1beta/datasetio/append-rows"] {
        let (url, seen) = datasets_server(route).await;
        let exporter = Exporter::new(Datasets::Server { url, token: Some(DatasetToken("hush".into())) });
        exporter.append("a::b/c", pages(vec![Ok((1..=600).map(span).collect())])).await.unwrap();
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let rows: Vec<usize> = seen.iter().map(|(_, body)| body["rows"].as_array().unwrap().len()).collect();
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
async fn a_datasets_server_that_is_away_is_told_without_its_token() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let exporter = Exporter::new(Datasets::Server { url, token: Some(DatasetToken("hush".into())) });
    let error = exporter.append("spans", pages(vec![Ok(vec![span(1)])])).await.unwrap_err();
    assert!(matches!(&error, ApiError::Status(StatusCode::BAD_GATEWAY, _)), "{error:?}");
    assert!(!format!("{error:?} {exporter:?}").contains("hush"));
}
