//! Archives, kind and hostile, unpacked for real. Whiteouts and owners need privilege.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;

/// A directory to unpack into, in a directory whose every change would be seen.
struct Place {
    outer: TempDir,
}

impl Place {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("layer")).unwrap();
        fs::create_dir(outer.path().join("outside")).unwrap();
        fs::write(outer.path().join("outside/victim"), "untouched").unwrap();
        Self { outer }
    }

    fn layer(&self) -> PathBuf {
        self.outer.path().join("layer")
    }

    fn unpack(&self, archive: Vec<u8>) -> Result<Unpacked> {
        unpack(archive.as_slice(), &self.layer(), &Limits::default(), &IdMaps::default())
    }

    /// What stands outside of the layer, with the number of links of each.
    fn outside(&self) -> BTreeSet<(PathBuf, u64, u64, Vec<u8>)> {
        let mut found = BTreeSet::new();
        for dir in [self.outer.path().to_owned(), self.outer.path().join("outside")] {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                if meta.is_file() {
                    found.insert((path.clone(), meta.nlink(), 0, fs::read(&path).unwrap()));
                } else if path != self.layer() {
                    found.insert((path, 0, meta.mode().into(), Vec::new()));
                }
            }
        }
        found
    }
}

/// An archive in the making.
struct Archive(Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn add(mut self, kind: EntryType, name: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        // Written as bytes: the crate itself would refuse hostile names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.add(EntryType::Regular, name, "", 0o644, content.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.add(EntryType::Directory, name, "", 0o750, b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name, target, 0o777, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Link, name, target, 0o644, b"")
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// The value of an attribute of a file.
fn attribute_of(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut value = [0u8; 64];
    // SAFETY: path and name live through the call, and the length given is the buffer's.
    let length = unsafe {
        libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    usize::try_from(length).ok().map(|length| value[..length].to_vec())
}

fn privileged() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIP: unpacking owners and devices needs root");
    }
    root
}

#[test]
fn everything_keeps_what_it_is() {
    if !privileged() {
        return;
    }
    let place = Place::new();
    let mut archive = Archive::new()
        .dir("./")
        .dir("dir/")
        .file("dir/file", "hello")
        .hard_link("dir/twin", "/dir/file")
        .symlink("link", "/etc/passwd")
        .add(EntryType::Char, "null", "", 0o666, b"")
        .add(EntryType::Block, "disk", "", 0o660, b"")
        .add(EntryType::Fifo, "pipe", "", 0o600, b"")
        .add(EntryType::Regular, "suid", "", 0o4755, b"x")
        .file("implied/child", "");
    archive
        .0
        .append_pax_extensions([
            ("SCHILY.xattr.user.note", b"kept".as_slice()),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/secret"),
            ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ])
        .unwrap();
    let archive = archive.file("marked", "").done();
    let expected = Digest::of(&archive);
    let unpacked = place.unpack(archive).unwrap();
    assert_eq!(unpacked, Unpacked { diff_id: expected, size: 6 });

    let meta = |name: &str| fs::symlink_metadata(place.layer().join(name)).unwrap();
    for name in ["", "dir", "dir/file", "link", "null", "disk", "pipe", "suid", "marked"] {
        let meta = meta(name);
        assert_eq!((meta.uid(), meta.gid(), meta.mtime()), (12, 34, 1_000_000), "{name}");
    }
    assert_eq!(meta("dir").mode() & 0o7777, 0o750);
    assert_eq!(meta("suid").mode() & 0o7777, 0o4755);
    assert_eq!(meta("implied").mode() & 0o7777, 0o755);
    assert_eq!(meta("dir/file").ino(), meta("dir/twin").ino());
    assert_eq!(fs::read_link(place.layer().join("link")).unwrap(), Path::new("/etc/passwd"));
    assert!(meta("null").file_type().is_char_device() && meta("null").rdev() == makedev(1, 3));
    assert!(meta("disk").file_type().is_block_device());
    assert!(meta("pipe").file_type().is_fifo());
    let marked = place.layer().join("marked");
    assert_eq!(attribute_of(&marked, c"user.note").as_deref(), Some(b"kept".as_slice()));
    assert!(attribute_of(&marked, c"security.capability").is_some());
    assert_eq!(attribute_of(&marked, c"trusted.overlay.redirect"), None);
}

#[test]
fn whiteouts_take_overlayfs_form() {
    if !privileged() {
        return;
    }
    let place = Place::new();
    let archive = Archive::new()
        .file("a/.wh.gone", "")
        .dir("b")
        .file("b/kept", "")
        .file("b/.wh..wh..opq", "")
        .file(".wh..wh.plnk/books", "")
        .file(".wh.remade", "")
        .file("remade/inside", "")
        .file(".wh.again", "")
        .dir("again")
        .dir("later")
        .file(".wh.later", "")
        .file("file", "stays")
        .file(".wh.file", "")
        .done();
    place.unpack(archive).unwrap();
    let at = |name: &str| place.layer().join(name);
    let gone = fs::symlink_metadata(at("a/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    for opaque in ["b", "remade", "again", "later"] {
        let value = attribute_of(&at(opaque), xattr::OPAQUE);
        assert_eq!(value.as_deref(), Some(b"y".as_slice()), "{opaque}");
    }
    assert_eq!(attribute_of(&at("a"), xattr::OPAQUE), None);
    assert!(at("b/kept").exists() && at("remade/inside").exists());
    assert_eq!(fs::read(at("file")).unwrap(), b"stays");
    let names: BTreeSet<_> =
        fs::read_dir(place.layer()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.as_bytes().starts_with(b".wh.")), "{names:?}");
}

#[test]
fn later_entries_replace_earlier_ones() {
    if !privileged() {
        return;
    }
    let place = Place::new();
    let archive = Archive::new()
        .file("a", "one")
        .file("a", "two")
        .file("d/x", "")
        .dir("d")
        .file("tree/sub/x", "")
        .file("tree", "now a file")
        .symlink("link", "d")
        .dir("link")
        .done();
    place.unpack(archive).unwrap();
    let at = |name: &str| place.layer().join(name);
    assert_eq!(fs::read(at("a")).unwrap(), b"two");
    assert!(at("d/x").exists(), "a directory that comes twice keeps its content");
    assert_eq!(fs::read(at("tree")).unwrap(), b"now a file");
    assert!(fs::symlink_metadata(at("link")).unwrap().is_dir());
}

#[test]
fn links_on_the_way_are_those_of_the_container() {
    if !privileged() {
        return;
    }
    let place = Place::new();
    let archive = Archive::new()
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("usr/abs", "/usr/lib")
        .symlink("usr/lib/up", "..")
        .file("lib/a", "")
        .file("usr/abs/b", "")
        .file("lib/up/c", "")
        .file("/d/../rooted", "")
        .done();
    place.unpack(archive).unwrap();
    for name in ["usr/lib/a", "usr/lib/b", "usr/c", "rooted"] {
        assert!(place.layer().join(name).exists(), "{name}");
    }
}

#[test]
fn hostile_archives_are_refused_and_touch_nothing_outside() {
    if !privileged() {
        return;
    }
    let check = |archive: Archive, expected: &str| {
        let place = Place::new();
        let before = place.outside();
        let error = place.unpack(archive.done()).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?}, got {error:?}");
        assert_eq!(place.outside(), before);
    };
    let new = Archive::new;
    check(new().file("../outside/victim", "x"), "leads out");
    check(new().file("a/../../outside/victim", "x"), "leads out");
    check(new().file("/../outside/victim", "x"), "leads out");
    check(new().symlink("up", "../outside").file("up/victim", "x"), "leads out");
    check(new().symlink("up", "/..").file("up/outside/victim", "x"), "leads out");
    check(
        new().dir("a").symlink("a/up", "..").symlink("b", "a/up/..").file("b/x", ""),
        "leads out",
    );
    check(new().symlink("up", "..").file("up/.wh.outside", ""), "leads out");
    check(new().symlink("up", "..").file("up/.wh..wh..opq", ""), "leads out");
    check(new().hard_link("x", "../outside/victim"), "leads out");
    check(new().symlink("up", "..").hard_link("x", "up/outside/victim"), "leads out");
    check(new().hard_link("x", "/outside/victim"), "not there");
    check(new().hard_link("x", "absent"), "not there");
    check(new().dir("d").hard_link("x", "d"), "hard link to the directory");
    check(new().hard_link("x", "/"), "hard link to the archive's root");
    check(new().symlink("a", "b").symlink("b", "a").file("a/x", ""), "too many links");
    check(new().file("f", "").file("f/x", ""), "not a directory");
    check(new().file(".wh...", ""), "whiteout of no name");
    check(new().file(".wh.", ""), "whiteout of no name");
    check(new().file(".", ""), "must be a directory");
    check(new().symlink("..", "x"), "leads out");
}

