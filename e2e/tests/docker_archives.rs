//! Archives that mean harm, sent to `cp`, `load` and `import`: nothing is changed outside of what
//! they are unpacked into, and what is wrong with them is said.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use skep_e2e::http::{Answer, exchange};
use skep_e2e::{Footprint, Host, IMAGE, Single};

/// One entry of a tar archive, as POSIX has it, with whatever a test puts into it.
struct Entry<'a> {
    kind: u8,
    name: &'a str,
    link: &'a str,
    content: &'a [u8],
    /// Told instead of the content's own.
    size: Option<u64>,
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> Entry<'a> {
    Entry { kind: b'0', name, link: "", content, size: None }
}

fn link<'a>(kind: u8, name: &'a str, link: &'a str) -> Entry<'a> {
    Entry { kind, name, link, content: b"", size: None }
}

const HARD: u8 = b'1';
const SYMBOLIC: u8 = b'2';
const CHARACTER: u8 = b'3';
const BLOCK: u8 = b'4';
const DIRECTORY: u8 = b'5';
const FIFO: u8 = b'6';

impl Entry<'_> {
    fn pack(&self, out: &mut Vec<u8>) {
        let mut head = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.name.as_bytes());
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        match self.size.unwrap_or(self.content.len() as u64) {
            // Beyond what fits in octal digits, as GNU tar writes it.
            size if size >= 1 << 33 => {
                put(124, &[0x80, 0, 0, 0]);
                put(128, &size.to_be_bytes());
            }
            size => put(124, format!("{size:011o}\0").as_bytes()),
        }
        put(136, b"00000000000\0");
        put(156, &[self.kind]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000010\0");
        put(337, b"0000007\0");
        put(148, b"        ");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(head);
        out.extend(self.content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

fn pack(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    entries.iter().for_each(|entry| entry.pack(&mut out));
    out.resize(out.len() + 1024, 0);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let gzip = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut gzip = gzip.unwrap();
    let mut input = gzip.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).unwrap());
        gzip.wait_with_output().unwrap().stdout
    })
}

/// What must not change: a directory of the host where hostile names lead to.
const BAIT: &str = "/tmp/bait";

fn lay_bait(host: &Host) {
    let script = format!("mkdir -p {BAIT}/dir && echo mine > {BAIT}/file && chmod 600 {BAIT}/file");
    host.check(&["sh", "-c", &script]).unwrap();
}

/// All names, kinds, modes, link counts and contents of what the host has in places where an
/// archive may lead.
fn bait(host: &Host) -> String {
    let script = format!(
        "find {BAIT} /etc/passwd /var/tmp -printf '%p %y %m %n %U %s\\n' | sort; cat {BAIT}/file /etc/passwd; \
         ls -A / /tmp /etc | sort"
    );
    host.check(&["sh", "-c", &script]).unwrap()
}

fn send(host: &Host, method: &str, path: &str, archive: &[u8]) -> Answer {
    exchange(&host.socket(), method, path, &[("Content-Type", "application/x-tar")], archive)
        .unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
}

