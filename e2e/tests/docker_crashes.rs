//! A daemon that is killed at any moment comes back with all that it has acknowledged, and with
//! nothing half-made. Containers that run do not notice.
//!
//! Each test does one thing again and again, with a kill at another moment each time; see
//! [`Wreck`] for the seed. In each, what is left in the end is what was there before.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use skep_e2e::http::{Answer, connect};
use skep_e2e::{BASE, Host, IMAGE, SOON, Session, Single, Wreck, ask, eventually_blocking};

fn api(single: &Single, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    single.api(method, path, &body)
}

#[track_caller]
fn ok(single: &Single, method: &str, path: &str, body: Value) -> Answer {
    let answer = api(single, method, path, body);
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    answer
}

fn said_yes(answer: &Option<Answer>) -> bool {
    match answer {
        Some(answer) => {
            assert!(answer.status < 300, "{} {}", answer.status, answer.text());
            true
        }
        None => false,
    }
}

fn shell(script: &str) -> Value {
    json!(["sh", "-c", script])
}

/// A container as a document says; gives its name.
fn make(single: &Single, name: &str, document: Value) -> String {
    let mut whole = json!({"Image": IMAGE, "Cmd": ["sleep", "1000"], "StopTimeout": 0});
    whole.as_object_mut().unwrap().extend(document.as_object().unwrap().clone());
    ok(single, "POST", &format!("/containers/create?name={name}"), whole);
    name.to_owned()
}

fn run(single: &Single, name: &str, document: Value) -> String {
    let name = make(single, name, document);
    ok(single, "POST", &format!("/containers/{name}/start"), Value::Null);
    name
}

/// Its document; none where it is gone.
fn look(single: &Single, name: &str) -> Option<Value> {
    let answer = single.api("GET", &format!("/containers/{name}/json"), "");
    match answer.status {
        200 => Some(answer.json()),
        404 => None,
        status => panic!("{name}: {status} {}", answer.text()),
    }
}

fn status(single: &Single, name: &str) -> String {
    let found = look(single, name).unwrap_or_else(|| panic!("{name} is gone"));
    found["State"]["Status"].as_str().unwrap().to_owned()
}

/// The number of its first process. That it is there is asked of the host.
fn pid(single: &Single, name: &str) -> i64 {
    let pid = look(single, name).unwrap()["State"]["Pid"].as_i64().unwrap();
    single.host().check(&["test", "-d", &format!("/proc/{pid}")]).unwrap();
    pid
}

/// What a command in a container prints.
fn inside(single: &Single, name: &str, script: &str) -> String {
    let said = single.host().check(&["skep", "exec", name, "sh", "-c", script]);
    said.unwrap_or_else(|error| panic!("{error:#}"))
}

/// What a new container prints: one is made, run and gone.
fn once(single: &Single, flags: &[&str], script: &str) -> String {
    let words = [&["skep", "run", "--rm"], flags, &["sh", "-c", script]].concat();
    single.host().check(&words).unwrap_or_else(|error| panic!("{error:#}"))
}

/// An archive of random files: as many as there are, of so many kilobytes each, below `full`.
fn archive(host: &Host, files: u32, kilobytes: u32) -> Vec<u8> {
    let script = format!(
        "d=$(mktemp -d); mkdir $d/full; for i in $(seq {files}); do \
         head -c {kilobytes}k /dev/urandom > $d/full/$i; done; tar -C $d -c full; rm -r $d"
    );
    host.run(&["sh", "-c", &script]).unwrap().stdout
}

/// The tests' image with random files more stays for all of the test.
fn base(wreck: &mut Wreck, files: u32, kilobytes: u32) {
    let (single, host) = (wreck.single(), wreck.host());
    make(single, "maker", json!({}));
    let put =
        ask(&host, "PUT", "/containers/maker/archive?path=/", &archive(&host, files, kilobytes));
    assert!(said_yes(&put));
    let (repo, tag) = BASE.split_once(':').unwrap();
    ok(single, "POST", &format!("/commit?container=maker&repo={repo}&tag={tag}"), Value::Null);
    ok(single, "DELETE", "/containers/maker", Value::Null);
    wreck.settle();
}

