//! What a daemon is sent by mistake or in malice: refused in clear words, and nothing changed.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use skep_e2e::http::{Answer, exchange};
use skep_e2e::{IMAGE, Single, eventually_blocking};

const SOON: Duration = Duration::from_secs(60);

/// All that a client can list, without what changes by itself.
fn inventory(single: &Single) -> Value {
    let list = |path: &str| match single.api("GET", path, "") {
        answer if answer.status == 200 => answer.json(),
        answer => json!(answer.message()),
    };
    let containers: Vec<Value> = list("/containers/json?all=1")
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| json!([it["Id"], it["Names"], it["State"], it["NetworkSettings"]["Networks"]]))
        .collect();
    let swarm = list("/swarm");
    let nodes: Vec<Value> =
        list("/nodes").as_array().into_iter().flatten().map(|it| it["Spec"].clone()).collect();
    json!({
        "containers": containers,
        "volumes": list("/volumes"),
        "networks": list("/networks"),
        "images": list("/images/json?all=1"),
        "swarm": [swarm["ID"], swarm["Spec"]],
        "nodes": nodes,
        "services": list("/services"),
        "secrets": list("/secrets"),
        "configs": list("/configs"),
    })
}

fn with_kind(single: &Single, path: &str, kind: &str, body: &[u8]) -> Answer {
    let headers = [("Content-Type", kind)];
    let headers = if kind.is_empty() { &headers[..0] } else { &headers[..] };
    exchange(&single.host().socket(), "POST", path, headers, body)
        .unwrap_or_else(|error| panic!("{path}: {error:#}"))
}

/// The reason; an answer that is no refusal, or gives none, is an error.
fn refusal(answer: &Answer, what: &str) -> Result<String, String> {
    let (text, message) = (answer.text(), answer.message());
    if !(400..500).contains(&answer.status) || message.is_empty() {
        return Err(format!("{what}: {} {text:.300}", answer.status));
    }
    Ok(message)
}

/// Fails with all of them, not the first alone.
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A host with something of each kind on it: a swarm of one node, a container that runs, a command
/// in it, a network, a service. Gives each route that reads a document, with a field of it and a
/// value of a wrong type.
fn routes(single: &Single) -> Vec<(String, Value)> {
    let ok = |path: &str, body: Value| {
        let answer = single.api("POST", path, &body.to_string());
        assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.text());
        answer.json()
    };
    ok("/swarm/init", json!({"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1:2377"}));
    ok("/containers/create?name=web", json!({"Image": IMAGE, "Cmd": ["sleep", "1000"]}));
    assert_eq!(single.api("POST", "/containers/web/start", "").status, 204);
    let exec = ok("/containers/web/exec", json!({"Cmd": ["true"]}))["Id"].clone();
    let exec = exec.as_str().unwrap();
    ok("/networks/create", json!({"Name": "net"}));
    let secret = ok("/secrets/create", json!({"Name": "s", "Data": "eA=="}))["ID"].clone();
    let config = ok("/configs/create", json!({"Name": "c", "Data": "eA=="}))["ID"].clone();
    let service = ok(
        "/services/create",
        json!({
            "Name": "svc", "Mode": {"Replicated": {"Replicas": 0}},
            "TaskTemplate": {"ContainerSpec": {"Image": IMAGE}},
        }),
    )["ID"]
        .clone();
    // Its endpoint is the leader's to write, a moment later.
    let of_service = format!("/services/{}", service.as_str().unwrap());
    eventually_blocking(SOON, || {
        let now = single.api("GET", &of_service, "").json();
        ensure!(now["Endpoint"]["Spec"]["Mode"] == "vip", "{now}");
        Ok(())
    });
    let node = single.api("GET", "/nodes", "").json()[0]["ID"].clone();
    let path =
        |kind: &str, id: &Value| format!("/{kind}/{}/update?version=1", id.as_str().unwrap());
    [
        ("/containers/create?name=new", json!({"Image": 7})),
        ("/containers/create", json!({"Image": IMAGE, "HostConfig": {"Memory": "much"}})),
        ("/containers/create", json!({"Image": IMAGE, "NetworkingConfig": "x"})),
        ("/containers/web/update", json!({"Memory": "much"})),
        ("/containers/web/exec", json!({"Cmd": "true"})),
        (&format!("/exec/{exec}/start"), json!({"Detach": "yes"})),
        ("/commit?container=web&repo=made", json!({"Env": 7})),
        ("/volumes/create", json!({"Name": ["v"]})),
        ("/networks/create", json!({"Name": {}})),
        ("/networks/net/connect", json!({"Container": 7})),
        ("/networks/net/disconnect", json!({"Force": "yes"})),
        ("/auth", json!({"username": 7})),
        ("/swarm/init", json!({"ListenAddr": 7})),
        ("/swarm/join", json!({"RemoteAddrs": "here"})),
        ("/swarm/update?version=1", json!({"Raft": "x"})),
        ("/services/create", json!({"TaskTemplate": "x"})),
        (&path("services", &service), json!({"Mode": 7})),
        ("/secrets/create", json!({"Data": []})),
        (&path("secrets", &secret), json!({"Labels": "x"})),
        ("/configs/create", json!({"Name": 7})),
        (&path("configs", &config), json!({"Labels": []})),
        (&path("nodes", &node), json!({"Role": 7})),
    ]
    .map(|(path, wrong)| (path.to_owned(), wrong))
    .into()
}

