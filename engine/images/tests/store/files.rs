//! Files in a container's root: kind paths and archives, and hostile ones.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use skep_idmap::IdMaps;
use skep_images::{Bind, FileError, Owner, RootDir, WriteOptions};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use crate::archives::{gzip, zstd};
use crate::privileged;

/// A root in a directory whose every change would be seen.
struct Place {
    outer: TempDir,
    root: RootDir,
}

impl Place {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        for dir in ["root/etc", "root/data", "outside"] {
            fs::create_dir_all(outer.path().join(dir)).unwrap();
        }
        fs::write(outer.path().join("outside/victim"), "untouched").unwrap();
        fs::write(outer.path().join("root/etc/conf"), "conf").unwrap();
        let root = RootDir::open(&outer.path().join("root")).unwrap();
        Self { outer, root }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.outer.path().join("root").join(path)
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.at(name)).unwrap();
    }

    async fn write(&self, path: &str, archive: Vec<u8>) -> Result<(), FileError> {
        self.write_with(path, archive, WriteOptions::default()).await
    }

    async fn write_with(
        &self,
        path: &str,
        archive: Vec<u8>,
        options: WriteOptions,
    ) -> Result<(), FileError> {
        // In pieces that end anywhere.
        let pieces: Vec<_> =
            archive.chunks(700).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        self.root.write(path, futures::stream::iter(pieces), options).await
    }

    fn assert_outside_untouched(&self) {
        let outside = self.outer.path().join("outside");
        let names: Vec<_> =
            fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["victim"]);
        let victim = outside.join("victim");
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1);
        assert_eq!(fs::read_dir(self.outer.path()).unwrap().count(), 2);
    }
}

/// An archive in the making, with names that the crate itself would refuse.
struct Archive(Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn add(mut self, kind: EntryType, name: &str, link: &str, content: &str) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o750 } else { 0o640 });
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        if kind == EntryType::Char {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.append(&header, content.as_bytes()).unwrap();
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.add(EntryType::Regular, name, "", content)
    }

    fn dir(self, name: &str) -> Self {
        self.add(EntryType::Directory, name, "", "")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name, target, "")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Link, name, target, "")
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// `NAME`, `NAME -> LINK` or `NAME = CONTENT`, in the archive's order.
fn entries(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        if let Some(link) = entry.link_name_bytes() {
            return format!("{name} -> {}", String::from_utf8(link.into_owned()).unwrap());
        }
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        if content.is_empty() { name } else { format!("{name} = {content}") }
    });
    entries.collect()
}

async fn read(root: &RootDir, path: &str) -> Vec<String> {
    let (_, stream) = root.read(path).await.unwrap();
    let bytes: Vec<Bytes> = stream.try_collect().await.unwrap();
    entries(&bytes.concat())
}

#[tokio::test]
async fn paths_are_described_and_links_lead_to_places_in_the_container() {
    let place = Place::new();
    place.link("/etc", "abs");
    place.link("../../../../data", "etc/up");
    place.link("abs/../etc/conf", "chain");
    place.link("/gone/x", "broken");
    place.link("loop", "loop");
    let check = async |path: &str, name: &str, dir: bool, target: &str| {
        let info = place.root.stat(path).await.unwrap();
        let is_dir = info.mode & libc_mode::FMT == libc_mode::DIR;
        let got = (info.name.as_str(), is_dir, info.link_target.as_str());
        assert_eq!(got, (name, dir, target), "{path}");
    };
    check("/etc/conf", "conf", false, "").await;
    check("etc", "etc", true, "").await;
    check("/", "/", true, "").await;
    check("/etc/.", ".", true, "").await;
    check("/../../etc/../etc/", "etc", true, "").await;
    check("/abs", "abs", false, "/etc").await;
    check("/abs/", "abs", true, "").await;
    check("/abs/.", ".", true, "").await;
    check("/abs/conf", "conf", false, "").await;
    check("/etc/up", "up", false, "/data").await;
    check("/chain", "chain", false, "/etc/conf").await;
    check("/broken", "broken", false, "/gone/x").await;
    let info = place.root.stat("/etc/conf").await.unwrap();
    assert_eq!(info.size, 4);
    assert!(info.mtime.unix_timestamp() > 1_000_000_000);

    let refused = async |path: &str| place.root.stat(path).await.unwrap_err();
    assert!(matches!(refused("/absent").await, FileError::NotFound { path } if path == "/absent"));
    assert!(matches!(refused("/etc/conf/").await, FileError::NotDirectory { .. }));
    assert!(matches!(refused("/broken/").await, FileError::NotFound { .. }));
    assert!(matches!(refused("/loop").await, FileError::InvalidPath { .. }));
    assert!(matches!(refused("/a\0b").await, FileError::InvalidPath { .. }));
    // Links of any height stay inside.
    place.link("../../outside", "out");
    assert!(matches!(refused("/out/victim").await, FileError::NotFound { .. }));
}