/// Names and links that lead out of an archive's root, each a case of its own.
fn escapes<'a>() -> Vec<(&'static str, Vec<Entry<'a>>)> {
    let deep = "../../../../../../../../../../../../tmp/bait/new";
    vec![
        ("a name with dots", vec![file(deep, b"x")]),
        ("a name that goes in and out", vec![file("a/../../../../../../../tmp/bait/new", b"x")]),
        ("an absolute name", vec![file("/tmp/bait/new", b"x")]),
        ("an absolute name of what is there", vec![file("/tmp/bait/file", b"x")]),
        (
            "a file through an absolute link",
            vec![link(SYMBOLIC, "l", "/tmp/bait"), file("l/new", b"x")],
        ),
        (
            "a file through a link with dots",
            vec![
                link(SYMBOLIC, "l", "../../../../../../../../../../tmp/bait"),
                file("l/file", b"x"),
            ],
        ),
        (
            "a file in the place of a link",
            vec![link(SYMBOLIC, "f", "/tmp/bait/file"), file("f", b"x")],
        ),
        (
            "a link to a link",
            vec![
                link(SYMBOLIC, "one", "/tmp"),
                link(SYMBOLIC, "two", "one/bait"),
                file("two/new", b"x"),
            ],
        ),
        (
            "a directory through a link",
            vec![link(SYMBOLIC, "l", "/tmp/bait/dir"), link(DIRECTORY, "l/new", "")],
        ),
        ("a hard link to the outside", vec![link(HARD, "h", "../../../../../../tmp/bait/file")]),
        (
            "a hard link to an absolute name, and a file on it",
            vec![link(HARD, "h", "/tmp/bait/file"), file("h", b"x")],
        ),
        (
            "a hard link through a link",
            vec![link(SYMBOLIC, "l", "/tmp/bait"), link(HARD, "h", "l/file")],
        ),
        ("a whiteout that leads out", vec![file("../../../../../../tmp/bait/.wh.file", b"")]),
        ("a whiteout of dots", vec![file(".wh..", b""), file("d/.wh...", b"")]),
        (
            "a device through a link",
            vec![link(SYMBOLIC, "l", "/tmp/bait"), link(BLOCK, "l/disk", "")],
        ),
        ("a name of a link that goes round", vec![link(SYMBOLIC, "r", "r"), file("r/x", b"x")]),
        ("names with blanks and line ends", vec![file("a\n../../tmp/bait/new", b"x")]),
        ("the root as a file", vec![file(".", b"x"), file("/", b"x")]),
    ]
}

/// Archives that are none, or not what they say.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let whole = pack(&[file("f", &[7; 3000])]);
    let packed = gzip(&whole);
    let sized = |size| Entry { size: Some(size), ..file("f", b"x") };
    vec![
        ("rubbish", vec![0x5a; 2048]),
        ("half a header", whole[..300].to_vec()),
        ("half a file", whole[..1500].to_vec()),
        ("half a gzip", packed[..packed.len() / 2].to_vec()),
        ("a gzip with a broken end", [&packed[..packed.len() - 6], &[1; 6]].concat()),
        ("a file of exabytes", pack(&[sized(1 << 60)])),
        ("a file of more than all", pack(&[sized(u64::MAX)])),
        ("an extended header of exabytes", {
            pack(&[Entry { kind: b'x', size: Some(1 << 60), ..file("p", b"30 path=x\n") }])
        }),
        ("a long name of gigabytes", {
            pack(&[Entry { kind: b'L', size: Some(1 << 32), ..file("l", b"x") }])
        }),
        (
            "an extended header that lies",
            pack(&[Entry { kind: b'x', ..file("p", b"999 path=x\n") }, file("f", b"")]),
        ),
        ("a size that is negative", {
            pack(&[Entry { kind: b'x', ..file("p", b"12 size=-1\n") }, file("f", b"x")])
        }),
        ("a kind that is none", pack(&[link(b'Z', "z", "")])),
    ]
}

/// A container that is there and does not run, or does; gives its name.
fn target(single: &Single, name: &str, runs: bool) -> String {
    let body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "1000"], "StopTimeout": 0, "Volumes": {"/v": {}},
    });
    let made = single.api("POST", &format!("/containers/create?name={name}"), &body.to_string());
    assert_eq!(made.status, 201, "{}", made.text());
    if runs {
        assert_eq!(single.api("POST", &format!("/containers/{name}/start"), "").status, 204);
    }
    name.to_owned()
}

