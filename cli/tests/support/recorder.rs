//! A daemon that answers every call in the same way and notes what it was asked, word for word.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub method: String,
    /// Without the API's version, its query in order.
    pub path: String,
    pub body: Value,
}

pub struct Recorder {
    socket: PathBuf,
    calls: Arc<Mutex<Vec<Call>>>,
    pub dir: tempfile::TempDir,
}

/// What both may ask at any time, and what nobody changes by.
const ASIDE: [&str; 3] = ["/_ping", "/version", "/info"];

impl Recorder {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let noted = calls.clone();
        // It ends with the test's process; nothing of it outlives the folder.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = noted.clone();
                std::thread::spawn(move || {
                    let _ = serve(&stream, &noted);
                });
            }
        });
        Self { socket, calls, dir }
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The calls so far, and forgets them.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = std::mem::take(&mut *self.calls.lock().unwrap());
        calls.retain(|call| !ASIDE.contains(&call.path.as_str()));
        calls
    }

    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> std::io::Result<Output> {
        let mut child = Command::new(program)
            .args(arguments)
            .env_remove("SKEP_HOST")
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.dir.path().join("config"))
            .env("FROM_HERE", "yes")
            .env("TZ", "UTC")
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output()
    }
}

/// What a server cannot tell apart is the same: nothing, and an empty list or map. Lists that Docker makes of maps are sorted.
pub fn plain(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(key, value)| {
                let mut value = plain(value);
                if matches!(key.as_str(), "Env" | "Binds")
                    && let Value::Array(list) = &mut value
                {
                    list.sort_by_key(Value::to_string);
                }
                let empty = value.is_null()
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(serde_json::Map::is_empty);
                (!empty).then_some((key, value))
            });
            // In one order: it may keep that of its keys.
            let kept: std::collections::BTreeMap<String, Value> = kept.collect();
            Value::Object(kept.into_iter().collect())
        }
        Value::Array(list) => list.into_iter().map(plain).collect(),
        other => other,
    }
}

fn bad() -> std::io::Error {
    std::io::ErrorKind::InvalidData.into()
}

fn chunked(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(|_| bad())?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

fn serve(stream: &UnixStream, noted: &Mutex<Vec<Call>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut words = first.split(' ');
        let (method, target) = (words.next().ok_or_else(bad)?, words.next().ok_or_else(bad)?);
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim().split_once(':') {
                Some((name, value)) => {
                    headers.insert(name.to_lowercase(), value.trim().to_owned());
                }
                None => break,
            }
        }
        let body = match headers.get("content-length") {
            Some(length) => {
                let mut body = vec![0; length.parse().map_err(|_| bad())?];
                reader.read_exact(&mut body)?;
                body
            }
            None if headers.contains_key("transfer-encoding") => chunked(&mut reader)?,
            None => Vec::new(),
        };
        let path = bare(target);
        let body: Value = match path.contains("/archive?") && method == "PUT" {
            true => entries(&body),
            false => serde_json::from_slice(&body).unwrap_or_default(),
        };
        let call = Call { method: method.to_owned(), path: path.clone(), body: plain(body) };
        let pulled = {
            let mut noted = noted.lock().unwrap();
            noted.push(call.clone());
            noted.iter().any(|call| call.path.starts_with("/images/create"))
        };
        if let Some((_, asked)) = path.split_once("/archive?path=").filter(|_| method != "PUT") {
            let (status, stat, tar) = archive(&asked.replace("%2F", "/"));
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/x-tar\r\nX-Docker-Container-Path-Stat: {stat}\r\nContent-Length: {}\r\n\r\n",
                tar.len()
            );
            writer.write_all(head.as_bytes())?;
            if method != "HEAD" {
                writer.write_all(&tar)?;
            }
            continue;
        }
        if headers.contains_key("upgrade") {
            let mut frames = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_vec();
            for (number, text) in [(1, "said\n"), (2, "shouted\n")] {
                frames.extend([number, 0, 0, 0, 0, 0, 0, text.len() as u8]);
                frames.extend(text.as_bytes());
            }
            writer.write_all(&frames)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            // What is closed with something unread is cut off, and the client would say so.
            return reader.read_to_end(&mut Vec::new()).map(drop);
        }
        let missing = call.body["Image"] == "missing" && !pulled;
        let (status, answer) = match missing {
            true => {
                ("404 Not Found", json!({ "message": "No such image: missing:latest" }).to_string())
            }
            false => answer(&call),
        };
        let length = answer.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        writer.write_all(head.as_bytes())?;
        if method != "HEAD" {
            writer.write_all(answer.as_bytes())?;
        }
    }
}