/// Kinds of files, as in stat(2).
mod libc_mode {
    pub const FMT: u32 = 0o170000;
    pub const DIR: u32 = 0o040000;
}

#[tokio::test]
async fn archives_have_the_names_that_docker_cp_expects() {
    let place = Place::new();
    fs::write(place.at("data/a"), "a").unwrap();
    fs::hard_link(place.at("data/a"), place.at("data/b")).unwrap();
    fs::create_dir(place.at("data/sub")).unwrap();
    let long = "l".repeat(150);
    fs::write(place.at("data/sub").join(&long), "long").unwrap();
    place.link("../etc", "data/link");
    place.link("/data", "to-data");
    let _socket = UnixListener::bind(place.at("data/socket")).unwrap();
    nix::unistd::mkfifo(&place.at("data/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let in_data = |prefix: &str| {
        vec![
            format!("{prefix}/"),
            format!("{prefix}/a = a"),
            format!("{prefix}/b -> {prefix}/a"),
            format!("{prefix}/link -> ../etc"),
            format!("{prefix}/pipe"),
            format!("{prefix}/sub/"),
            format!("{prefix}/sub/{long} = long"),
        ]
    };
    assert_eq!(read(&place.root, "/data").await, in_data("data"));
    assert_eq!(read(&place.root, "/data/").await, in_data("data"));
    assert_eq!(read(&place.root, "/data/.").await, in_data("."));
    assert_eq!(read(&place.root, "/to-data/").await, in_data("to-data"));
    assert_eq!(read(&place.root, "/to-data").await, ["to-data -> /data"]);
    assert_eq!(read(&place.root, "/data/b").await, ["b = a"]);
    assert_eq!(read(&place.root, "/to-data/a").await, ["a = a"]);
    let all = read(&place.root, "/").await;
    assert_eq!(&all[..2], ["/", "/data/"]);
    assert!(all.contains(&"/data/b -> /data/a".to_owned()), "{all:?}");

    let exported: Vec<Bytes> = place.root.export().try_collect().await.unwrap();
    let mut expected = in_data("data");
    expected.extend(["etc/", "etc/conf = conf", "to-data -> /data"].map(str::to_owned));
    assert_eq!(entries(&exported.concat()), expected);
}

#[tokio::test]
async fn a_stream_that_is_dropped_ends_the_reading() {
    let place = Place::new();
    let mut file = fs::File::create(place.at("data/big")).unwrap();
    file.write_all(&vec![1; 8 << 20]).unwrap();
    drop(file);
    let (info, mut stream) = place.root.read("/data/big").await.unwrap();
    assert_eq!(info.size, 8 << 20);
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    // The runtime waits for its threads when the test ends: one that went on would show here.
}

#[tokio::test]
async fn other_mounts_are_followed_by_reading_and_left_out_by_an_export() {
    if !privileged("mounting") {
        return;
    }
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    struct Unmount(Vec<PathBuf>);
    impl Drop for Unmount {
        fn drop(&mut self) {
            for path in self.0.iter().rev() {
                let _ = umount2(path, MntFlags::MNT_DETACH);
            }
        }
    }
    let place = Place::new();
    fs::create_dir(place.at("proc")).unwrap();
    fs::write(place.outer.path().join("outside/victim"), "volume").unwrap();
    let none: Option<&str> = None;
    let bind = |from: &Path, to: &Path| {
        mount(Some(from), to, none, MsFlags::MS_BIND, none).unwrap();
        Unmount(vec![to.to_owned()])
    };
    let outside = place.outer.path().join("outside");
    let _volume = bind(&outside, &place.at("data"));
    let _file = bind(&outside.join("victim"), &place.at("etc/conf"));
    let proc = place.at("proc");
    mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), none).unwrap();
    let _proc = Unmount(vec![proc]);

    let all = read(&place.root, "/.").await;
    let expected =
        ["./", "./data/", "./data/victim = volume", "./etc/", "./etc/conf = volume", "./proc/"];
    assert_eq!(all, expected);
    assert_eq!(read(&place.root, "/proc").await, ["proc/"]);
    assert!(matches!(place.root.stat("/proc/self/status").await, Err(FileError::Kernel { .. })));
    // The magic links of /proc lead out for everybody else.
    assert!(place.root.stat("/proc/1/root/etc/").await.is_err());
    let exported: Vec<Bytes> = place.root.export().try_collect().await.unwrap();
    assert_eq!(entries(&exported.concat()), ["data/", "etc/", "proc/"]);
}