#[test]
fn what_is_copied_in_stays_in() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    lay_bait(&host);
    let before = bait(&host);
    for runs in [false, true] {
        let name = target(&single, &format!("target-{runs}"), runs);
        for place in ["/home", "/v"] {
            let path = format!("/containers/{name}/archive?path={place}");
            for (what, entries) in escapes() {
                for archive in [pack(&entries), gzip(&pack(&entries))] {
                    let answer = send(&host, "PUT", &path, &archive);
                    // Where it is harmless in the container it may be done there.
                    if answer.status != 200 {
                        assert!((400..500).contains(&answer.status), "{what}: {}", answer.text());
                        assert!(!answer.message().is_empty(), "{what}");
                    }
                    assert_eq!(bait(&host), before, "{what}");
                }
            }
            for (what, archive) in broken() {
                let answer = send(&host, "PUT", &path, &archive);
                assert_eq!(answer.status, 400, "{what}: {}", answer.text());
                assert!(!answer.message().is_empty(), "{what}");
            }
        }
        // Places that are none, or are not the container's.
        for place in ["/nowhere", "/etc/passwd", "/proc", "/sys", "../../../tmp/bait", "/dev"] {
            let path = format!("/containers/{name}/archive?path={place}");
            let answer = send(&host, "PUT", &path, &pack(&[file("../tmp/bait/new", b"x")]));
            assert!((400..500).contains(&answer.status), "{place}: {}", answer.text());
        }
        assert_eq!(bait(&host), before);
        let gone = single.api("DELETE", &format!("/containers/{name}?force=1&v=1"), "");
        assert_eq!(gone.status, 204, "{}", gone.text());
    }
}

#[test]
fn links_of_a_container_lead_no_copy_out() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    lay_bait(&host);
    let before = bait(&host);
    for runs in [false, true] {
        let name = target(&single, &format!("linked-{runs}"), runs);
        let path = |place: &str| format!("/containers/{name}/archive?path={place}");
        let links = pack(&[
            link(SYMBOLIC, "out", "/tmp/bait"),
            link(SYMBOLIC, "up", "../../../../../../../../tmp/bait"),
            link(SYMBOLIC, "secret", "/tmp/bait/file"),
            link(SYMBOLIC, "proc", "/proc/1/root/tmp/bait"),
        ]);
        assert_eq!(send(&host, "PUT", &path("/home"), &links).status, 200);
        for place in ["/home/out", "/home/up", "/home/proc", "/home/proc/.."] {
            let answer = send(&host, "PUT", &path(place), &pack(&[file("new", b"x")]));
            assert_ne!(answer.status, 500, "{place}: {}", answer.text());
            assert_eq!(bait(&host), before, "{place}");
        }
        for place in ["/home/out/file", "/home/up/file", "/home/proc/file", "/home/secret/."] {
            let answer = send(&host, "GET", &path(place), b"");
            assert!((400..500).contains(&answer.status), "{place}: {}", answer.status);
            assert!(!answer.text().contains("mine"), "{place}");
        }
        // The link itself is given, and not what it leads to.
        let answer = send(&host, "GET", &path("/home/secret"), b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("mine"));
        single.api("DELETE", &format!("/containers/{name}?force=1&v=1"), "");
    }
}

/// What `docker save` writes, of one layer.
fn saved(manifest: serde_json::Value, more: &[Entry]) -> Vec<u8> {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let (manifest, config) = (manifest.to_string(), config.to_string());
    let mut out = Vec::new();
    more.iter().for_each(|entry| entry.pack(&mut out));
    file("config.json", config.as_bytes()).pack(&mut out);
    file("manifest.json", manifest.as_bytes()).pack(&mut out);
    out.resize(out.len() + 1024, 0);
    out
}

