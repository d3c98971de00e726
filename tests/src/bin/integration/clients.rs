//! Clients of the HTTP API: the real llama-stack-client, and schemathesis.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use telemetry_tests::{Settings, empty_folder, python_environment, root, run};

const LLAMA_STACK: [&str; 3] = ["0.2.20", "0.2.23", "0.3.0"];
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// No response may be a server error or differ from the document.
const CHECKS: &str =
    "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance";

/// Returns a server that stores in `folder` and exports datasets to the folder that is returned with it.
fn settings(folder: &Path) -> Result<(Settings, PathBuf)> {
    let (config, datasets) = (folder.join("telemetry.yaml"), folder.join("datasets"));
    std::fs::write(&config, format!("server: {{dataset_dir: '{}'}}\n", datasets.display()))?;
    Ok((Settings::sqlite_in(folder).arguments(&["--config".as_ref(), config.as_os_str()]), datasets))
}

/// Makes every call of llama-stack-client, before and after a restart of the server.
pub(super) fn llama_stack() -> Result<()> {
    let (settings, datasets) = settings(&empty_folder("client-store")?)?;
    for phase in ["before", "after"] {
        let server = settings.start()?;
        for version in LLAMA_STACK {
            let package = format!("llama-stack-client=={version}");
            let python = python_environment(&format!("client-{version}"), &[&package])?;
            let mut drive = Command::new(python);
            drive.arg(root().join("tests/client/drive.py")).args([server.url(), phase]).arg(&datasets);
            run(&mut drive)?;
        }
        server.stop_cleanly()?;
    }
    Ok(())
}

/// Lets schemathesis send valid, invalid and chained requests that it derives from the OpenAPI document.
pub(super) fn schemathesis() -> Result<()> {
    let folder = empty_folder("openapi")?;
    let (settings, _) = settings(&folder)?;
    let server = settings.start()?;
    let python = python_environment("schemathesis", &[SCHEMATHESIS])?;
    run(Command::new(python.with_file_name("schemathesis"))
        .arg("run")
        .arg(format!("{}/openapi.json", server.url()))
        .args(["--checks", CHECKS, "--max-examples", "50", "--seed", "1", "--workers", "1"])
        .args(["--generation-database", "none", "--no-color"])
        // It creates its own folders in the current one.
        .current_dir(&folder))?;
    server.stop_cleanly()
}