#[test]
fn documents_that_cannot_be_read_are_refused_by_every_route() {
    let Some(single) = Single::own() else { return };
    let routes = routes(&single);
    let before = inventory(&single);
    let mut odd = Vec::new();
    let mut demand = |answer: &Answer, what: String, words: &str| match refusal(answer, &what) {
        Ok(said) if said.contains(words) => {}
        Ok(said) => odd.push(format!("{what}: {said}")),
        Err(error) => odd.push(error),
    };
    for (path, wrong) in &routes {
        for body in ["[", "{", "{\"Name\":", "\"name\"", "7", "[7]", "{} {}", "{\"a\":1}}", "\u{0}"]
        {
            demand(&single.api("POST", path, body), format!("{path} {body}"), "invalid JSON");
        }
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        demand(&single.api("POST", path, &deep), format!("{path} with much in it"), "invalid JSON");
        let typed = single.api("POST", path, &wrong.to_string());
        demand(&typed, format!("{path} {wrong}"), "invalid JSON: expected");
        for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let answer = with_kind(&single, path, kind, b"{\"Name\":\"x\"}");
            demand(&answer, format!("{path} as {kind:?}"), "Content-Type header");
        }
    }
    none(&odd);
    assert_eq!(inventory(&single), before, "something was changed");
}