#[test]
fn while_a_container_is_made() {
    let Some(mut wreck) = Wreck::new() else { return };
    wreck.kill_during(
        |single, name| {
            ok(single, "POST", "/networks/create", json!({"Name": format!("net-{name}")}));
            name.to_owned()
        },
        |host, name| {
            let document = json!({
                "Image": IMAGE, "Cmd": ["sleep", "1000"], "Volumes": {"/etc": {}, "/none": {}},
                "HostConfig": {"Binds": [format!("named-{name}:/www")], "NetworkMode": format!("net-{name}")},
            });
            let path = format!("/containers/create?name={name}");
            ask(host, "POST", &path, document.to_string().as_bytes())
        },
        |single, name, made| {
            let acknowledged = said_yes(&made);
            let found = look(single, name);
            assert!(found.is_some() || !acknowledged, "a container was lost");
            let listed = single.api("GET", "/containers/json?all=1", "").json();
            let known = 1 + usize::from(found.is_some());
            assert_eq!(listed.as_array().unwrap().len(), known, "{listed}");
            // No half-made one is in the way of another try.
            if found.is_none() {
                let volumes = single.api("GET", "/volumes", "").json();
                let anonymous = volumes["Volumes"].as_array().unwrap().iter();
                let anonymous = anonymous.filter(|it| it["Name"].as_str().unwrap().len() == 64);
                assert_eq!(anonymous.count(), 0, "{volumes}");
                make(single, name, json!({"Volumes": {"/etc": {}}}));
            }
            ok(single, "POST", &format!("/containers/{name}/start"), Value::Null);
            assert!(inside(single, name, "cat /etc/passwd").contains("bee"));
        },
    );
}

#[test]
fn while_a_container_starts() {
    let Some(mut wreck) = Wreck::new() else { return };
    wreck.kill_during(
        |single, name| {
            let script = "mkdir -p /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w";
            let port = json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]});
            make(single, name, json!({"Cmd": shell(script), "HostConfig": {"PortBindings": port}}))
        },
        |host, name| ask(host, "POST", &format!("/containers/{name}/start"), b""),
        |single, name, started| {
            if said_yes(&started) {
                assert_eq!(status(single, name), "running");
            }
            // Whatever became of it, it can be started.
            let again = single.api("POST", &format!("/containers/{name}/start"), "");
            assert!([204, 304].contains(&again.status), "{}", again.text());
            pid(single, name);
            let began = look(single, name).unwrap()["State"]["StartedAt"].to_string();
            assert!(!began.contains("0001-"), "{began}");
            eventually_blocking(SOON, || {
                let fetched = single.host().run(&["curl", "-s", "http://127.0.0.1:8080"]).unwrap();
                match fetched.stdout == b"hello\n" {
                    true => Ok(()),
                    false => Err(format!("{fetched:?}")),
                }
            });
        },
    );
}

#[test]
fn while_a_container_runs_to_its_end() {
    let Some(mut wreck) = Wreck::new() else { return };
    wreck.kill_during(
        |single, name| make(single, name, json!({"Cmd": shell("echo out; exit 7")})),
        |host, name| {
            let started = ask(host, "POST", &format!("/containers/{name}/start"), b"");
            let waited = ask(host, "POST", &format!("/containers/{name}/wait"), b"");
            (started, waited)
        },
        |single, name, (started, waited)| {
            let waited = waited.filter(|it| !it.body.is_empty());
            if let Some(waited) = &waited {
                let code = waited.json()["StatusCode"].clone();
                // One that was not started has not failed.
                assert!(code == 7 || code == 0 && !said_yes(&started), "{code}");
            }
            if !said_yes(&started) && status(single, name) == "created" {
                return;
            }
            eventually_blocking(SOON, || match status(single, name).as_str() {
                "exited" => Ok(()),
                other => Err(other.to_owned()),
            });
            assert_eq!(look(single, name).unwrap()["State"]["ExitCode"], 7, "its end was lost");
            let said = single.host().check(&["skep", "logs", name]).unwrap();
            assert_eq!(said, "out\n");
        },
    );
}

