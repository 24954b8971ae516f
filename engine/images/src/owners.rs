//! Owners in archives and owners on disk, which differ where containers have a user namespace.
//!
//! An archive names ids as the container counts them; the files of a store that is remapped are
//! owned by those ids' counterparts on the host.

use skep_idmap::IdMaps;

use crate::tar_reader::TarEntry;

/// File capabilities, which hold in one user namespace: that of the root they name.
const CAPABILITY: &str = "security.capability";
/// `VFS_CAP_REVISION_2` and `_3` of `linux/capability.h`; the third adds whose root is meant.
const REVISION: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const REVISION_2_BYTES: usize = 20;
const REVISION_3_BYTES: usize = 24;

/// An entry of an archive as it is to stand on disk; Docker's words where it cannot.
pub(crate) fn to_disk(entry: &mut TarEntry, ids: &IdMaps) -> Result<(), String> {
    if ids.is_identity() {
        return Ok(());
    }
    let unknown = |id: u32| format!("Container ID {id} cannot be mapped to a host ID");
    entry.uid = ids.uid_outside(entry.uid).ok_or_else(|| unknown(entry.uid))?;
    entry.gid = ids.gid_outside(entry.gid).ok_or_else(|| unknown(entry.gid))?;
    for (_, value) in entry.xattrs.iter_mut().filter(|(name, _)| name == CAPABILITY) {
        if value.len() == REVISION_2_BYTES && revision(value) == REVISION_2 {
            set_revision(value, REVISION_3);
            value.extend(ids.root().0.to_le_bytes());
        }
    }
    Ok(())
}

/// What stands on disk as an archive is to name it. An id that the container knows nothing of (a
/// file of the host's in a bind, or one that was written with the host's user namespace) keeps its
/// number.
pub(crate) fn from_disk(entry: &mut TarEntry, ids: &IdMaps) {
    if ids.is_identity() {
        return;
    }
    entry.uid = ids.uid_inside(entry.uid).unwrap_or(entry.uid);
    entry.gid = ids.gid_inside(entry.gid).unwrap_or(entry.gid);
    for (_, value) in entry.xattrs.iter_mut().filter(|(name, _)| name == CAPABILITY) {
        let root = value.get(REVISION_2_BYTES..REVISION_3_BYTES);
        let root = root.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        if revision(value) == REVISION_3 && root == Some(ids.root().0) {
            set_revision(value, REVISION_2);
            value.truncate(REVISION_2_BYTES);
        }
    }
}

fn head(value: &[u8]) -> u32 {
    let head = value.get(..4).and_then(|bytes| bytes.try_into().ok());
    head.map_or(0, u32::from_le_bytes)
}

fn revision(value: &[u8]) -> u32 {
    head(value) & REVISION
}

fn set_revision(value: &mut [u8], revision: u32) {
    let changed = head(value) & !REVISION | revision;
    value[..4].copy_from_slice(&changed.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use skep_idmap::IdRange;

    use super::*;
    use crate::tar_reader::Kind;

    fn entry(uid: u32, gid: u32, xattrs: Vec<(String, Vec<u8>)>) -> TarEntry {
        TarEntry {
            path: b"file".to_vec(),
            link: Vec::new(),
            kind: Kind::File,
            mode: 0o644,
            uid,
            gid,
            mtime: (0, 0),
            device: (0, 0),
            xattrs,
            size: 0,
        }
    }

    #[test]
    fn owners_and_capabilities_go_to_disk_and_come_back() {
        let range = |outside| IdRange { inside: 0, outside, count: 1000 };
        let ids = IdMaps { uids: vec![range(100_000)], gids: vec![range(200_000)] };
        // CAP_NET_RAW, effective.
        let plain = [&0x0200_0001u32.to_le_bytes()[..], &[0, 0x20, 0, 0], &[0; 12]].concat();
        let given = entry(33, 34, vec![(CAPABILITY.to_owned(), plain.clone())]);
        let mut on_disk = given.clone();
        to_disk(&mut on_disk, &ids).unwrap();
        assert_eq!((on_disk.uid, on_disk.gid), (100_033, 200_034));
        let value = &on_disk.xattrs[0].1;
        assert_eq!((value.len(), head(value)), (24, 0x0300_0001));
        assert_eq!(value[20..], 100_000u32.to_le_bytes());
        from_disk(&mut on_disk, &ids);
        assert_eq!(on_disk, given);

        let mut foreign = entry(5, 100_000, Vec::new());
        from_disk(&mut foreign, &ids);
        assert_eq!((foreign.uid, foreign.gid), (5, 100_000));
        let said = to_disk(&mut entry(1000, 0, Vec::new()), &ids).unwrap_err();
        assert_eq!(said, "Container ID 1000 cannot be mapped to a host ID");
        let mut same = given.clone();
        to_disk(&mut same, &IdMaps::default()).unwrap();
        assert_eq!(same, given);
    }
}
