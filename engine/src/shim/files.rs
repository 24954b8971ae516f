//! The files that come with a configuration (secrets, configs), written to the shim's memory
//! filesystem, from where each is bound into the container read-only.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use skep_idmap::IdMaps;

use super::userns;
use crate::protocol::Launch;

/// Writes all files below `directory`; `contents` are theirs, one after the other.
pub fn write(
    launch: &Launch,
    contents: &[u8],
    directory: &Path,
    ids: &IdMaps,
) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    if launch.config.files.is_empty() {
        return Ok(paths);
    }
    fs::create_dir_all(directory)?;
    let mut rest = contents;
    for (number, (file, length)) in launch.config.files.iter().zip(&launch.file_bytes).enumerate() {
        let (content, after) =
            rest.split_at_checked(*length).ok_or(io::ErrorKind::UnexpectedEof)?;
        rest = after;
        let path = directory.join(number.to_string());
        let mut written = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        written.write_all(content)?;
        let (uid, gid) = userns::outside(ids, file.uid, file.gid)?;
        fchown(&written, Some(uid), Some(gid))?;
        // After the owner: a change of owner clears set-id bits.
        written.set_permissions(fs::Permissions::from_mode(file.mode & 0o7777))?;
        paths.push(path);
    }
    Ok(paths)
}