#[test]
fn while_output_flows() {
    let Some(mut wreck) = Wreck::new() else { return };
    let script = "i=0; while true; do i=$((i+1)); echo line $i; usleep 200; done";
    wreck.kill_during(
        |single, name| {
            let name = run(single, name, json!({"Cmd": shell(script)}));
            let pid = pid(single, &name);
            (name, pid)
        },
        |host, (name, _)| {
            // Somebody reads along until the daemon goes.
            let mut logs = connect(&host.socket()).unwrap();
            let path = format!("/containers/{name}/logs?follow=1&stdout=1");
            write!(logs, "GET {path} HTTP/1.1\r\nHost: skep\r\n\r\n").unwrap();
            let _ = std::io::copy(&mut (&mut logs).take(200_000), &mut std::io::sink());
        },
        |single, (name, before), ()| {
            assert_eq!(pid(single, name), *before, "it is another process");
            let count = || {
                let said = single.host().check(&["skep", "logs", name]).unwrap();
                let lines: Vec<&str> = said.lines().collect();
                for (number, line) in lines.iter().enumerate() {
                    assert_eq!(*line, format!("line {}", number + 1), "a line was lost");
                }
                lines.len()
            };
            let first = count();
            eventually_blocking(SOON, || match count() > first {
                true => Ok(()),
                false => Err("it says nothing more"),
            });
        },
    );
}

#[test]
fn while_a_container_stops() {
    let Some(mut wreck) = Wreck::new() else { return };
    let script = "trap 'usleep 200000; exit 3' TERM; echo ready; while true; do usleep 10000; done";
    wreck.kill_during(
        |single, name| {
            let name = run(single, name, json!({"Cmd": shell(script)}));
            eventually_blocking(SOON, || {
                let said = single.host().check(&["skep", "logs", &name]).unwrap();
                if said == "ready\n" { Ok(()) } else { Err(said) }
            });
            name
        },
        |host, name| ask(host, "POST", &format!("/containers/{name}/stop?t=20"), b""),
        |single, name, stopped| {
            if said_yes(&stopped) {
                assert_eq!(status(single, name), "exited");
            }
            let again = single.api("POST", &format!("/containers/{name}/stop?t=20"), "");
            assert!([204, 304].contains(&again.status), "{}", again.text());
            let state = look(single, name).unwrap()["State"].clone();
            assert_eq!((&state["Status"], &state["ExitCode"]), (&json!("exited"), &json!(3)));
            ok(single, "POST", &format!("/containers/{name}/start"), Value::Null);
            pid(single, name);
        },
    );
}

#[test]
fn while_a_container_is_removed() {
    let Some(mut wreck) = Wreck::new() else { return };
    for with_volumes in [false, true] {
        wreck.kill_during(
            |single, name| {
                let name = run(single, name, json!({"Volumes": {"/data": {}}}));
                inside(single, &name, "for i in $(seq 500); do echo kept > /data/$i; done");
                let volume = look(single, &name).unwrap()["Mounts"][0]["Name"].clone();
                (name, volume.as_str().unwrap().to_owned())
            },
            |host, (name, _)| {
                let path = format!("/containers/{name}?force=1&v={}", u8::from(with_volumes));
                ask(host, "DELETE", &path, b"")
            },
            |single, (name, volume), removed| {
                let found = look(single, name);
                assert!(found.is_none() || !said_yes(&removed), "it is there again");
                if found.is_some() {
                    let state = status(single, name);
                    assert!(["running", "exited"].contains(&state.as_str()), "{state}");
                    ok(single, "DELETE", &format!("/containers/{name}?force=1"), Value::Null);
                }
                let kept = single.api("GET", &format!("/volumes/{volume}"), "").status;
                if with_volumes {
                    assert!(kept == 404 || found.is_some(), "its volume is left");
                } else {
                    assert_eq!(kept, 200, "its volume was to stay");
                    let mount = format!("{volume}:/data");
                    assert_eq!(once(single, &["-v", &mount, IMAGE], "ls /data | wc -l"), "500\n");
                }
            },
        );
    }
}

/// Sends a request that takes its connection, and reads the answer's head.
fn take_over(host: &Host, path: &str, body: &str) -> Option<BufReader<UnixStream>> {
    let mut stream = connect(&host.socket()).ok()?;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: skep\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    assert!(line.contains(" 101 "), "{line}");
    while reader.read_line(&mut line).ok().filter(|length| *length > 0)? > 2 {}
    Some(reader)
}