#[test]
fn a_body_beyond_the_bound_is_refused_by_every_route() {
    let Some(single) = Single::own() else { return };
    let routes = routes(&single);
    let before = inventory(&single);
    let body = format!("{{\"Name\":\"{}\"}}", "x".repeat(8 << 20));
    for (path, _) in &routes {
        let answer = single.api("POST", path, &body);
        assert_eq!(answer.status, 413, "{path}: {}", answer.text());
        assert_eq!(answer.message(), "request body too large");
    }
    assert_eq!(inventory(&single), before, "something was changed");
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let Some(single) = Single::own() else { return };
    routes(&single);
    let before = inventory(&single);
    let mut odd = Vec::new();
    let long = "n".repeat(10_000);
    let service =
        |container: Value| json!({"Name": "other", "TaskTemplate": {"ContainerSpec": container}});
    let host = |config: Value| json!({"Image": IMAGE, "HostConfig": config});
    for (path, body) in [
        // Names that are missing, lead elsewhere, or are none.
        ("/containers/create?name=..", json!({"Image": IMAGE})),
        ("/containers/create?name=a%2Fb", json!({"Image": IMAGE})),
        ("/containers/create?name=-x", json!({"Image": IMAGE})),
        ("/containers/create?name=a%0Ab", json!({"Image": IMAGE})),
        (&format!("/containers/create?name={long}"), json!({"Image": IMAGE})),
        ("/containers/create", json!({})),
        ("/containers/create", json!({"Image": "../x"})),
        ("/containers/create", json!({"Image": "case/UPPER"})),
        ("/containers/create", json!({"Image": "nosuchimage"})),
        ("/volumes/create", json!({"Name": "../v"})),
        ("/volumes/create", json!({"Name": "a/b"})),
        ("/volumes/create", json!({"Name": ".."})),
        ("/volumes/create", json!({"Name": long})),
        ("/volumes/create", json!({"Name": "v", "Driver": "../local"})),
        ("/networks/create", json!({})),
        ("/networks/create", json!({"Name": ""})),
        ("/networks/create", json!({"Name": " "})),
        ("/networks/create", json!({"Name": "n", "Driver": "../bridge"})),
        ("/networks/create", json!({"Name": "n", "IPAM": {"Config": [{"Subnet": "10.0.0.0/99"}]}})),
        ("/networks/create", json!({"Name": "n", "IPAM": {"Config": [{"Subnet": "x"}]}})),
        ("/networks/net/connect", json!({"Container": ""})),
        ("/networks/net/connect", json!({"Container": "nobody"})),
        ("/networks/nowhere/connect", json!({"Container": "web"})),
        ("/containers/web/rename?name=..", json!(null)),
        ("/containers/web/rename?name=", json!(null)),
        ("/secrets/create", json!({"Data": "eA=="})),
        ("/secrets/create", json!({"Name": "../s", "Data": "eA=="})),
        ("/secrets/create", json!({"Name": "x", "Data": "no base64"})),
        ("/secrets/create", json!({"Name": "x"})),
        ("/configs/create", json!({"Data": "eA=="})),
        ("/configs/create", json!({"Name": "a/b", "Data": "eA=="})),
        ("/services/create", json!({})),
        ("/services/create", json!({"Name": "other"})),
        (
            "/services/create",
            json!({"Name": "../x", "TaskTemplate": {"ContainerSpec": {"Image": IMAGE}}}),
        ),
        ("/services/create", service(json!({}))),
        ("/services/create", service(json!({"Image": "case/UPPER"}))),
        ("/services/nowhere/update?version=1", service(json!({"Image": IMAGE}))),
        ("/swarm/update?version=x", json!({})),
        ("/nodes/nowhere/update?version=1", json!({"Role": "worker", "Availability": "active"})),
        // Numbers and words that cannot be.
        ("/containers/create", host(json!({"Memory": 1}))),
        ("/containers/create", host(json!({"Memory": -1_000_000}))),
        ("/containers/create", host(json!({"NanoCpus": 1_000_000_000_000_i64}))),
        ("/containers/create", host(json!({"RestartPolicy": {"Name": "sometimes"}}))),
        ("/containers/create", host(json!({"NetworkMode": "container:nobody"}))),
        ("/containers/create", host(json!({"PidMode": "elsewhere"}))),
        ("/containers/create", host(json!({"Binds": ["../x:/y"]}))),
        ("/containers/create", host(json!({"Binds": ["/x:y"]}))),
        ("/containers/create", host(json!({"Binds": ["/:/"]}))),
        ("/containers/create", host(json!({"Binds": ["v:/a", "w:/a"]}))),
        ("/containers/create", host(json!({"Mounts": [{"Type": "odd", "Target": "/x"}]}))),
        (
            "/containers/create",
            host(
                json!({"Mounts": [{"Type": "bind", "Source": "/nowhere/at/all", "Target": "/x"}]}),
            ),
        ),
        ("/containers/create", host(json!({"PortBindings": {"x/tcp": [{}]}}))),
        ("/containers/create", host(json!({"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}))),
        ("/containers/create", host(json!({"CapAdd": ["CAP_NONE"]}))),
        ("/containers/create", host(json!({"LogConfig": {"Type": "odd"}}))),
        ("/containers/create", json!({"Image": IMAGE, "StopSignal": "SIGNONE"})),
        ("/containers/create", json!({"Image": IMAGE, "WorkingDir": "relative"})),
        (
            "/containers/create",
            json!({"Image": IMAGE, "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}}),
        ),
        ("/containers/web/update", json!({"Memory": 1})),
        ("/containers/web/update", json!({"RestartPolicy": {"Name": "sometimes"}})),
        ("/containers/web/exec", json!({})),
        ("/containers/web/exec", json!({"Cmd": []})),
        ("/containers/web/exec", json!({"Cmd": ["true"], "DetachKeys": "ctrl-?!"})),
        ("/containers/nobody/exec", json!({"Cmd": ["true"]})),
        ("/exec/nobody/start", json!({"Detach": true})),
        ("/containers/web/resize?h=x&w=1", json!(null)),
        ("/containers/web/kill?signal=NONE", json!(null)),
        ("/containers/web/stop?t=soon", json!(null)),
        ("/commit?container=nobody", json!({})),
        ("/commit?container=web&repo=UPPER", json!({})),
        ("/commit?container=web&repo=x&changes=NOTHING%20x", json!({})),
        (&format!("/images/{IMAGE}/tag?repo=UPPER"), json!(null)),
        ("/images/nosuch/tag?repo=x", json!(null)),
        ("/images/create?fromImage=..%2Fx", json!(null)),
        ("/images/create", json!(null)),
        ("/containers/prune?filters=%7B%22odd%22:%5B%22x%22%5D%7D", json!(null)),
        ("/volumes/prune?filters=x", json!(null)),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = single.api("POST", path, &body);
        odd.extend(refusal(&answer, &format!("{path:.200} {body:.200}")).err());
    }
    for path in [
        "/containers/..%2F..%2Fetc/json",
        "/containers/%00/json",
        "/containers/web/archive?path=",
        "/containers/web/archive?path=%00",
        "/containers/web/logs?stdout=1&tail=-1",
        "/containers/web/logs",
        "/containers/json?limit=x",
        "/containers/json?filters=%5B",
        "/containers/json?filters=%7B%22odd%22:%5B%22x%22%5D%7D",
        "/volumes/..%2Fx",
        "/networks/..%2Fx",
        "/images/..%2Fx/json",
        "/images/get?names=..%2Fx",
        "/events?since=x",
        "/exec/..%2Fx/json",
        "/secrets/..%2Fx",
        "/nowhere",
        "/v1.99/info",
        "/v1.1/info",
    ] {
        odd.extend(refusal(&single.api("GET", path, ""), path).err());
    }
    none(&odd);
    assert_eq!(inventory(&single), before, "something was changed");
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let Some(single) = Single::shared() else { return };
    let more = |body: Value| {
        let mut body = body;
        body["Unheard"] = json!({"of": [1, {"x": null}]});
        body.to_string()
    };
    let volume = single.api("POST", "/volumes/create", &more(json!({"Name": "unheard"})));
    assert_eq!(volume.status, 201, "{}", volume.text());
    let network = single.api("POST", "/networks/create", &more(json!({"Name": "unheard"})));
    assert_eq!(network.status, 201, "{}", network.text());
    let document = json!({"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"Unheard": {"of": 7}}});
    let made = single.api("POST", "/containers/create?name=unheard", &more(document));
    assert_eq!(made.status, 201, "{}", made.text());
    for path in ["/containers/unheard", "/networks/unheard", "/volumes/unheard"] {
        assert_eq!(single.api("DELETE", path, "").status, 204, "{path}");
    }
}

#[test]
fn a_command_is_run_once() {
    let Some(single) = Single::shared() else { return };
    let document = json!({"Image": IMAGE, "Cmd": ["sleep", "1000"], "StopTimeout": 0}).to_string();
    assert_eq!(single.api("POST", "/containers/create?name=once", &document).status, 201);
    assert_eq!(single.api("POST", "/containers/once/start", "").status, 204);
    let made = single.api("POST", "/containers/once/exec", r#"{"Cmd":["true"]}"#).json();
    let path = format!("/exec/{}/start", made["Id"].as_str().unwrap());
    assert_eq!(single.api("POST", &path, r#"{"Detach":true}"#).status, 200);
    skep_e2e::eventually_blocking(skep_e2e::SOON, || {
        let shown = single.api("GET", &path.replace("start", "json"), "").json();
        if shown["Running"] == false { Ok(()) } else { Err(shown) }
    });
    for body in [r#"{"Detach":true}"#, "{}"] {
        let again = single.api("POST", &path, body);
        assert_eq!(again.status, 409, "{body}: {}", again.text());
        assert!(again.message().ends_with("has already run"), "{}", again.message());
    }
    assert_eq!(single.api("DELETE", "/containers/once?force=1", "").status, 204);
}

#[test]
fn one_prune_at_a_time() {
    let Some(single) = Single::own() else { return };
    // Enough to keep the first one busy.
    for number in 0..40 {
        let body = json!({"Image": IMAGE}).to_string();
        let path = format!("/containers/create?name=idle-{number}");
        assert_eq!(single.api("POST", &path, &body).status, 201);
    }
    let prune = || single.api("POST", "/containers/prune", "");
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(prune)).collect();
        asking.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let refused: Vec<&Answer> = answers.iter().filter(|it| it.status != 200).collect();
    assert!(!refused.is_empty() && refused.len() < 4, "{} of 4 were refused", refused.len());
    for answer in refused {
        assert_eq!(answer.status, 409);
        assert_eq!(answer.message(), "a prune operation is already running");
    }
    // The last of them does not hold up the next.
    assert_eq!(prune().status, 200);
    assert_eq!(inventory(&single)["containers"], json!([]));
}
