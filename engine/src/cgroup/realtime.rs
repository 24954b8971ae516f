//! Gives a container's realtime processes their time. Only version 1 knows it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::limits::Files;
use crate::resources::Resources;

const PERIOD: &str = "cpu.rt_period_us";
const RUNTIME: &str = "cpu.rt_runtime_us";
/// The kernel's own.
const PERIOD_US: u64 = 1_000_000;

impl Files<'_> {
    pub(super) fn realtime(&self, limits: &Resources) -> io::Result<()> {
        let wanted = |value: u64| (value > 0).then_some(value);
        let (period, runtime) = (wanted(limits.cpu_rt_period), wanted(limits.cpu_rt_runtime));
        let set = || {
            self.write_or(("cpu", PERIOD), period, PERIOD_US)?;
            self.write_or(("cpu", RUNTIME), runtime, 0)
        };
        match set() {
            // The groups above have none to give, as they have by default.
            Err(error) if error.kind() == ErrorKind::InvalidInput && runtime.is_some() => {
                let period = period.unwrap_or(PERIOD_US);
                self.make_room(runtime.unwrap_or_default() as f64 / period as f64)?;
                set()
            }
            done => done,
        }
    }

    /// Lets each group above have what those below it have, and this share of time more. Docker's
    /// daemon wants to be told so beforehand, and then gives all of it.
    fn make_room(&self, share: f64) -> io::Result<()> {
        let own = self.path("cpu", RUNTIME)?;
        let own = own.parent().ok_or(ErrorKind::NotFound)?;
        let root = self.path_at_root("cpu")?;
        let above = own.ancestors().skip(1).take_while(|group| *group != root);
        let mut above: Vec<&Path> = above.collect();
        above.reverse();
        for group in above {
            let children: f64 = children(group)?.iter().map(|child| self::share(child)).sum();
            let needed = children + share;
            if self::share(group) < needed {
                let period = number(group, PERIOD).unwrap_or(PERIOD_US);
                let runtime = (needed * period as f64).ceil();
                fs::write(group.join(RUNTIME), format!("{runtime}")).map_err(|error| {
                    let message = format!(
                        "failed to give {} realtime of {runtime} us: {error}",
                        group.display()
                    );
                    io::Error::new(error.kind(), message)
                })?;
            }
        }
        Ok(())
    }
}

fn children(group: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(group)?.flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(groups.map(|entry| entry.path()).collect())
}

fn number(group: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()
}

/// The part of all time that a group's realtime processes may have.
fn share(group: &Path) -> f64 {
    match (number(group, RUNTIME), number(group, PERIOD)) {
        (Some(runtime), Some(period)) if period > 0 => runtime as f64 / period as f64,
        _ => 0.0,
    }
}
