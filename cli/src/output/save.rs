//! Bytes on their way to a file or to standard output.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use skep_docker_api::client::Download;
use tokio::io::AsyncWriteExt;

use crate::failure::{Failure, Outcome};

/// Archives are not for reading.
pub fn refuse_terminal(path: Option<&Path>) -> Outcome {
    if path.is_none() && std::io::stdout().is_terminal() {
        return Err(Failure::new(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
        ));
    }
    Ok(())
}

/// A file beside the one wanted, which takes its name only when it is whole.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn of(path: &Path) -> Self {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        Self { path: path.with_file_name(name) }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// To the file, which is there only when it is whole, or to standard output.
pub async fn stream(mut bytes: Download, path: Option<&Path>, what: &str) -> Outcome {
    let Some(path) = path else {
        let mut out = tokio::io::stdout();
        while let Some(chunk) = bytes.try_next().await? {
            out.write_all(&chunk).await?;
        }
        out.flush().await?;
        return Ok(());
    };
    let failed = |error: std::io::Error| Failure::new(format!("{what}: {error}"));
    let partial = Partial::of(path);
    let mut file = tokio::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial.path)
        .await
        .map_err(failed)?;
    while let Some(chunk) = bytes.try_next().await? {
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)?;
    tokio::fs::rename(&partial.path, path).await.map_err(failed)
}
