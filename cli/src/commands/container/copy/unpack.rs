//! An archive from a container to files here.
//!
//! Invariant: a container decides what is in its archive, so no name and no link in it leads out of the folder it is unpacked in.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use futures::TryStreamExt;
use skep_docker_api::client::Download;
use tar::EntryType;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::plan::Plan;
use crate::failure::{Failure, Outcome};

fn outside(name: &Path) -> std::io::Error {
    std::io::Error::other(format!("{} would be outside of the destination", name.display()))
}

/// The place of a name in the folder. Its parents are made, and are folders within.
fn place(folder: &Path, name: &Path) -> std::io::Result<PathBuf> {
    let mut at = folder.to_owned();
    let parts: Vec<_> = name
        .components()
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| match part {
            Component::Normal(part) => Ok(part),
            _ => Err(outside(name)),
        })
        .collect::<Result<_, _>>()?;
    for (number, part) in parts.iter().enumerate() {
        at.push(part);
        if number + 1 < parts.len() {
            match fs::symlink_metadata(&at) {
                Ok(info) if info.is_dir() => {}
                // A link that an earlier entry made could lead anywhere.
                Ok(_) => return Err(outside(name)),
                Err(_) => fs::create_dir(&at)?,
            }
        }
    }
    Ok(at)
}

fn write(from: impl Read, plan: &Plan) -> std::io::Result<()> {
    let folder = fs::canonicalize(plan.folder.trim_end_matches("/."))?;
    let mut archive = tar::Archive::new(from);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    // Folders get their modes last: one that may not be written to could not be filled.
    let mut folders = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = plan.name(&entry.path()?);
        let at = place(&folder, &name)?;
        let there = fs::symlink_metadata(&at).ok();
        let is_dir = there.as_ref().is_some_and(fs::Metadata::is_dir);
        match entry.header().entry_type() {
            EntryType::Directory => {
                if at != folder {
                    match there {
                        Some(_) if is_dir => {}
                        Some(_) => {
                            return Err(std::io::Error::other(format!(
                                "cannot overwrite non-directory {} with directory",
                                at.display()
                            )));
                        }
                        None => fs::create_dir(&at)?,
                    }
                    folders.push((at, entry.header().mode()?));
                }
            }
            _ if is_dir => {
                return Err(std::io::Error::other(format!(
                    "cannot overwrite directory {} with non-directory",
                    at.display()
                )));
            }
            EntryType::Link => {
                let linked = entry.link_name()?.ok_or_else(|| outside(&name))?;
                let target = place(&folder, &plan.name(&linked))?;
                if there.is_some() {
                    fs::remove_file(&at)?;
                }
                fs::hard_link(target, at)?;
            }
            _ => {
                if there.is_some() {
                    fs::remove_file(&at)?;
                }
                entry.unpack(&at)?;
            }
        }
    }
    for (at, mode) in folders.into_iter().rev() {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(at, fs::Permissions::from_mode(mode & 0o7777))?;
    }
    Ok(())
}

struct Counted<R> {
    from: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, chunk: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(chunk)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Unpacks; gives how many bytes the archive had.
pub async fn unpack(bytes: Download, plan: Plan) -> Outcome<u64> {
    let reader = StreamReader::new(bytes.map_err(std::io::Error::other));
    let bridge = SyncIoBridge::new(Box::pin(reader));
    let task = tokio::task::spawn_blocking(move || {
        let mut counted = Counted { from: bridge, bytes: 0 };
        write(&mut counted, &plan)?;
        // What stands behind the archive's end is padding, and the connection's.
        std::io::copy(&mut counted, &mut std::io::sink())?;
        Ok(counted.bytes)
    });
    task.await
        .map_err(|error| Failure::new(error.to_string()))?
        .map_err(|error: std::io::Error| Failure::new(format!("failed to write files: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(folder: &Path) -> Plan {
        Plan { folder: folder.display().to_string(), from: "a".into(), to: "b".into() }
    }

    fn header(kind: EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o755);
        header
    }

    #[test]
    fn files_get_their_new_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_data(&mut header(EntryType::Directory, 0), "a/", std::io::empty()).unwrap();
        archive.append_data(&mut header(EntryType::Regular, 2), "a/f", &b"hi"[..]).unwrap();
        write(archive.into_inner().unwrap().as_slice(), &plan(dir.path())).unwrap();
        assert_eq!(fs::read(dir.path().join("b/f")).unwrap(), b"hi");
    }

    #[test]
    fn nothing_leaves_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let away = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_link(&mut header(EntryType::Symlink, 0), "a", away.path()).unwrap();
        archive.append_data(&mut header(EntryType::Regular, 2), "a/f", &b"hi"[..]).unwrap();
        let done = write(archive.into_inner().unwrap().as_slice(), &plan(dir.path()));
        assert!(done.unwrap_err().to_string().contains("outside"));
        assert_eq!(fs::read_dir(away.path()).unwrap().count(), 0);
        assert!(place(dir.path(), Path::new("../x")).is_err());
        assert!(place(dir.path(), Path::new("/x")).is_err());
    }
}
