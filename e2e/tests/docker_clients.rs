//! Clients that read slowly, or not at all, or leave: each costs the daemon a bounded buffer, no
//! container waits for one that has left, and others are served meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use skep_e2e::http::connect;
use skep_e2e::{Footprint, Host, IMAGE, SOON, Single, eventually_blocking};

/// What a container says here: more than all buffers on the way hold, in lines of a thousand bytes.
const BYTES: u64 = 30 << 20;
/// What the daemon may grow by while nobody takes that: far less, so that a buffer without a bound
/// is seen, and enough for what a debug build holds besides.
const GROWTH_KB_MAX: u64 = 24 << 10;

fn flood(after: &str) -> Value {
    let script = format!("head -c {BYTES} /dev/zero | tr '\\0' x | fold -w 1000; {after}");
    json!(["sh", "-c", script])
}

fn ok(single: &Single, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = single.api(method, path, &body);
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

fn make(single: &Single, name: &str, command: &Value) -> String {
    let body = json!({"Image": IMAGE, "Cmd": command, "StopTimeout": 0});
    ok(single, "POST", &format!("/containers/create?name={name}"), &body);
    name.to_owned()
}

fn start(single: &Single, name: &str) {
    ok(single, "POST", &format!("/containers/{name}/start"), &Value::Null);
}

fn remove(single: &Single, name: &str) {
    ok(single, "DELETE", &format!("/containers/{name}?force=1&v=1"), &Value::Null);
}

/// Memory of the daemon that is its own, in kilobytes.
fn resident_kb(host: &Host) -> u64 {
    let daemon = host.daemon().unwrap().expect("the daemon runs");
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[track_caller]
fn has_not_grown(host: &Host, before: u64) {
    let now = resident_kb(host);
    assert!(now < before + GROWTH_KB_MAX, "the daemon grew from {before} kB to {now} kB");
}

/// Sends a request and reads the answer's head. Nothing after that is read before it is asked for.
fn request(host: &Host, method: &str, path: &str, more: &str, body: &str) -> UnixStream {
    let mut stream = connect(&host.socket()).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: skep\r\n{more}Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.contains(" 200 ") || head.contains(" 101 "), "{head}");
    stream
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

/// Until a command in the container succeeds.
fn until(single: &Single, name: &str, command: &[&str]) {
    eventually_blocking(SOON, || {
        let words = [&["skep", "exec", name], command].concat();
        let ran = single.host().run(&words).unwrap();
        if ran.status.success() { Ok(()) } else { Err(format!("{command:?}: {ran:?}")) }
    });
}

#[test]
fn logs_that_nobody_reads_hold_nothing_up() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    let name = make(&single, "talker", &flood("touch /done; sleep 1000"));
    let before = resident_kb(&host);
    start(&single, &name);
    let path = format!("/containers/{name}/logs?follow=1&stdout=1");
    let clients: Vec<UnixStream> = (0..4).map(|_| request(&host, "GET", &path, "", "")).collect();
    // It goes on, and so does who reads.
    until(&single, &name, &["test", "-e", "/done"]);
    let said = host.check(&["sh", "-c", &format!("skep logs {name} | wc -c")]).unwrap();
    assert!(said.trim().parse::<u64>().unwrap() > BYTES, "{said}");
    has_not_grown(&host, before);
    drop(clients);
    remove(&single, &name);
}

#[test]
fn an_attached_client_holds_its_container_up_until_it_leaves() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    let name = make(&single, "talker", &flood("touch /done; sleep 1000"));
    let before = resident_kb(&host);
    let path = format!("/containers/{name}/attach?stream=1&stdout=1");
    let asleep = request(&host, "POST", &path, UPGRADE, "");
    let mut awake = request(&host, "POST", &path, UPGRADE, "");
    start(&single, &name);
    // As in Docker, one that sleeps holds up all; what is on the way has its bound.
    let mut first = vec![0; 64 << 10];
    awake.read_exact(&mut first).unwrap();
    let held = host.run(&["skep", "exec", &name, "test", "-e", "/done"]).unwrap();
    assert!(!held.status.success(), "so much cannot be on the way");
    has_not_grown(&host, before);
    ok(&single, "GET", "/containers/json", &Value::Null);
    drop(asleep);
    // Then the other gets all of it: frames of eight bytes beside.
    let mut seen = first.len() as u64;
    let mut piece = vec![0; 64 << 10];
    while seen < BYTES {
        match awake.read(&mut piece).unwrap() {
            0 => panic!("it ended after {seen} bytes"),
            length => seen += length as u64,
        }
    }
    until(&single, &name, &["test", "-e", "/done"]);
    has_not_grown(&host, before);
    remove(&single, &name);
}

#[test]
fn a_command_goes_on_when_its_client_leaves() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    let name = make(&single, "idle", &json!(["sleep", "1000"]));
    start(&single, &name);
    let before = resident_kb(&host);
    let document = json!({"Cmd": flood("touch /done"), "AttachStdout": true});
    let path = format!("/containers/{name}/exec");
    let exec = ok(&single, "POST", &path, &document)["Id"].as_str().unwrap().to_owned();
    let client = request(&host, "POST", &format!("/exec/{exec}/start"), UPGRADE, "{}");
    // Another command is not held up.
    until(&single, &name, &["true"]);
    has_not_grown(&host, before);
    drop(client);
    until(&single, &name, &["test", "-e", "/done"]);
    eventually_blocking(SOON, || {
        let shown = ok(&single, "GET", &format!("/exec/{exec}/json"), &Value::Null);
        let ended = shown["Running"] == false && shown["ExitCode"] == 0;
        if ended { Ok(()) } else { Err(shown) }
    });
    remove(&single, &name);
}

