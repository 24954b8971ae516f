//! What stands on disk after a crash of the daemon, of a shim, or of the machine, put right.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use time::OffsetDateTime;

use crate::cgroup::Hierarchies;
use crate::defaults::{EXIT_CODE_UNKNOWN, KILL_TIMEOUT};
use crate::error::{Error, Result};
use crate::layout::{self, Places};
use crate::record::{self, Durability, Stored};
use crate::status::ExitStatus;
use crate::{lock, process};

/// Writes the end of a container that has neither a shim nor an exit status: the shim was killed, or
/// the machine was. Processes that are left of it are ended, for nobody keeps their output. None if
/// there is a shim after all.
pub fn bury(
    places: &Places,
    hierarchies: &Hierarchies,
    cgroup: &Path,
) -> Result<Option<ExitStatus>> {
    let path = places.lock();
    // A shim that a daemon started just before it was killed finds the lock taken, or the status.
    let _keeps_shims_out = match lock::take(&path) {
        Ok(Some(held)) => Some(held),
        Ok(None) => return Ok(None),
        // The machine was started anew and has no run directory yet: there can be no shim.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("lock", &path)(error)),
    };
    let oom_killed = hierarchies.oom_kills(cgroup) > 0;
    hierarchies.destroy(cgroup).map_err(Error::io("remove cgroup", cgroup))?;
    let exit = ExitStatus {
        code: EXIT_CODE_UNKNOWN,
        signal: None,
        oom_killed,
        finished_at: OffsetDateTime::now_utc(),
        error: Some("the container's end was not seen".to_owned()),
        log_entries_dropped: 0,
    };
    record::write(&places.exit(), &exit, Durability::Synced)?;
    Ok(Some(exit))
}

/// Removes what belongs to no container: directories of creations and deletions that were cut
/// short. Only while no creation is under way.
pub fn sweep(state_dir: &Path, run_dir: &Path, cgroups: (&Hierarchies, &Path)) -> Result<()> {
    for dir in [state_dir, run_dir] {
        let dir = layout::containers(dir);
        let entries = fs::read_dir(&dir).map_err(Error::io("read", &dir))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &dir))?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            let places = Places::new(state_dir, run_dir, &id);
            match record::read::<Stored>(&places.config()) {
                Ok(Some(_)) => forget_torn_exit(&places)?,
                Err(error @ Error::Io { .. }) => return Err(error),
                // Absent, or torn by a power cut: nothing of it can be running then.
                Ok(None) | Err(_) => remove(&places, cgroups.0, &cgroups.1.join(&id))?,
            }
        }
    }
    Ok(())
}

/// An exit status that a power cut has torn is none: its container's end was not seen.
fn forget_torn_exit(places: &Places) -> Result<()> {
    match record::read::<ExitStatus>(&places.exit()) {
        Err(Error::Record { .. }) => remove_file(&places.exit()),
        read => read.map(drop),
    }
}

/// Removes all of a container: its shim, its cgroup, its directories. The configuration goes last,
/// so that a removal that is cut short is found again.
pub fn remove(places: &Places, hierarchies: &Hierarchies, cgroup: &Path) -> Result<()> {
    let _keeps_shims_out = end_shim(places)?;
    hierarchies.destroy(cgroup).map_err(Error::io("remove cgroup", cgroup))?;
    remove_tree(places.run())?;
    let entries = match fs::read_dir(places.state()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read", places.state())(error)),
    };
    for entry in entries {
        let path = entry.map_err(Error::io("read", places.state()))?.path();
        if path != places.config() {
            remove_file(&path)?;
        }
    }
    remove_file(&places.config())?;
    remove_tree(places.state())
}

/// Ends a shim that is in the way, and keeps a new one from starting.
fn end_shim(places: &Places) -> Result<Option<lock::Held>> {
    let path = places.lock();
    if !places.run().exists() {
        return Ok(None);
    }
    let failed = |error| Error::io("lock", &path)(error);
    loop {
        match lock::holder(&path).map_err(failed)? {
            None => {
                // A shim that comes only now finds the lock taken or the directory gone.
                if let Some(held) = lock::take(&path).map_err(failed)? {
                    return Ok(Some(held));
                }
            }
            Some(pid) => {
                let Some(shim) = process::open(pid).map_err(failed)? else { continue };
                // Is it still the holder, and not a later process of the same id?
                if lock::holder(&path).map_err(failed)? != Some(pid) {
                    continue;
                }
                process::kill(&shim, libc::SIGKILL).map_err(failed)?;
                if !process::wait(&shim, KILL_TIMEOUT).map_err(failed)? {
                    let id = path.display().to_string();
                    return Err(Error::Timeout { what: "the end of the shim", id });
                }
            }
        }
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove", path)),
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove", path)),
    }
}