#[tokio::test]
async fn archives_are_unpacked_plain_and_packed() {
    if !privileged("changing owners") {
        return;
    }
    let archive = Archive::new()
        .dir("./")
        .dir("d/")
        .file("d/f", "content")
        .hard_link("d/h", "d/f")
        .symlink("d/l", "/etc/conf")
        .add(EntryType::Char, "d/null", "", "")
        .file("implied/dir/f", "x")
        .done();
    for packed in [archive.clone(), gzip(&archive), zstd(&archive)] {
        let place = Place::new();
        fs::set_permissions(place.at("data"), fs::Permissions::from_mode(0o700)).unwrap();
        place.write("/data", packed).await.unwrap();
        let meta = fs::metadata(place.at("data/d/f")).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (12, 34, 0o640));
        assert_eq!((meta.mtime(), meta.nlink()), (1_000_000, 2));
        assert_eq!(fs::metadata(place.at("data/d")).unwrap().mtime(), 1_000_000);
        assert_eq!(fs::read_link(place.at("data/d/l")).unwrap().to_str(), Some("/etc/conf"));
        assert_eq!(fs::metadata(place.at("data/d/null")).unwrap().rdev(), 0x103);
        let implied = fs::metadata(place.at("data/implied/dir")).unwrap();
        assert_eq!((implied.uid(), implied.mode() & 0o7777), (0, 0o755));
        // What it is unpacked into keeps its own mode.
        assert_eq!(fs::metadata(place.at("data")).unwrap().mode() & 0o7777, 0o700);
    }
    let place = Place::new();
    let owner = Some(Owner { uid: 7, gid: 8 });
    let options = WriteOptions { owner, ..WriteOptions::default() };
    place.write_with("/", archive, options).await.unwrap();
    for path in ["d", "d/f", "d/null"] {
        let meta = fs::metadata(place.at(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (7, 8), "{path}");
    }
    place.write("/data", Vec::new()).await.unwrap();
    let refused = place.write("/data", b"BZh91AY&SY".to_vec()).await.unwrap_err().to_string();
    assert!(refused.contains("bzip2"), "{refused}");
    let refused = place.write("/data", vec![7; 2000]).await.unwrap_err().to_string();
    assert!(refused.contains("not a tar archive"), "{refused}");
    let cut = Archive::new().file("cut", &"x".repeat(2000)).done()[..1500].to_vec();
    assert!(place.write("/data", cut).await.is_err());
}

