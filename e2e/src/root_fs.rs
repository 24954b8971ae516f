//! The root file system that tests run: Debian's static busybox, all of its applets, two users.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{limits, run};

const BUSYBOX: &str = "/bin/busybox";

/// Name, mode and contents of what lies in the image beside busybox. `bee` is a user that is not
/// root and is in a group of another number.
const FILES: &[(&str, u32, &str)] = &[
    ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nbee:x:1000:1001:bee:/home/bee:/bin/sh\n"),
    ("etc/group", 0o644, "root:x:0:\nbees:x:1001:bee\nwax:x:1002:bee\n"),
    ("www/index.html", 0o644, "hello from the hive\n"),
];

/// Writes the root file system as a tar archive to `archive`, in one step: another run of the tests
/// may be reading it.
pub fn busybox(archive: &Path) -> Result<()> {
    let place = archive.parent().context("an archive has a place")?;
    let dir = tempfile::tempdir_in(place).context("failed to make a directory for an image")?;
    let root = dir.path().join("root");
    fill(&root).with_context(|| format!("failed to make {}", root.display()))?;
    let made = dir.path().join("busybox.tar");
    let mut tar = Command::new("tar");
    tar.arg("--numeric-owner").arg("-C").arg(&root).arg("-cf").arg(&made).arg(".");
    run::checked(tar, b"", limits::TOOL_WITHIN)?;
    fs::rename(&made, archive).with_context(|| format!("failed to make {}", archive.display()))
}

fn fill(root: &Path) -> Result<()> {
    for dir in ["bin", "etc", "home/bee", "root", "tmp", "www", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    std::os::unix::fs::chown(root.join("home/bee"), Some(1000), Some(1001))?;
    for (name, mode, text) in FILES {
        let path: PathBuf = root.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).context("is busybox-static installed?")?;
    let mut list = Command::new(BUSYBOX);
    list.arg("--list");
    let applets = run::checked(list, b"", limits::TOOL_WITHIN)?;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    Ok(())
}
