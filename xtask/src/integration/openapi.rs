//! schemathesis makes requests from the server's OpenAPI document: good ones, bad ones, and chains of them.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use telemetry_tests::{Settings, target_dir};

use crate::{command, python};

/// No answer may be a server error, nor anything that the document does not say.
const CHECKS: &str =
    "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance";

pub(crate) fn run() -> Result<()> {
    let folder = target_dir().join("integration/openapi");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let config = folder.join("telemetry.yaml");
    std::fs::write(&config, format!("server: {{dataset_dir: '{}'}}\n", folder.join("datasets").display()))?;
    let server =
        Settings::sqlite_in(&folder).arguments(&["--config".as_ref(), config.as_os_str()]).start()?;
    let python = python::environment("schemathesis", &["schemathesis==4.32.5"])?;
    let program = python.parent().context("python lies in a folder")?.join("schemathesis");
    command::run(
        Command::new(program)
            .arg("run")
            .arg(format!("{}/openapi.json", server.url()))
            .args(["--checks", CHECKS, "--max-examples", "50", "--seed", "1", "--workers", "1"])
            .args(["--generation-database", "none", "--no-color"])
            // It leaves its own folders where it runs.
            .current_dir(&folder),
    )?;
    let ended = server.stop()?;
    ensure!(ended.status.success(), "the server ended with {}:\n{}", ended.status, ended.stderr);
    ensure!(!ended.stderr.contains("panicked"), "the server has panicked:\n{}", ended.stderr);
    Ok(())
}