#[tokio::test]
async fn what_is_there_is_replaced_unless_that_is_refused() {
    if !privileged("changing owners") {
        return;
    }
    let place = Place::new();
    fs::write(place.at("data/old"), "old").unwrap();
    place.write("/data", Archive::new().dir("old").file("old/in", "x").done()).await.unwrap();
    assert!(place.at("data/old/in").exists());
    place.write("/data", Archive::new().file("old", "new").done()).await.unwrap();
    assert_eq!(fs::read(place.at("data/old")).unwrap(), b"new");
    fs::create_dir(place.at("data/dir")).unwrap();
    fs::write(place.at("data/dir/kept"), "").unwrap();
    place.write("/data", Archive::new().dir("dir/").file("dir/more", "x").done()).await.unwrap();
    assert!(place.at("data/dir/kept").exists());

    let strict = WriteOptions { no_overwrite_dir_non_dir: true, ..WriteOptions::default() };
    let refused = place
        .write_with("/data", Archive::new().file("dir", "x").done(), strict)
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"cannot overwrite directory "/data/dir" with non-directory "dir""#
    );
    let refused =
        place.write_with("/data", Archive::new().dir("old").done(), strict).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"cannot overwrite non-directory "/data/old" with directory "old""#
    );
    assert!(place.at("data/dir/kept").exists());

    assert!(matches!(
        place.write("/absent", Archive::new().done()).await,
        Err(FileError::NotFound { .. })
    ));
    assert!(matches!(
        place.write("/etc/conf", Archive::new().done()).await,
        Err(FileError::NotDirectory { .. })
    ));
}

#[tokio::test]
async fn links_are_followed_as_the_container_would() {
    if !privileged("changing owners") {
        return;
    }
    let place = Place::new();
    place.link("/etc", "data/etc");
    place.link("../../../../../../etc", "data/up");
    place.link("/data", "to-data");
    let archive = Archive::new().file("etc/one", "1").file("up/two", "2").file("new/three", "3");
    place.write("/to-data", archive.done()).await.unwrap();
    assert_eq!(fs::read(place.at("etc/one")).unwrap(), b"1");
    assert_eq!(fs::read(place.at("etc/two")).unwrap(), b"2");
    assert_eq!(fs::read(place.at("data/new/three")).unwrap(), b"3");
    place.assert_outside_untouched();
}

#[tokio::test]
async fn hostile_archives_never_leave_the_root() {
    if !privileged("changing owners") {
        return;
    }
    let check = async |archive: Archive, expected: &str| {
        let place = Place::new();
        let error = place.write("/data", archive.done()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        place.assert_outside_untouched();
    };
    let new = Archive::new;
    check(new().file("../x", ""), "leads out").await;
    check(new().file("a/../../x", ""), "leads out").await;
    check(new().hard_link("x", "../../outside/victim"), "leads out").await;
    check(new().hard_link("x", "/outside/victim"), "not there").await;
    check(new().symlink("up", "../..").hard_link("x", "up/outside/victim"), "not there").await;
    check(new().dir("d").hard_link("x", "d"), "hard link to the directory").await;
    check(new().hard_link("x", "/"), "hard link to the archive's root").await;
    check(new().symlink("a", "b").symlink("b", "a").file("a/x", ""), "too many links").await;
    check(new().symlink("a", "/nowhere").file("a/x", ""), "leads nowhere").await;
    check(new().file("f", "").file("f/x", ""), "no directory").await;
    check(new().file(".", ""), "must be a directory").await;
    check(new().symlink("p", "/proc/self/root").file("p/x", ""), "leads nowhere").await;

    // Those that mean a place in the container end there.
    let place = Place::new();
    let outside = place.outer.path().join("outside");
    let archive = new()
        .file("/absolute", "x")
        .symlink("up", "../../..")
        .file("up/climbed", "x")
        .symlink("over", outside.join("victim").to_str().unwrap())
        .file("over", "replaced")
        .symlink("again", outside.join("victim").to_str().unwrap())
        .hard_link("alias", "again")
        .file("alias", "replaced");
    place.write("/data", archive.done()).await.unwrap();
    place.assert_outside_untouched();
    assert!(place.at("data/absolute").exists());
    assert!(place.at("climbed").exists());
    assert_eq!(fs::read(place.at("data/over")).unwrap(), b"replaced");
}

/// A container that swaps a directory for a link all the time, while it is written to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_changes_its_links_meanwhile_leads_nobody_out() {
    if !privileged("changing owners") {
        return;
    }
    let place = Place::new();
    let (dir, link) = (place.at("data/d"), place.at("data/l"));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("victim"), "inside").unwrap();
    symlink("../../outside", &link).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use nix::fcntl::{RenameFlags, renameat2};
            let here = nix::fcntl::AT_FDCWD;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                renameat2(here, &dir, here, &link, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            handle.block_on(async {
                for _ in 0..200 {
                    let archive = Archive::new().file("d/victim", "reached").dir("d/x").done();
                    let _ = place.write("/data", archive).await;
                    if let Ok((_, stream)) = place.root.read("/data").await
                        && let Ok(bytes) = stream.try_collect::<Vec<Bytes>>().await
                    {
                        let all = entries(&bytes.concat()).join("\n");
                        assert!(!all.contains("untouched"), "{all}");
                    }
                }
            });
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    place.assert_outside_untouched();
}