fn bare(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = match path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
        Some((_, rest)) => format!("/{rest}"),
        None => path.to_owned(),
    };
    // What is not said and what is said to be off are the same.
    let off = |pair: &&str| {
        !pair.is_empty()
            && !pair.ends_with('=')
            && !pair.ends_with("=0")
            && !pair.ends_with("=false")
    };
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(off)
        .map(|pair| pair.replace("=true", "=1").replace('+', "%20"))
        .collect();
    pairs.sort();
    if pairs.is_empty() { path } else { format!("{path}?{}", pairs.join("&")) }
}

/// What is in an archive: names, kinds and sizes.
fn entries(tar: &[u8]) -> Value {
    let mut archive = tar::Archive::new(tar);
    let mut names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let name = name.trim_start_matches("./").trim_end_matches('/').to_owned();
            format!("{name} {:?} {}", entry.header().entry_type(), entry.size())
        })
        // What is in a folder, without the folder itself.
        .filter(|entry| !entry.starts_with(" ") && !entry.starts_with(". "))
        .collect();
    names.sort();
    names.into()
}

/// `/dir` with a file, `/file`, and nothing else.
fn archive(path: &str) -> (&'static str, String, Vec<u8>) {
    use base64::Engine as _;
    let mut out = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, name: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(text.len() as u64);
        out.append_data(&mut header, name, text.as_bytes()).unwrap();
    };
    let mode: u32 = match path.trim_end_matches('/') {
        "/dir" => {
            add(tar::EntryType::Directory, "dir/", "");
            add(tar::EntryType::Regular, "dir/f", "inside\n");
            1 << 31 | 0o755
        }
        "/dir/." => {
            add(tar::EntryType::Directory, "./", "");
            add(tar::EntryType::Regular, "./f", "inside\n");
            1 << 31 | 0o755
        }
        "/file" => {
            add(tar::EntryType::Regular, "file", "a file\n");
            0o644
        }
        _ => return ("404 Not Found", String::new(), Vec::new()),
    };
    let stat = json!({ "name": "x", "size": 0, "mode": mode, "mtime": "2024-01-01T00:00:00Z", "linkTarget": "" });
    let stat = base64::engine::general_purpose::STANDARD.encode(stat.to_string());
    ("200 OK", stat, out.into_inner().unwrap())
}

/// The container that every name means.
pub const ID: &str = "c0ffee0123456789c0ffee0123456789c0ffee0123456789c0ffee0123456789";

fn container() -> Value {
    json!({
        "Id": ID,
        "Name": "/web",
        "State": { "Status": "running", "Running": true, "Pid": 7 },
        "Config": { "Image": "nginx", "Tty": false, "OpenStdin": true },
        "HostConfig": { "NetworkMode": "default" },
        "NetworkSettings": { "Ports": {
            "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }, { "HostIp": "::", "HostPort": "8080" }],
            "53/udp": null,
        } },
    })
}

