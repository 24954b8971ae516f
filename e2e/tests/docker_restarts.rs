//! Who comes back, and who does not, when the daemon is killed, stopped, or the host is started
//! anew: what restart policies mean then, as in Docker.

use serde_json::{Value, json};
use skep_e2e::{Host, IMAGE, SOON, Signal, Single, eventually_blocking};

const POLICIES: [&str; 4] = ["no", "on-failure", "always", "unless-stopped"];

/// Runs until somebody on the host says with what code it is to end.
const UNTIL_TOLD: &str =
    "while ! [ -e /v/$NAME ]; do usleep 20000; done; code=$(cat /v/$NAME); rm /v/$NAME; exit $code";

fn make(single: &Single, name: &str, host: Value) {
    let mut config = json!({"Binds": ["/var/tmp/told:/v"]});
    config.as_object_mut().unwrap().extend(host.as_object().unwrap().clone());
    let document = json!({
        "Image": IMAGE, "Cmd": ["sh", "-c", UNTIL_TOLD], "Env": [format!("NAME={name}")],
        "StopTimeout": 0, "HostConfig": config,
    });
    let path = format!("/containers/create?name={name}");
    let answer = single.api("POST", &path, &document.to_string());
    assert_eq!(answer.status, 201, "{name}: {}", answer.text());
}

fn call(single: &Single, name: &str, what: &str) {
    let answer = single.api("POST", &format!("/containers/{name}/{what}"), "");
    assert!([204, 304].contains(&answer.status), "{what} {name}: {}", answer.text());
}

/// Tells one to end, whether a daemon is there or not, and waits for that on the host.
fn tell(host: &Host, name: &str, code: i32) {
    let script = format!("echo {code} > /var/tmp/told/{name}");
    host.check(&["sh", "-c", &script]).unwrap();
    eventually_blocking(SOON, || {
        let there = host.run(&["test", "-e", &format!("/var/tmp/told/{name}")]).unwrap();
        if there.status.success() { Err(format!("{name} does not end")) } else { Ok(()) }
    });
}

/// Its state; none where it is gone.
fn state(single: &Single, name: &str) -> Option<Value> {
    let answer = single.api("GET", &format!("/containers/{name}/json"), "");
    match answer.status {
        404 => None,
        200 => Some(answer.json()),
        status => panic!("{name}: {status} {}", answer.text()),
    }
}

/// Waits until a container's status and exit code are so.
#[track_caller]
fn becomes(single: &Single, name: &str, status: &str, code: i64) {
    eventually_blocking(SOON, || {
        let found = state(single, name).unwrap_or_else(|| panic!("{name} is gone"));
        let now = (found["State"]["Status"].as_str(), found["State"]["ExitCode"].as_i64());
        if now == (Some(status), Some(code)) { Ok(()) } else { Err(format!("{name}: {now:?}")) }
    });
}

#[track_caller]
fn is_gone(single: &Single, name: &str) {
    eventually_blocking(SOON, || match state(single, name) {
        None => Ok(()),
        Some(found) => Err(format!("{name}: {}", found["State"])),
    });
}

fn pid(single: &Single, name: &str) -> i64 {
    state(single, name).unwrap()["State"]["Pid"].as_i64().unwrap()
}

/// What happens to the daemon; while it is away, or before, containers may be told to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Away {
    Killed,
    Stopped,
    HostRestarted,
}

