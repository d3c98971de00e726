//! Every call of the real llama-stack-client, before and after a restart of the server.

use std::process::Command;

use anyhow::{Result, ensure};
use telemetry_tests::{Settings, target_dir};

use crate::command::{self, root};
use crate::python;

const VERSIONS: [&str; 3] = ["0.2.20", "0.2.23", "0.3.0"];

pub(crate) fn run() -> Result<()> {
    let folder = target_dir().join("integration/client-store");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let (config, datasets) = (folder.join("telemetry.yaml"), folder.join("datasets"));
    std::fs::write(&config, format!("server: {{dataset_dir: '{}'}}\n", datasets.display()))?;
    for phase in ["before", "after"] {
        let server =
            Settings::sqlite_in(&folder).arguments(&["--config".as_ref(), config.as_os_str()]).start()?;
        for version in VERSIONS {
            let package = format!("llama-stack-client=={version}");
            let python = python::environment(&format!("client-{version}"), &[&package])?;
            command::run(
                Command::new(python)
                    .arg(root().join("tests/client/drive.py"))
                    .args([server.url(), phase])
                    .arg(&datasets),
            )?;
        }
        let ended = server.stop()?;
        ensure!(ended.status.success(), "the server ended with {}:\n{}", ended.status, ended.stderr);
    }
    Ok(())
}
