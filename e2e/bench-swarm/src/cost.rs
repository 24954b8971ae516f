//! What this process costs: processor time by the name of the threads, and memory.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time that threads of one name have had together. Threads that ended count no more.
#[derive(Debug, Clone, Default)]
pub struct Cost(BTreeMap<String, Duration>);

impl Cost {
    /// What all threads of this process have had so far.
    ///
    /// # Errors
    /// `/proc` does not tell.
    pub fn now() -> Result<Self> {
        let mut times = BTreeMap::<String, Duration>::new();
        for thread in std::fs::read_dir("/proc/self/task").context("failed to list threads")? {
            let path = thread.context("failed to list threads")?.path();
            let read = |file: &str| std::fs::read_to_string(path.join(file));
            // One that has just ended has no files any more.
            let (Ok(name), Ok(times_of)) = (read("comm"), read("schedstat")) else { continue };
            let spent = times_of.split_whitespace().next().and_then(|it| it.parse().ok());
            let spent = spent.context("the kernel does not tell how long a thread ran")?;
            *times.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(spent);
        }
        Ok(Self(times))
    }

    /// What was spent since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |name: &str| earlier.0.get(name).copied().unwrap_or_default();
        let times = self.0.iter().map(|(name, it)| (name.clone(), it.saturating_sub(before(name))));
        Self(times.filter(|(_, it)| *it > Duration::from_millis(1)).collect())
    }

    /// Of the threads whose name begins so.
    pub fn of(&self, name: &str) -> Duration {
        self.0.iter().filter(|(it, _)| it.starts_with(name)).map(|(_, it)| *it).sum()
    }

    pub fn total(&self) -> Duration {
        self.0.values().sum()
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s", self.total().as_secs_f64())?;
        for (name, spent) in &self.0 {
            write!(f, ", {name} {:.2}", spent.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Resident memory of this process.
///
/// # Errors
/// `/proc` does not tell.
pub fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("failed to read own status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|it| it.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    Ok(kib.context("the kernel does not tell the resident size")? * 1024)
}