#[test]
fn an_absolute_link_leads_into_the_layer_not_out_of_it() {
    if !privileged() {
        return;
    }
    let place = Place::new();
    let before = place.outside();
    let outside = place.outer.path().join("outside");
    let archive = Archive::new().symlink("l", outside.to_str().unwrap()).file("l/victim", "x");
    // As in a chroot: the link is followed from the layer's own root.
    place.unpack(archive.done()).unwrap();
    assert_eq!(place.outside(), before);
    let inner = place.layer().join(outside.strip_prefix("/").unwrap()).join("victim");
    assert_eq!(fs::read(inner).unwrap(), b"x");
}

#[test]
fn a_symbolic_link_is_replaced_not_written_through() {
    if !privileged() {
        return;
    }
    let place = Place::new();
    let victim = place.outer.path().join("outside/victim");
    let before = place.outside();
    let archive = Archive::new()
        .symlink("x", victim.to_str().unwrap())
        .file("x", "replaced")
        .symlink("y", victim.to_str().unwrap())
        .hard_link("z", "y")
        .file("z", "replaced");
    place.unpack(archive.done()).unwrap();
    assert_eq!(place.outside(), before);
    assert_eq!(fs::read(place.layer().join("x")).unwrap(), b"replaced");
}

#[test]
fn bombs_are_stopped() {
    if !privileged() {
        return;
    }
    let limits = Limits { layer_entries: 10, layer_bytes: 1 << 20, ..Limits::default() };
    let check = |archive: Vec<u8>, expected: &str| {
        let place = Place::new();
        let error = unpack(archive.as_slice(), &place.layer(), &limits, &IdMaps::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    let many = (0..11).fold(Archive::new(), |archive, n| archive.file(&format!("f{n}"), ""));
    check(many.done(), "more than 10 entries");
    check(Archive::new().file("f", &"x".repeat(2 << 20)).done(), "larger than is allowed");
    // Also what is behind the archive's end counts.
    let mut padded = Archive::new().file("f", "").done();
    padded.resize(2 << 20, 0);
    check(padded, "larger than is allowed");
    // A path that grows by a link on each step.
    let deep = format!("{}x", "d/".repeat(49));
    let mut archive = Archive::new().dir("d");
    archive = archive.symlink("d/d", "/d").file(&deep, "");
    check(archive.done(), "too many links");
    let mut name = Vec::new();
    for _ in 0..300 {
        name.extend_from_slice(b"a/");
    }
    assert!(matches!(InnerPath::parse(&name), Err(Refusal::Hostile(_))));
}