#[tokio::test]
async fn the_volumes_of_a_container_that_does_not_run_are_where_they_would_be() {
    if !privileged("mounting") {
        return;
    }
    let place = Place::new();
    let (root, outside) = (place.outer.path().join("root"), place.outer.path().join("outside"));
    place.link("/data", "to-data");
    let bind = |source: &Path, target: &str, read_only| Bind {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    };
    let binds = vec![
        bind(&outside, "/to-data", false),
        bind(&outside, "/new/place", true),
        bind(&outside.join("victim"), "/etc/file", false),
    ];
    let assembled = RootDir::assemble(&root, binds, &IdMaps::default()).await.unwrap();
    assert_eq!(read(&assembled, "/data").await, ["data/", "data/victim = untouched"]);
    assert_eq!(read(&assembled, "/etc/file").await, ["file = untouched"]);
    let pieces = |name: &str| {
        futures::stream::iter([Ok(Bytes::from(Archive::new().file(name, "new").done()))])
    };
    assembled.write("/data", pieces("written"), WriteOptions::default()).await.unwrap();
    assert_eq!(fs::read(outside.join("written")).unwrap(), b"new");
    let refused =
        assembled.write("/new/place", pieces("x"), WriteOptions::default()).await.unwrap_err();
    assert!(matches!(refused, FileError::ReadOnly { .. }), "{refused:?}");

    // Nobody else sees the mounts, and an export leaves them out.
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(place.outer.path().to_str().unwrap()), "{table}");
    assert!(!place.at("data/written").exists());
    let exported: Vec<Bytes> = assembled.export().try_collect().await.unwrap();
    assert!(!entries(&exported.concat()).iter().any(|entry| entry.contains("victim")));
    let absent = vec![bind(&place.outer.path().join("absent"), "/x", false)];
    assert!(matches!(
        RootDir::assemble(&root, absent, &IdMaps::default()).await,
        Err(FileError::NotFound { path }) if path.ends_with("absent")
    ));
}

#[tokio::test]
async fn an_assembled_root_outlives_the_mount_that_it_was_made_of() {
    if !privileged("mounting") {
        return;
    }
    let (root, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(volume.path().join("kept"), "volume").unwrap();
    let store = crate::rootfs::store_with(root.path(), &[("file", "image")]).await;
    store.create_rootfs("c", "base").await.unwrap();
    let at = store.mount_rootfs("c").await.unwrap();
    let bind =
        Bind { source: volume.path().to_owned(), target: "/data".to_owned(), read_only: false };
    let here = std::env::current_dir().unwrap();
    let assembled = RootDir::assemble(&at, vec![bind], &IdMaps::default()).await.unwrap();
    store.unmount_rootfs("c").await.unwrap();
    assert!(!skep_images::is_mounted(&at).unwrap());
    assert_eq!(std::env::current_dir().unwrap(), here, "nobody else's directory moved");
    assert_eq!(read(&assembled, "/file").await, ["file = image"]);
    assert_eq!(read(&assembled, "/data").await, ["data/", "data/kept = volume"]);
    let archive = futures::stream::iter([Ok(Bytes::from(Archive::new().file("new", "x").done()))]);
    assembled.write("/", archive, WriteOptions::default()).await.unwrap();
    drop(assembled);
    let at = store.mount_rootfs("c").await.unwrap();
    assert_eq!(fs::read(at.join("new")).unwrap(), b"x");
    assert_eq!(fs::read_dir(at.join("data")).unwrap().count(), 0, "the volume is not its files");
    store.remove_rootfs("c").await.unwrap();
}