#[test]
fn while_a_command_runs_inside() {
    let Some(mut wreck) = Wreck::new() else { return };
    wreck.kill_during(
        |single, name| {
            let name = run(single, name, json!({}));
            let pid = pid(single, &name);
            (name, pid)
        },
        |host, (name, _)| {
            let script = "echo begun; usleep 150000; echo out; touch /done";
            let document = json!({"Cmd": shell(script), "AttachStdout": true}).to_string();
            let path = format!("/containers/{name}/exec");
            let made = ask(host, "POST", &path, document.as_bytes())?;
            let id = made.json()["Id"].as_str().unwrap().to_owned();
            let mut said = Vec::new();
            let mut streams = take_over(host, &format!("/exec/{id}/start"), "{}")?;
            // Cut off by the kill.
            let _ = streams.read_to_end(&mut said);
            Some((id, said))
        },
        |single, (name, before), begun| {
            assert_eq!(pid(single, name), *before, "it is another process");
            if let Some((_, said)) = begun
                && String::from_utf8_lossy(&said).contains("begun")
            {
                // The command goes on though nobody listens any more.
                eventually_blocking(SOON, || {
                    let there = single.host().run(&["skep", "exec", name, "ls", "/done"]).unwrap();
                    if there.status.success() { Ok(()) } else { Err("it did not end its work") }
                });
            }
            assert_eq!(inside(single, name, "echo another"), "another\n");
        },
    );
}

#[test]
fn while_somebody_is_attached() {
    let Some(mut wreck) = Wreck::new() else { return };
    wreck.kill_during(
        |single, name| {
            let cat = json!({"Cmd": ["cat"], "OpenStdin": true, "AttachStdin": true});
            let name = run(single, name, cat);
            let pid = pid(single, &name);
            (name, pid)
        },
        |host, (name, _)| {
            let path = format!("/containers/{name}/attach?stream=1&stdin=1&stdout=1");
            let Some(mut streams) = take_over(host, &path, "") else { return };
            for _ in 0..200 {
                let mut echoed = [0; 13];
                if streams.get_mut().write_all(b"line\n").is_err()
                    || streams.read_exact(&mut echoed).is_err()
                {
                    return;
                }
            }
        },
        |single, (name, before), ()| {
            assert_eq!(pid(single, name), *before, "it is another process");
            let path = format!("/containers/{name}/attach?stream=1&stdin=1&stdout=1");
            let mut streams = take_over(&single.host(), &path, "").unwrap();
            streams.get_mut().write_all(b"again\n").unwrap();
            let mut seen = String::new();
            while !seen.contains("again") {
                let mut piece = [0; 64];
                let length = streams.read(&mut piece).unwrap();
                assert_ne!(length, 0, "it ended after {seen:?}");
                seen.push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        },
    );
}

const REGISTRY: &str = r#"
    cat > /tmp/registry.yml <<END
version: 0.1
storage: { filesystem: { rootdirectory: /tmp/registry } }
http: { addr: "127.0.0.1:5000", secret: test }
END
    exec docker-registry serve /tmp/registry.yml"#;

/// Whether an image runs, with all of its files; none where there is no such image.
fn whole(single: &Single, name: &str, files: u32) -> Option<()> {
    let answer = single.api("GET", &format!("/images/{name}/json"), "");
    if answer.status == 404 {
        return None;
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    let count = "ls /full | wc -l; cat /full/* | wc -c";
    let said = once(single, &[name], count);
    assert_eq!(said.lines().next(), Some(files.to_string().as_str()), "{name} is not whole");
    Some(())
}

#[test]
fn while_an_image_is_pulled() {
    let Some(mut wreck) = Wreck::new() else { return };
    let host = wreck.host();
    if host.run(&["which", "docker-registry"]).is_ok_and(|output| !output.status.success()) {
        eprintln!("SKIP: no docker-registry is installed");
        return;
    }
    let _registry = Session::on_pipes(host.command(&["sh", "-c", REGISTRY]).unwrap()).unwrap();
    let name = "127.0.0.1:5000/app:v1";
    base(&mut wreck, 20, 400);
    ok(
        wreck.single(),
        "POST",
        &format!("/images/{BASE}/tag?repo=127.0.0.1:5000/app&tag=v1"),
        Value::Null,
    );
    eventually_blocking(SOON, || {
        let pushed = host.run(&["skep", "push", name]).unwrap();
        match pushed.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&pushed.stderr).into_owned()),
        }
    });
    for image in [name, BASE] {
        ok(wreck.single(), "DELETE", &format!("/images/{image}"), Value::Null);
    }
    wreck.settle();
    wreck.kill_during(
        |_, _| (),
        |host, ()| {
            let pulled =
                ask(host, "POST", "/images/create?fromImage=127.0.0.1:5000/app&tag=v1", b"");
            pulled.is_some_and(|it| it.text().contains("Status: Downloaded newer image"))
        },
        |single, (), pulled| {
            if whole(single, name, 20).is_none() {
                assert!(!pulled, "an image was lost");
                single.host().check(&["skep", "pull", name]).unwrap();
                whole(single, name, 20).unwrap();
            }
        },
    );
}