#[test]
fn archives_that_nobody_reads_are_not_made() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    host.check(&["skep", "run", "--rm", IMAGE, "true"]).unwrap();
    let empty = Footprint::of(&host).unwrap();
    let name = make(&single, "big", &flood("true"));
    let script = format!("head -c {BYTES} /dev/urandom > /tmp/big; skep cp /tmp/big {name}:/big");
    host.check(&["sh", "-c", &script]).unwrap();
    ok(&single, "POST", "/commit?container=big&repo=big&tag=v1", &Value::Null);
    let before = resident_kb(&host);
    let mut clients = Vec::new();
    for path in
        ["/containers/big/export", "/images/big:v1/get", "/containers/big/archive?path=/big"]
    {
        for _ in 0..3 {
            clients.push(request(&host, "GET", path, "", ""));
        }
    }
    has_not_grown(&host, before);
    // What is being read is still whole for others.
    let count = format!("skep cp {name}:/big - | tar -xO | wc -c");
    assert_eq!(host.check(&["sh", "-c", &count]).unwrap().trim(), BYTES.to_string());
    drop(clients);
    remove(&single, &name);
    ok(&single, "DELETE", "/images/big:v1", &Value::Null);
    eventually_blocking(SOON, || {
        let left = Footprint::of(&host).unwrap().against(&empty);
        if left == Default::default() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn events_and_statistics_that_nobody_reads_are_cut_off() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    let name = make(&single, "idle", &json!(["sleep", "1000"]));
    start(&single, &name);
    let before = resident_kb(&host);
    let events = request(&host, "GET", "/events", "", "");
    let statistics = request(&host, "GET", &format!("/containers/{name}/stats"), "", "");
    // More than the socket and the subscriber's share hold.
    let label = "x".repeat(3000);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (single, label, name) = (&single, &label, format!("v{number}"));
            scope.spawn(move || {
                let body = json!({"Image": IMAGE, "Labels": {"long": label}});
                for _ in 0..200 {
                    ok(single, "POST", &format!("/containers/create?name={name}"), &body);
                    ok(single, "DELETE", &format!("/containers/{name}"), &Value::Null);
                }
            });
        }
    });
    has_not_grown(&host, before);
    // Now it reads what is left, to the end, which comes: it was too slow.
    let mut lines = 0;
    for line in BufReader::new(events).lines() {
        lines += usize::from(line.is_ok_and(|line| line.contains("\"Action\"")));
    }
    assert!(lines < 1600, "all {lines} events were kept for it");
    drop(statistics);
    remove(&single, &name);
}

#[test]
fn connections_that_ask_for_nothing_make_room() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    // Beyond the bound: the last of them wait in the queue of the socket.
    let open = || {
        let mut stream = UnixStream::connect(host.socket())?;
        stream.write_all(b"GET /_ping HTTP/1.1\r\nHos")?;
        Ok::<_, std::io::Error>(stream)
    };
    let slow: Vec<UnixStream> = (0..600).map_while(|_| open().ok()).collect();
    assert!(slow.len() > 500, "{}", slow.len());
    let mut other = connect(&host.socket()).unwrap();
    // Less than a head may take, so that it is no waiting for that.
    other.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    write!(other, "GET /_ping HTTP/1.1\r\nHost: skep\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    other.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("OK"), "{said}");
    drop(slow);
}

#[test]
fn requests_whose_clients_have_left_take_no_place() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    let script = "trap '' TERM; echo ready; while true; do sleep 1; done";
    let name = make(&single, "stubborn", &json!(["sh", "-c", script]));
    start(&single, &name);
    eventually_blocking(SOON, || {
        let said = host.check(&["skep", "logs", &name]).unwrap();
        if said == "ready\n" { Ok(()) } else { Err(said) }
    });
    for _ in 0..600 {
        let mut stream = connect(&host.socket()).unwrap();
        let path = format!("/containers/{name}/stop?t=-1");
        write!(stream, "POST {path} HTTP/1.1\r\nHost: skep\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
    assert_eq!(single.api("GET", "/_ping", "").text(), "OK");
    ok(&single, "POST", &format!("/containers/{name}/kill"), &Value::Null);
    remove(&single, &name);
}

#[test]
fn what_is_sent_in_part_is_not_done() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    let name = make(&single, "target", &json!(["sleep", "1000"]));
    let empty = Footprint::of(&host).unwrap();
    let archive = format!("/containers/{name}/archive?path=/home");
    for (method, path, kind) in [
        ("POST", "/containers/create?name=half", "application/json"),
        ("POST", "/volumes/create", "application/json"),
        ("POST", "/networks/create", "application/json"),
        ("POST", "/images/load", "application/x-tar"),
        ("POST", "/images/create?fromSrc=-&repo=half", "application/x-tar"),
        ("PUT", archive.as_str(), "application/x-tar"),
    ] {
        let mut stream = connect(&host.socket()).unwrap();
        let body = format!("{{\"Image\":\"{IMAGE}\",\"Name\":\"half\"");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: skep\r\nContent-Type: {kind}\r\n\
             Content-Length: 100000\r\n\r\n{body}"
        )
        .unwrap();
        // Its other half never comes.
        drop(stream);
    }
    for path in ["/containers/half/json", "/volumes/half", "/networks/half", "/images/half/json"] {
        assert_eq!(single.api("GET", path, "").status, 404, "{path}");
    }
    eventually_blocking(SOON, || {
        let left = Footprint::of(&host).unwrap().against(&empty);
        if left == Default::default() { Ok(()) } else { Err(left) }
    });
    remove(&single, &name);
}