/// One container of each policy for each of its states, through one absence of the daemon.
fn through(away: Away) {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    host.check(&["mkdir", "-p", "/var/tmp/told"]).unwrap();
    for policy in POLICIES {
        for kind in ["runs", "ends", "fails", "stopped", "made"] {
            let name = format!("{kind}-{policy}");
            make(&single, &name, json!({"RestartPolicy": {"Name": policy}}));
            if kind != "made" {
                call(&single, &name, "start");
            }
            if kind == "stopped" {
                call(&single, &name, "stop");
                becomes(&single, &name, "exited", 137);
            }
        }
    }
    for name in ["gone", "stays"] {
        make(&single, name, json!({"AutoRemove": true}));
        call(&single, name, "start");
    }
    make(&single, "unborn", json!({"AutoRemove": true}));
    let before: Vec<(String, i64)> = POLICIES
        .map(|policy| format!("runs-{policy}"))
        .into_iter()
        .chain(["stays".to_owned()])
        .map(|name| (name.clone(), pid(&single, &name)))
        .collect();
    match away {
        Away::HostRestarted => host.restart().unwrap(),
        Away::Killed | Away::Stopped => {
            if away == Away::Killed {
                host.kill(Signal::SIGKILL).unwrap();
            } else {
                host.kill(Signal::SIGTERM).unwrap();
                eventually_blocking(SOON, || match host.daemon().unwrap() {
                    None => Ok(()),
                    Some(_) => Err("the daemon does not stop"),
                });
            }
            for policy in POLICIES {
                tell(&host, &format!("ends-{policy}"), 0);
                tell(&host, &format!("fails-{policy}"), 3);
            }
            tell(&host, "gone", 0);
            host.start().unwrap();
        }
    }
    let lost = away == Away::HostRestarted;
    for policy in POLICIES {
        let (runs, ends, fails) =
            (format!("runs-{policy}"), format!("ends-{policy}"), format!("fails-{policy}"));
        let always = matches!(policy, "always" | "unless-stopped");
        let again = |fails: bool| always || fails && policy == "on-failure";
        // One that runs goes on; with the host its end is a failure that nobody saw.
        match !lost || again(true) {
            true => becomes(&single, &runs, "running", 0),
            false => becomes(&single, &runs, "exited", 255),
        }
        for (name, code) in [(&ends, 0), (&fails, 3)] {
            let code = if lost { 255 } else { code };
            match again(code != 0) {
                true => becomes(&single, name, "running", 0),
                false => becomes(&single, name, "exited", code),
            }
            // The daemon's start is none of the policy's.
            assert_eq!(state(&single, name).unwrap()["RestartCount"], 0, "{name}");
        }
        // That it was stopped counts for one policy alone; the end by a signal is a failure.
        match policy {
            "always" | "on-failure" => becomes(&single, &format!("stopped-{policy}"), "running", 0),
            _ => becomes(&single, &format!("stopped-{policy}"), "exited", 137),
        }
        becomes(&single, &format!("made-{policy}"), "created", 0);
    }
    is_gone(&single, "gone");
    becomes(&single, "unborn", "created", 0);
    match lost {
        true => is_gone(&single, "stays"),
        false => {
            for (name, pid_before) in before {
                assert_eq!(pid(&single, &name), pid_before, "{name} is another process");
            }
            tell(&host, "stays", 0);
            is_gone(&single, "stays");
        }
    }
    // Those that were taken up are watched on as before.
    tell(&host, "runs-always", 0);
    eventually_blocking(SOON, || {
        let found = state(&single, "runs-always").unwrap();
        let again = found["RestartCount"] == 1 && found["State"]["Running"] == true;
        if again { Ok(()) } else { Err(found["State"].clone()) }
    });
    tell(&host, "runs-on-failure", 0);
    becomes(&single, "runs-on-failure", "exited", 0);
}

#[test]
fn a_killed_daemon_takes_up_what_there_is() {
    through(Away::Killed);
}

#[test]
fn a_stopped_daemon_takes_up_what_there_is() {
    through(Away::Stopped);
}

#[test]
fn a_host_that_starts_anew_starts_what_is_to_run() {
    through(Away::HostRestarted);
}

#[test]
fn a_policy_that_has_given_up_stays_so() {
    let Some(single) = Single::own() else { return };
    let policy = json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}});
    let document = json!({"Image": IMAGE, "Cmd": ["false"], "HostConfig": policy}).to_string();
    assert_eq!(single.api("POST", "/containers/create?name=tries", &document).status, 201);
    call(&single, "tries", "start");
    let given_up = || {
        eventually_blocking(SOON, || {
            let found = state(&single, "tries").unwrap();
            let over = found["RestartCount"] == 2 && found["State"]["Status"] == "exited";
            if over { Ok(()) } else { Err(found["State"].clone()) }
        });
    };
    given_up();
    let ended = state(&single, "tries").unwrap()["State"]["FinishedAt"].clone();
    single.host().kill(Signal::SIGKILL).unwrap();
    single.host().start().unwrap();
    given_up();
    assert_eq!(state(&single, "tries").unwrap()["State"]["FinishedAt"], ended, "it ran again");
    // By hand it tries anew.
    call(&single, "tries", "start");
    given_up();
    assert_ne!(state(&single, "tries").unwrap()["State"]["FinishedAt"], ended);
}

#[test]
fn those_that_others_need_come_first() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    host.check(&["mkdir", "-p", "/var/tmp/told"]).unwrap();
    let always = json!({"Name": "always"});
    make(&single, "owner", json!({"RestartPolicy": always}));
    for name in ["a-guest", "z-guest"] {
        let modes = json!({"RestartPolicy": always, "NetworkMode": "container:owner"});
        call(&single, "owner", "start");
        make(&single, name, modes);
        call(&single, name, "start");
    }
    make(&single, "linked", json!({"RestartPolicy": always, "Links": ["owner:it"]}));
    call(&single, "linked", "start");
    host.restart().unwrap();
    for name in ["owner", "a-guest", "z-guest", "linked"] {
        becomes(&single, name, "running", 0);
    }
}
