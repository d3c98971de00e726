//! How the program starts, refuses to start, and exits.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use telemetry_tests::{Client, Settings};

/// Checks that the program refuses to start, with a message that contains `words` and an exit code other than 0.
fn refuses(settings: &Settings, words: &[&str]) {
    let ended = settings.refused().unwrap();
    assert!(!ended.status.success(), "exit code 0; printed: {}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "no `{word}` in: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

fn config(folder: &Path, yaml: &str) -> Settings {
    let file = folder.join("telemetry.yaml");
    fs::write(&file, yaml).unwrap();
    Settings::sqlite_in(folder).arguments(&["--config", file.to_str().unwrap(), "--listen", "127.0.0.1:0"])
}

#[test]
fn a_second_server_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Settings::sqlite_in(folder.path()).start().unwrap();
    refuses(&Settings::sqlite_in(folder.path()).arguments(&["--listen", "127.0.0.1:0"]), &["trace_store.db"]);
    let mut client = Client::connect(first.url()).unwrap();
    assert_eq!(client.get("/v1/health").unwrap().status, 200, "the first keeps running");
}

#[test]
fn a_second_server_is_refused_under_every_name_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let first = Settings::sqlite_in(folder.path()).start().unwrap();
    let (file, holder) = (folder.path().join("trace_store.db"), format!("process {}", first.id()));
    for name in ["symbolic", "hard", "moved"] {
        let other = folder.path().join(name);
        fs::create_dir(&other).unwrap();
        let link = other.join("trace_store.db");
        match name {
            "symbolic" => std::os::unix::fs::symlink(&file, &link).unwrap(),
            "hard" => fs::hard_link(&file, &link).unwrap(),
            _ => fs::rename(&file, &link).unwrap(),
        }
        refuses(
            &Settings::sqlite_in(&other).arguments(&["--listen", "127.0.0.1:0"]),
            &[&holder, "sqlite_db_path"],
        );
    }
}

#[test]
fn files_of_the_store_are_readable_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("new/store");
    let server = Settings::sqlite_in(&store).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    let event = serde_json::json!({"event": {"type": "unstructured_log", "timestamp": 1_703_123_456, "message": "m", "severity": "info"}});
    assert_eq!(client.post("/v1/telemetry/events", &event).unwrap().status, 200);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in ["trace_store.db", "trace_store.db-wal", "trace_store.db-shm"] {
        assert_eq!(mode(&store.join(file)), 0o600, "{file}");
    }
    assert_eq!((mode(&store), mode(store.parent().unwrap())), (0o700, 0o700));
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    refuses(&Settings::sqlite_in(folder.path()).arguments(&["--listen", &address]), &[&address, "in use"]);
}

#[test]
fn an_unknown_sink_is_refused_with_the_list_of_sinks() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default()
        .variable("TELEMETRY_SINKS", "sqlight")
        .variable("SQLITE_STORE_DIR", folder.path());
    refuses(
        &settings.arguments(&["--listen", "127.0.0.1:0"]),
        &["sqlight", "console", "sqlite", "otel_trace"],
    );
}

#[test]
fn bad_yaml_is_shown_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    refuses(&config(folder.path(), "telemetry:\n- provider_id: [\n"), &["telemetry.yaml"]);
    let unknown = "telemetry:\n- provider_id: meta-reference\n  provider_type: inline::meta-reference\n  config:\n    sink: sqlite\n";
    refuses(&config(folder.path(), unknown), &["sink", "sinks", "5"]);
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let below_a_file = Settings::sqlite_in(&file.join("store")).arguments(&["--listen", "127.0.0.1:0"]);
    refuses(&below_a_file, &["a-file"]);
}

#[test]
fn a_read_only_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = folder.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(sealed.join("probe"), "").is_ok() {
        // The superuser can write to any folder except /proc.
        refuses(
            &Settings::sqlite_in(Path::new("/proc/telemetry")).arguments(&["--listen", "127.0.0.1:0"]),
            &["/proc/telemetry"],
        );
        return;
    }
    refuses(&Settings::sqlite_in(&sealed).arguments(&["--listen", "127.0.0.1:0"]), &["sealed"]);
}