#[test]
fn what_is_loaded_or_imported_stays_in_the_store() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    lay_bait(&host);
    let (before, store) = (bait(&host), Footprint::of(&host).unwrap());
    let images = || single.api("GET", "/images/json?all=1", "").json();
    let known = images();
    let refused = |what: &str, path: &str, archive: &[u8]| {
        let answer = send(&host, "POST", path, archive);
        let text = answer.text();
        assert!((400..500).contains(&answer.status), "{path} {what}: {} {text}", answer.status);
        assert!(!answer.message().is_empty(), "{path} {what}: {text}");
        assert_eq!(images(), known, "{what}");
        // What was in the making goes with its last reader.
        skep_e2e::eventually_blocking(skep_e2e::SOON, || {
            let left = Footprint::of(&host).unwrap().against(&store);
            if left == Default::default() { Ok(()) } else { Err(format!("{what}:\n{left}")) }
        });
    };
    for (what, archive) in broken() {
        refused(what, "/images/load", &archive);
        refused(what, "/images/create?fromSrc=-", &archive);
    }
    refused("nothing", "/images/load", b"");
    let item = |config: &str, layers: serde_json::Value, tags: serde_json::Value| json!([{"Config": config, "RepoTags": tags, "Layers": layers}]);
    let good = || item("config.json", json!([]), json!(["loaded:v1"]));
    for (what, archive) in [
        ("no image", pack(&[file("f", b"x")])),
        ("a list that is none", pack(&[file("manifest.json", b"{")])),
        ("a config with dots", saved(item("../../../etc/passwd", json!([]), json!([])), &[])),
        ("a config of the host", saved(item("/etc/passwd", json!([]), json!([])), &[])),
        ("a layer that is missing", saved(item("config.json", json!(["l.tar"]), json!([])), &[])),
        ("a layer with dots", saved(item("config.json", json!(["../../x"]), json!([])), &[])),
        ("a layer that nobody asked for", {
            saved(item("config.json", json!(["f"]), json!([])), &[file("f", b"x")])
        }),
        ("a name that is none", saved(item("config.json", json!([]), json!(["UPPER:x"])), &[])),
        ("a name with dots", saved(item("config.json", json!([]), json!(["../x:y"])), &[])),
        (
            "a config that is a link to the host",
            saved(
                item("c", json!([]), json!([])),
                &[link(SYMBOLIC, "c", "../../../../../../../etc/passwd")],
            ),
        ),
        (
            "a config that is a link round",
            saved(item("c", json!([]), json!([])), &[link(SYMBOLIC, "c", "c")]),
        ),
        ("a name that leads out", saved(good(), &[file("../../tmp/bait/new", b"x")])),
        ("a device", saved(good(), &[link(CHARACTER, "null", "")])),
        ("a pipe", saved(good(), &[link(FIFO, "pipe", "")])),
    ] {
        refused(what, "/images/load", &archive);
    }
    for (what, entries) in escapes() {
        let tag = "/images/create?fromSrc=-&repo=imported&tag=v1";
        let answer = send(&host, "POST", tag, &pack(&entries));
        assert_eq!(bait(&host), before, "{what}");
        if answer.status == 200 && !answer.text().contains("\"error\"") {
            // Harmless as it was unpacked: then it is an image as any other.
            let name = "imported:v1";
            assert_eq!(single.api("GET", &format!("/images/{name}/json"), "").status, 200);
            let made = json!({"Image": name, "Cmd": ["x"]}).to_string();
            assert_eq!(single.api("POST", "/containers/create?name=probe", &made).status, 201);
            assert_eq!(send(&host, "GET", "/containers/probe/export", b"").status, 200);
            assert_eq!(single.api("DELETE", "/containers/probe", "").status, 204);
            assert_eq!(single.api("DELETE", &format!("/images/{name}"), "").status, 200);
        } else {
            assert!((400..500).contains(&answer.status), "{what}: {}", answer.text());
        }
        assert_eq!(images(), known, "{what}");
        assert_eq!(bait(&host), before, "{what}");
    }
}

#[test]
fn a_device_in_an_archive_opens_nothing() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    let name = target(&single, "devices", true);
    let devices =
        pack(&[link(BLOCK, "disk", ""), link(CHARACTER, "port", ""), link(FIFO, "p", "")]);
    let path = format!("/containers/{name}/archive?path=/home");
    let answer = send(&host, "PUT", &path, &devices);
    assert!(answer.status == 200 || answer.status == 400, "{}", answer.text());
    let read = "dd if=/home/disk of=/dev/null count=1 2>&1; dd if=/home/port count=1 2>&1; true";
    let said = host.check(&["skep", "exec", &name, "sh", "-c", read]).unwrap();
    assert!(!said.contains("records out"), "a device of the host was opened: {said}");
    // What a pipe or a device is copied out as is no reading of it.
    assert_ne!(send(&host, "GET", &format!("{path}/p"), b"").status, 500);
}
