//! Every call of the real llama-stack-client, before and after a restart of the server.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::server::{self, Server};
use crate::command::{self, root, target_dir};
use crate::python;

const VERSIONS: [&str; 3] = ["0.2.20", "0.2.23", "0.3.0"];

pub(crate) fn run() -> Result<()> {
    let program = server::build()?;
    let folder = target_dir().join("integration/client-store");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let store = folder.to_str().context("the target folder's path is UTF-8")?;
    let environment = [("SQLITE_STORE_DIR", store), ("TELEMETRY_SINKS", "sqlite")];
    for phase in ["before", "after"] {
        let server = Server::start(&program, &[], &environment)?;
        for version in VERSIONS {
            let python = python::environment(
                &format!("client-{version}"),
                &[&format!("llama-stack-client=={version}")],
            )?;
            command::run(
                Command::new(python).arg(root().join("tests/client/drive.py")).args([server.url(), phase]),
            )?;
        }
        server.stop()?;
    }
    Ok(())
}