#[test]
fn while_images_are_loaded_and_imported() {
    let Some(mut wreck) = Wreck::new() else { return };
    base(&mut wreck, 20, 400);
    let host = wreck.host();
    let saved = ask(&host, "GET", &format!("/images/{BASE}/get"), b"").unwrap().body;
    ok(wreck.single(), "DELETE", &format!("/images/{BASE}"), Value::Null);
    wreck.settle();
    let load = |host: &Host, (): &()| {
        let loaded = ask(host, "POST", "/images/load", &saved);
        loaded.is_some_and(|it| it.text().contains("Loaded image"))
    };
    wreck.kill_during(
        |_, _| (),
        load,
        |single, (), loaded| {
            if whole(single, BASE, 20).is_none() {
                assert!(!loaded, "an image was lost");
                assert!(load(&single.host(), &()));
                whole(single, BASE, 20).unwrap();
            }
            ok(single, "DELETE", &format!("/images/{BASE}?force=1"), Value::Null);
        },
    );
    let plain = archive(&host, 20, 400);
    let import = |host: &Host, (): &()| {
        let path = "/images/create?fromSrc=-&repo=imported&tag=v1";
        ask(host, "POST", path, &plain).is_some_and(|it| it.text().contains("sha256:"))
    };
    wreck.kill_during(
        |_, _| (),
        import,
        |single, (), imported| {
            let found = single.api("GET", "/images/imported:v1/json", "").status;
            assert!(found == 200 || !imported, "an image was lost");
            assert!(import(&single.host(), &()));
            make(single, "other", json!({"Image": "imported:v1", "Cmd": ["none"]}));
            let files = "skep cp other:/full - | tar -t | wc -l";
            assert_eq!(single.host().check(&["sh", "-c", files]).unwrap(), "21\n");
        },
    );
}

#[test]
fn while_an_image_is_made_of_a_container() {
    let Some(mut wreck) = Wreck::new() else { return };
    let files = archive(&wreck.host(), 20, 400);
    wreck.kill_during(
        |single, name| {
            let name = run(single, name, json!({}));
            let path = format!("/containers/{name}/archive?path=/");
            assert!(said_yes(&ask(&single.host(), "PUT", &path, &files)));
            let pid = pid(single, &name);
            (name, pid)
        },
        |host, (name, _)| {
            ask(host, "POST", &format!("/commit?container={name}&repo=made&tag=v1"), b"")
        },
        |single, (name, before), made| {
            assert_eq!(status(single, name), "running", "it is still held");
            assert_eq!(pid(single, name), *before, "it is another process");
            inside(single, name, "true");
            assert!(whole(single, "made:v1", 20).is_some() || !said_yes(&made), "it was lost");
        },
    );
}

#[test]
fn while_files_are_copied() {
    let Some(mut wreck) = Wreck::new() else { return };
    let files = archive(&wreck.host(), 20, 400);
    for runs in [true, false] {
        wreck.kill_during(
            |single, name| match runs {
                true => run(single, name, json!({"Volumes": {"/v": {}}})),
                false => make(single, name, json!({"Volumes": {"/v": {}}})),
            },
            |host, name| {
                let path = format!("/containers/{name}/archive?path=/v");
                let put = ask(host, "PUT", &path, &files);
                (put, ask(host, "GET", &format!("{path}/full"), b""))
            },
            |single, name, (put, _)| {
                assert_eq!(status(single, name), if runs { "running" } else { "created" });
                let again = single.api("POST", &format!("/containers/{name}/start"), "");
                assert!([204, 304].contains(&again.status), "{}", again.text());
                if said_yes(&put) {
                    assert_eq!(inside(single, name, "ls /v/full | wc -l"), "20\n");
                }
            },
        );
    }
}

