//! The way to a container's run directory, which the container's own root has to go while it is
//! made, before it has left the host's files behind. With a user namespace it is nobody there.
//!
//! Passing through is all that is allowed: nothing can be listed, and what is in the directories is
//! open to root alone.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use skep_idmap::IdMaps;

use crate::error::{Error, Result};
use crate::layout;

/// Of directories that anybody may pass through.
pub const MODE: u32 = 0o711;

/// Opens the directories that are the runtime's own, and refuses others that are closed: in Docker's
/// words for its own root directory.
pub fn open(run_dir: &Path, maps: &IdMaps) -> Result<()> {
    let containers = layout::containers(run_dir);
    for dir in [run_dir, &containers] {
        let may = fs::metadata(dir).map_err(Error::io("look at", dir))?.mode() & 0o7777;
        fs::set_permissions(dir, fs::Permissions::from_mode(may | 0o111))
            .map_err(Error::io("open the way through", dir))?;
    }
    let whole = fs::canonicalize(&containers).map_err(Error::io("find", &containers))?;
    for dir in whole.ancestors() {
        let found = fs::metadata(dir).map_err(Error::io("look at", dir))?;
        let (uid, gid) = maps.root();
        let passes = found.mode() & 0o001 != 0
            || (found.uid() == uid && found.mode() & 0o100 != 0)
            || (found.gid() == gid && found.mode() & 0o010 != 0);
        if !passes {
            return Err(Error::Invalid(format!(
                "a directory on the way to {} restricts access to the remapped root uid/gid: {}; \
                 please fix by allowing 'o+x' permissions on existing directories",
                whole.display(),
                dir.display()
            )));
        }
    }
    Ok(())
}
