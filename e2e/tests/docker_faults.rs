//! What a daemon is sent by mistake or in malice: refused in clear words, and nothing changed.

use skep_e2e::Single;

#[test]
fn broken_documents_are_refused_and_nothing_is_made() {
    let Some(single) = Single::shared() else { return };
    for path in ["/volumes/create", "/networks/create"] {
        for body in ["[", "{\"Name\":", "{\"Name\": 7}", "\"name\""] {
            let answer = single.api("POST", path, body);
            assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
            assert!(!answer.message().is_empty(), "{path} {body}: no reason is given");
        }
    }
    let volumes = single.api("GET", "/volumes", "").json();
    assert_eq!(volumes["Volumes"].as_array().map_or(0, Vec::len), 0, "{volumes}");
}

#[test]
fn a_body_beyond_the_bound_is_refused() {
    let Some(single) = Single::shared() else { return };
    let body = format!("{{\"Name\":\"{}\"}}", "x".repeat(8 << 20));
    let answer = single.api("POST", "/volumes/create", &body);
    assert!((400..500).contains(&answer.status), "{}: {}", answer.status, answer.text());
    // The daemon goes on.
    assert_eq!(single.api("GET", "/_ping", "").text(), "OK");
}
