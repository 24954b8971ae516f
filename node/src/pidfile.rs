//! The file with the daemon's process number, for service managers that want one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Gone when it is dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes it, unless it names another process that runs.
    ///
    /// # Errors
    /// There is one (in Docker's words), or the file cannot be written.
    pub fn write(path: &Path) -> io::Result<Self> {
        let own = std::process::id();
        let before = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = before.filter(|pid: &u32| *pid != own)
            && Path::new(&format!("/proc/{pid}")).exists()
        {
            return Err(io::Error::other(format!("process with PID {pid} is still running")));
        }
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(path, own.to_string())?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the file of the pid is not gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/daemon.pid");
        drop(PidFile::write(&path).unwrap());
        assert!(!path.exists());
        // The first of all processes runs always.
        fs::write(&path, "1\n").unwrap();
        let refused = PidFile::write(&path).unwrap_err().to_string();
        assert_eq!(refused, "process with PID 1 is still running");
        fs::write(&path, "nobody").unwrap();
        let kept = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(kept);
    }
}
