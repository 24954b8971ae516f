//! `--userns-remap`: whose subordinate ids containers get, and where what is theirs stands.
//!
//! As in Docker: the ranges are those of /etc/subuid and /etc/subgid for a user of the host, in
//! their order, and all of the daemon's state is in a directory of its own, `UID.GID` of the
//! containers' root, for files that are owned by mapped ids serve no other mapping.

mod accounts;
mod ranges;
mod user;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;

use skep_idmap::IdMaps;

use self::accounts::{Accounts, Host};
use crate::config::Config;

/// Docker's word for a user that is made, and that user's name.
const DEFAULT: &str = "default";
const DEFAULT_USER: &str = "dockremap";

const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";

/// Why containers cannot be remapped so. Where Docker has words, they are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum RemapError {
    #[error("invalid user/group specification in --userns-remap: {0:?}")]
    Specification(String),
    #[error("uid {0} has no entry in /etc/passwd")]
    NoUid(u32),
    #[error("gid {0} has no entry in /etc/group")]
    NoGid(u32),
    #[error("error during uid lookup for {0:?}: no matching entries in passwd file")]
    NoUser(String),
    #[error("error during gid lookup for {0:?}: no matching entries in group file")]
    NoGroup(String),
    #[error("can't create ID mappings: no {kind} ranges found for user {user:?} in {file}")]
    NoRanges { kind: &'static str, user: String, file: &'static str },
    #[error("can't create ID mappings: {file}: {reason}")]
    Ranges { file: &'static str, reason: String },
    #[error("error during {user:?} user creation: {reason}")]
    Creation { user: &'static str, reason: String },
    #[error("cannot create daemon root: {path}")]
    Root { path: String, source: io::Error },
}

/// Turns what was asked for into maps and a place; a configuration that asks for nothing stays.
pub fn settle(mut config: Config) -> Result<Config, RemapError> {
    let asked = std::mem::take(&mut config.userns_remap);
    if asked.is_empty() {
        return Ok(config);
    }
    if asked == DEFAULT && Host.user(DEFAULT_USER).is_none() {
        user::create(DEFAULT_USER)?;
    }
    let spec = if asked == DEFAULT { DEFAULT_USER } else { &asked };
    let remapped = accounts::parse(spec, &Host)?;
    if remapped.name == "root" {
        tracing::warn!(
            "User namespaces: root cannot be remapped with itself; user namespaces are OFF"
        );
        return Ok(config);
    }
    tracing::info!(
        user = remapped.name,
        "User namespaces: ID ranges will be mapped to subuid/subgid ranges"
    );
    let read = |kind: &'static str, file: &'static str| {
        let text = fs::read_to_string(file)
            .map_err(|error| RemapError::Ranges { file, reason: error.to_string() })?;
        let found = ranges::of(&text, &remapped.name, remapped.uid);
        let found = found.map_err(|reason| RemapError::Ranges { file, reason })?;
        match found.is_empty() {
            true => Err(RemapError::NoRanges { kind, user: remapped.name.clone(), file }),
            false => Ok(found),
        }
    };
    let maps = IdMaps { uids: read("subuid", SUBUID)?, gids: read("subgid", SUBGID)? };
    let (uid, gid) = maps.root();
    config.data_root = make_root(&config.data_root, uid, gid)?;
    let_pass(&config.exec_root)?;
    config.id_maps = Some(maps);
    Ok(config)
}

/// The containers' root has to go through the run directory while a container is made. Nothing can be
/// listed by it.
fn let_pass(exec_root: &Path) -> Result<(), RemapError> {
    let made = DirBuilder::new().recursive(true).mode(0o711).create(exec_root);
    made.and_then(|()| fs::metadata(exec_root))
        .and_then(|found| {
            let open = found.permissions().mode() | 0o111;
            fs::set_permissions(exec_root, fs::Permissions::from_mode(open))
        })
        .map_err(|source| RemapError::Root { path: exec_root.display().to_string(), source })
}

/// The containers' root may pass through, and nobody else may look into it.
fn make_root(data_root: &Path, uid: u32, gid: u32) -> Result<std::path::PathBuf, RemapError> {
    let root = data_root.join(format!("{uid}.{gid}"));
    let made = DirBuilder::new().recursive(true).mode(0o710).create(&root);
    made.and_then(|()| chown(&root, None, Some(gid)))
        .map_err(|source| RemapError::Root { path: root.display().to_string(), source })?;
    Ok(root)
}