fn answer(call: &Call) -> (&'static str, String) {
    let path = call.path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let ok = |value: Value| ("200 OK", value.to_string());
    match (call.method.as_str(), parts.as_slice()) {
        (_, ["_ping"]) => ("200 OK", "OK".into()),
        (_, ["version"]) => ok(json!({ "Version": "0.1.0", "ApiVersion": "1.50" })),
        (_, ["info"]) => ok(json!({ "OSType": "linux", "Swarm": { "ControlAvailable": true } })),
        (_, ["containers", "create"]) => {
            let warnings = json!({ "Id": ID, "Warnings": ["mind the step"] });
            ("201 Created", warnings.to_string())
        }
        (_, ["containers", name, ..]) if *name == "gone" => {
            ("404 Not Found", json!({ "message": "No such container: gone" }).to_string())
        }
        ("GET", ["containers", _, "json"]) => ok(container()),
        (_, ["containers", _, "wait"]) => ok(json!({ "StatusCode": 3 })),
        (_, ["containers", _, "update"]) => ok(json!({ "Warnings": ["no swap"] })),
        (_, ["containers", _, "exec"]) => ("201 Created", json!({ "Id": "e1" }).to_string()),
        (_, ["containers", _, "changes"]) => ok(json!([
            { "Path": "/a", "Kind": 0 }, { "Path": "/b", "Kind": 1 }, { "Path": "/c", "Kind": 2 },
        ])),
        (_, ["containers", _, "top"]) => ok(json!({
            "Titles": ["UID", "PID", "CMD"], "Processes": [["root", "1", "sleep 100"]],
        })),
        ("GET", ["exec", _, "json"]) => ok(json!({ "ID": "e1", "ExitCode": 4 })),
        (_, ["exec", _, "start"]) => ok(Value::Null),
        (_, ["images", "create"]) => ok(json!({ "status": "Status: Downloaded newer image" })),
        (_, ["commit"]) => ("201 Created", json!({ "Id": "sha256:abc" }).to_string()),
        (_, ["containers", "prune"]) => {
            ok(json!({ "ContainersDeleted": ["a", "b"], "SpaceReclaimed": 12_345_678 }))
        }
        (_, ["networks", "prune"]) => ok(json!({ "NetworksDeleted": ["front"] })),
        (_, ["volumes", "prune"]) => {
            ok(json!({ "VolumesDeleted": ["data"], "SpaceReclaimed": 2048 }))
        }
        (_, ["images", "prune"]) => ok(json!({
            "ImagesDeleted": [{ "Untagged": "a:1" }, { "Deleted": "sha256:1" }],
            "SpaceReclaimed": 3_000_000,
        })),
        (_, ["volumes", "create"]) => ("201 Created", json!({ "Name": "data" }).to_string()),
        ("GET", ["volumes", "gone"]) => {
            ("404 Not Found", json!({ "message": "get gone: no such volume" }).to_string())
        }
        ("GET", ["volumes", _]) => ok(json!({ "Name": "data", "Driver": "local", "Mountpoint": "/m" })),
        ("GET", ["volumes"]) => ok(json!({ "Volumes": [
            { "Name": "data10", "Driver": "local", "Mountpoint": "/m/10", "Scope": "local", "Labels": { "a": "b" } },
            { "Name": "data9", "Driver": "local", "Mountpoint": "/m/9", "Scope": "local" },
        ] })),
        ("GET", ["networks", _]) => {
            ("404 Not Found", json!({ "message": "network x not found" }).to_string())
        }
        ("GET", ["images", _, "history"]) => ok(json!([
            { "Id": "sha256:0123456789abcdef", "Created": 1_700_000_000, "CreatedBy": "/bin/sh -c #(nop)  CMD [\"sh\"] and much, much more", "Size": 0, "Comment": "" },
            { "Id": "<missing>", "Created": 0, "CreatedBy": "ADD x", "Size": 1_234_567, "Comment": "made" },
        ])),
        ("GET", ["images", "search"]) => ok(json!([
            { "name": "nginx", "description": "A server\nof the web", "star_count": 7, "is_official": true },
            { "name": "me/x", "description": "", "star_count": 0 },
        ])),
        ("GET", ["containers", "json"]) => ok(json!([
            {
                "Id": ID, "Names": ["/web", "/other/db"], "Image": "nginx:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "ImageID": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "Command": "sleep 100000000000000000", "Created": 1_600_000_000,
                "Ports": [{ "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp" }, { "PrivatePort": 81, "Type": "tcp" }],
                "Labels": { "b": "2", "a": "1" }, "State": "running", "Status": "Up 2 hours", "SizeRw": 12_000, "SizeRootFs": 5_000_000,
                "Mounts": [{ "Type": "volume", "Name": "a-volume-with-a-long-name", "Driver": "local" }, { "Type": "bind", "Source": "/srv" }],
                "NetworkSettings": { "Networks": { "bridge": {} } },
            },
        ])),
        ("GET", ["system", "df"]) => ok(json!({
            "LayersSize": 3_000_000,
            "Images": [{ "Id": "sha256:0123456789abcdef", "RepoTags": ["nginx:1"], "Created": 1_600_000_000, "Size": 2_000_000, "SharedSize": 500_000, "Containers": 1 }],
            "Containers": [{ "Id": ID, "Names": ["/web"], "Image": "nginx", "ImageID": "sha256:1", "Command": "sh", "Created": 1_600_000_000, "State": "exited", "Status": "Exited (0)", "SizeRw": 10_000, "Mounts": [] }],
            "Volumes": [{ "Name": "data", "Driver": "local", "UsageData": { "RefCount": 0, "Size": 4096 } }],
        })),
        ("GET", ["events"]) => (
            "200 OK",
            json!({ "Type": "container", "Action": "start", "Actor": { "ID": "abc", "Attributes": { "name": "web", "image": "nginx" } }, "time": 1_700_000_000, "timeNano": 1_700_000_000_000_000_123_i64 }).to_string(),
        ),
        (_, ["auth"]) => ok(json!({ "Status": "Login Succeeded" })),
        ("POST" | "DELETE", _) => ("204 No Content", String::new()),
        _ => ("404 Not Found", json!({ "message": "page not found" }).to_string()),
    }
}