#[test]
fn a_corrupt_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("trace_store.db"), "not a database ".repeat(300)).unwrap();
    refuses(&Settings::sqlite_in(folder.path()).arguments(&["--listen", "127.0.0.1:0"]), &["trace_store.db"]);
}

#[test]
fn every_signal_that_ends_a_terminal_s_programs_leads_to_exit_code_0() {
    let folder = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let ended = Settings::sqlite_in(folder.path()).start().unwrap().stop_by(signal).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{signal}: {ended:?}");
    }
}

#[test]
fn an_unfinished_request_does_not_delay_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let patient = config(folder.path(), "server: {shutdown_timeout: 60s}\n");
    for begun in ["GET /v1/health HTT", "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"] {
        let server = patient.start().unwrap();
        let mut stuck = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
        stuck.write_all(begun.as_bytes()).unwrap();
        // This connection came later and is answered, so the server has accepted the first one.
        assert_eq!(Client::connect(server.url()).unwrap().get("/v1/health").unwrap().status, 200);
        let asked = Instant::now();
        assert!(server.stop().unwrap().status.success());
        // Half of the shutdown time is for requests that have begun.
        assert!(asked.elapsed() < Duration::from_secs(20), "{begun}: {:?}", asked.elapsed());
    }
}

#[test]
fn an_address_open_to_others_needs_a_token_or_the_word_insecure() {
    let folder = tempfile::tempdir().unwrap();
    let open = |folder: &Path| Settings::sqlite_in(folder).arguments(&["--listen", "0.0.0.0:0"]);
    refuses(&open(folder.path()), &["0.0.0.0:0", "server.tokens", "--insecure"]);
    open(folder.path()).arguments(&["--insecure"]).start().unwrap();
    let file = folder.path().join("telemetry.yaml");
    fs::write(&file, "server: {log_level: trace, tokens: ['${env.TOKEN}']}\n").unwrap();
    let with_token =
        open(folder.path()).arguments(&["--config", file.to_str().unwrap()]).variable("TOKEN", "hush-hush");
    let server = with_token.start().unwrap();
    let url = server.url().replace("0.0.0.0", "127.0.0.1");
    let mut client = Client::connect(&url).unwrap();
    let bearer = [("authorization", "Bearer hush-hush")];
    assert_eq!(client.get("/v1/telemetry/ledger").unwrap().status, 401);
    assert_eq!(client.request("GET", "/v1/telemetry/ledger", &bearer, &[]).unwrap().status, 200);
    assert_eq!(client.get("/v1/health").unwrap().status, 200, "health stays open");
    let printed = server.stop().unwrap().stderr;
    assert!(!printed.contains("hush-hush"), "{printed}");
}

#[test]
fn otlp_is_received_on_a_second_address_too() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Settings::sqlite_in(folder.path()).arguments(&["--otlp-listen", "127.0.0.1:0"]).start().unwrap();
    let printed = server.printed();
    let second = printed.iter().find_map(|line| line.strip_prefix("receiving OTLP on ")).unwrap();
    for url in [second, server.url()] {
        let answer = Client::connect(url).unwrap().post("/v1/traces", &serde_json::json!({})).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{url}");
    }
    assert!(server.stop().unwrap().status.success());
}

#[test]
fn a_sink_that_would_export_to_the_server_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = || Settings::sqlite_in(folder.path()).variable("TELEMETRY_SINKS", "sqlite,otel_log");
    let listen = &["--listen", "127.0.0.1:0", "--otlp-listen", "127.0.0.1:0"];
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let own = settings().variable("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{free}"));
    refuses(
        &own.arguments(&["--listen", "127.0.0.1:0", "--otlp-listen", &free]),
        &["otel_log", "loop", &free],
    );
    let another = settings().variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9").arguments(listen);
    assert!(another.start().unwrap().stop().unwrap().status.success());
}
