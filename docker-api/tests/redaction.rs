//! Nothing secret is shown by `Debug`, however deep it sits.

use skep_docker_api::json::*;

fn hides(shape: impl std::fmt::Debug, secrets: &[&str]) {
    let shown = format!("{shape:?} {shape:#?}");
    assert!(shown.contains("<redacted>"), "{shown}");
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn secrets_and_tokens_are_never_shown() {
    let tokens = JoinTokens { worker: "SWMTKN-w".into(), manager: "SWMTKN-m".into() };
    hides(Swarm { join_tokens: tokens, ..Default::default() }, &["SWMTKN"]);
    hides(SwarmJoinRequest { join_token: "SWMTKN-w".into(), ..Default::default() }, &["SWMTKN"]);
    hides(SwarmUnlockRequest { unlock_key: "SWMKEY-1".into() }, &["SWMKEY"]);
    hides(UnlockKeyResponse { unlock_key: "SWMKEY-1".into() }, &["SWMKEY"]);
    let spec = SecretSpec { data: "aHVudGVyMg==".into(), ..Default::default() };
    hides(Secret { spec, ..Default::default() }, &["aHVudGVyMg"]);
    let ca_config = CaConfig { signing_ca_key: "PRIVATE".into(), ..Default::default() };
    hides(SwarmSpec { ca_config, ..Default::default() }, &["PRIVATE"]);
    let options = Map::from([("o".into(), "password=hunter2".into())]);
    hides(Driver { name: "local".into(), options }, &["hunter2"]);
    let env = vec!["PASSWORD=hunter2".into()];
    hides(ContainerSpec { env, ..Default::default() }, &["hunter2"]);
    let auth = RegistryAuth {
        username: "me".into(),
        password: "hunter2".into(),
        auth: "bWU6aHVudGVyMg".into(),
        identity_token: "id-token".into(),
        registry_token: "reg-token".into(),
        ..Default::default()
    };
    hides(&auth, &["hunter2", "bWU6", "id-token", "reg-token"]);
}

#[test]
fn what_is_not_secret_is_shown_and_absence_too() {
    let shown = format!("{:?}", SecretSpec { name: "pw".into(), ..Default::default() });
    assert!(shown.contains("name: \"pw\"") && shown.contains("data: <empty>"), "{shown}");
}

#[test]
fn registry_logins_travel_in_a_header() {
    let auth = RegistryAuth { username: "me".into(), password: "p?>".into(), ..Default::default() };
    let header = auth.to_header();
    assert_eq!(RegistryAuth::from_header(&header).unwrap(), Some(auth.clone()));
    assert_eq!(RegistryAuth::from_header(header.trim_end_matches('=')).unwrap(), Some(auth));
    assert_eq!(RegistryAuth::from_header("").unwrap(), None);
    // What docker sends without a login: {} in base64.
    assert_eq!(RegistryAuth::from_header("e30=").unwrap(), None);
    let error = RegistryAuth::from_header("hunter2!").unwrap_err();
    assert_eq!(error.message, "invalid X-Registry-Auth header");
}