#[test]
fn while_a_volume_is_filled_for_the_first_time() {
    let Some(mut wreck) = Wreck::new() else { return };
    base(&mut wreck, 300, 4);
    wreck.kill_during(
        |_, name| name.to_owned(),
        |host, name| {
            let binds = json!({"Binds": ["filled:/full"]});
            let document = json!({"Image": BASE, "Cmd": ["sleep", "1000"], "HostConfig": binds});
            let path = format!("/containers/create?name={name}");
            ask(host, "POST", &path, document.to_string().as_bytes())
        },
        |single, name, made| {
            assert!(look(single, name).is_some() || !said_yes(&made), "a container was lost");
            let flags = ["-v", "filled:/full", BASE];
            assert_eq!(once(single, &flags, "ls /full | wc -l"), "300\n", "it was half-filled");
        },
    );
}

#[test]
fn while_networks_are_built() {
    let Some(mut wreck) = Wreck::new() else { return };
    wreck.kill_during(
        |single, name| {
            let script = "mkdir -p /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w";
            run(single, &format!("web-{name}"), json!({"Cmd": shell(script)}));
            name.to_owned()
        },
        |host, name| {
            let call = |path: String, body: Value| {
                ask(host, "POST", &path, body.to_string().as_bytes()).as_ref().map(|it| it.status)
            };
            let made = call("/networks/create".into(), json!({"Name": name}));
            let member = json!({"Container": format!("web-{name}")});
            let joined = call(format!("/networks/{name}/connect"), member.clone());
            let left = call(format!("/networks/{name}/disconnect"), member);
            (made, joined, left)
        },
        |single, name, (made, joined, left)| {
            let found = single.api("GET", &format!("/networks/{name}"), "").status;
            assert!(found == 200 || made != Some(201), "a network was lost");
            let web = format!("web-{name}");
            pid(single, &web);
            if found == 404 {
                ok(single, "POST", "/networks/create", json!({"Name": name}));
            }
            let is_on = || {
                let networks = look(single, &web).unwrap()["NetworkSettings"]["Networks"].clone();
                networks.get(name).is_some()
            };
            if joined == Some(200) && left.is_none() {
                // The last call may or may not have been carried out.
            } else {
                assert!(joined != Some(200) || !is_on(), "it has left");
            }
            if !is_on() {
                let member = json!({"Container": web});
                ok(single, "POST", &format!("/networks/{name}/connect"), member);
            }
            let said = once(single, &["--network", name, IMAGE], &format!("wget -q -O - {web}"));
            assert_eq!(said, "hello\n");
        },
    );
}

#[test]
fn in_the_middle_of_much() {
    let Some(mut wreck) = Wreck::new() else { return };
    let document = |at: usize| {
        let policy = ["no", "always", "on-failure", "unless-stopped"][at % 4];
        json!({
            "Image": IMAGE, "Cmd": shell("echo said; sleep 0.3; exit 1"), "Volumes": {"/v": {}},
            "HostConfig": {"RestartPolicy": {"Name": policy}},
        })
    };
    wreck.kill_during(
        |_, name| name.to_owned(),
        |host, name| {
            let one = |at: usize| {
                let name = format!("{name}-{at}");
                let body = document(at).to_string();
                let path = format!("/containers/create?name={name}");
                ask(host, "POST", &path, body.as_bytes())?;
                ask(host, "POST", &format!("/containers/{name}/start"), b"")?;
                ask(host, "GET", &format!("/containers/{name}/logs?stdout=1"), b"")?;
                let _ = ask(host, "POST", &format!("/containers/{name}/restart?t=0"), b"")?;
                let _ = ask(host, "DELETE", &format!("/containers/{name}?force=1&v=1"), b"")?;
                Some(())
            };
            std::thread::scope(|scope| {
                let one = &one;
                (0..6).for_each(|at| drop(scope.spawn(move || one(at))));
            });
        },
        |single, name, ()| {
            for at in 0..6 {
                let name = format!("{name}-{at}");
                if look(single, &name).is_some() {
                    ok(single, "DELETE", &format!("/containers/{name}?force=1&v=1"), Value::Null);
                }
            }
            assert_eq!(once(single, &[IMAGE], "echo next"), "next\n");
        },
    );
    // A daemon that is killed as soon as it is there again.
    let host = wreck.host();
    let name = run(wreck.single(), "steady", json!({}));
    let before = pid(wreck.single(), &name);
    for part in 1..=5 {
        host.kill(skep_e2e::Signal::SIGKILL).unwrap();
        host.launch_daemon().unwrap();
        std::thread::sleep(Duration::from_millis(40 * part));
        host.kill(skep_e2e::Signal::SIGKILL).unwrap();
        host.start().unwrap();
        assert_eq!(pid(wreck.single(), &name), before);
    }
    wreck.clear();
}
