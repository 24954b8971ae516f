//! Which objects each list shows, and what is refused in Docker's words.

mod common;

use common::*;
use skep_docker_api::filters::{
    Filters, NetworkFilter, NodeFilter, PayloadFilter, ServiceFilter, TaskFilter,
};
use skep_docker_api::{ApiError, convert, resolve};
use skep_types::*;

fn parsed(text: &str) -> Filters {
    Filters::parse(text).unwrap()
}

fn find_service(given: &str) -> Result<ServiceId, ApiError> {
    resolve::find("service", given, [(SERVICE, "shop_web", SERVICE)].into_iter())
}

fn find_node(given: &str) -> Result<NodeId, ApiError> {
    resolve::find("node", given, [(NODE, "host1", NODE)].into_iter())
}

#[test]
fn services() {
    for (text, expected) in [
        ("", true),
        (r#"{"name":["shop"]}"#, true),
        (r#"{"name":["web","shop_w"]}"#, true),
        (r#"{"name":["web"]}"#, false),
        (r#"{"id":["00000000000000000000000"]}"#, true),
        (r#"{"id":["1"]}"#, false),
        (r#"{"mode":["replicated"]}"#, true),
        (r#"{"mode":["global"]}"#, false),
        (r#"{"label":["com.docker.stack.namespace=shop"]}"#, true),
        (r#"{"label":["com.docker.stack.namespace"]}"#, true),
        (r#"{"label":["com.docker.stack.namespace=other"]}"#, false),
        (r#"{"label":["com.docker.stack.namespace","more"]}"#, false),
        (r#"{"name":["shop"],"mode":["global"]}"#, false),
        (r#"{"runtime":["container"]}"#, true),
        (r#"{"runtime":["plugin"]}"#, false),
    ] {
        let filter = ServiceFilter::new(&parsed(text)).unwrap();
        assert_eq!(filter.matches(&service()), expected, "{text}");
    }
}

#[test]
fn nodes() {
    for (text, expected) in [
        (r#"{"name":["host"]}"#, true),
        (r#"{"name":["ost1"]}"#, false),
        (r#"{"role":["manager"]}"#, true),
        (r#"{"role":["Manager"]}"#, true),
        (r#"{"role":["worker"]}"#, false),
        (r#"{"membership":["accepted"]}"#, true),
        (r#"{"membership":["pending"]}"#, false),
        (r#"{"label":["disk=ssd"]}"#, true),
        (r#"{"node.label":["disk=ssd"]}"#, false),
    ] {
        let filter = NodeFilter::new(&parsed(text)).unwrap();
        assert_eq!(filter.matches(&node()), expected, "{text}");
    }
}

#[test]
fn tasks() {
    let (old, mut outdated) = (service(), service());
    outdated.spec_version = Revision(13);
    for (text, expected) in [
        (r#"{"service":["shop_web"]}"#, true),
        (r#"{"node":["host1"]}"#, true),
        (r#"{"desired-state":["running"]}"#, true),
        (r#"{"desired-state":["RUNNING"]}"#, true),
        (r#"{"desired-state":["shutdown"]}"#, false),
        (r#"{"desired-state":["running","shutdown"]}"#, true),
        (r#"{"name":["shop_web.2"]}"#, true),
        (r#"{"name":["shop_web.3"]}"#, false),
        (r#"{"label":["com.docker.stack.namespace=shop"]}"#, true),
        (r#"{"_up-to-date":["true"]}"#, true),
    ] {
        let filter = TaskFilter::new(&parsed(text), &find_service, &find_node).unwrap();
        assert_eq!(filter.matches(&task(2), Some(&old)), expected, "{text}");
    }
    let filter = parsed(r#"{"_up-to-date":["true"]}"#);
    let filter = TaskFilter::new(&filter, &find_service, &find_node).unwrap();
    assert!(!filter.matches(&task(2), Some(&outdated)) && !filter.matches(&task(2), None));
    let mut elsewhere = task(1);
    elsewhere.node_id = None;
    let filter = TaskFilter::new(&parsed(r#"{"node":["host1"]}"#), &find_service, &find_node);
    assert!(!filter.unwrap().matches(&elsewhere, Some(&old)));
}

#[test]
fn payloads_and_networks() {
    let annotations = named("pw");
    for (text, expected) in
        [(r#"{"name":["p"]}"#, true), (r#"{"names":["p"]}"#, false), (r#"{"names":["pw"]}"#, true)]
    {
        let filter = PayloadFilter::secrets(&parsed(text)).unwrap();
        assert_eq!(filter.matches(SecretId::new(1), &annotations), expected, "{text}");
    }
    let network = convert::network_to_api(&network());
    for (text, expected) in [
        (r#"{"name":["default"]}"#, true),
        (r#"{"name":["^default"]}"#, false),
        (r#"{"name":["^shop_.*t$"]}"#, true),
        (r#"{"name":["(broken"]}"#, false),
        (r#"{"driver":["overlay"]}"#, true),
        (r#"{"scope":["local"]}"#, false),
        (r#"{"type":["custom"]}"#, true),
        (r#"{"type":["builtin"]}"#, false),
        (r#"{"dangling":["true"]}"#, false),
        (r#"{"dangling":["0"]}"#, true),
    ] {
        let filter = NetworkFilter::new(&parsed(text)).unwrap();
        assert_eq!(filter.matches(&network, true), expected, "{text}");
    }
    let filter = NetworkFilter::new(&parsed(r#"{"dangling":["true"]}"#)).unwrap();
    assert!(filter.matches(&network, false));
}

#[test]
fn what_no_list_knows_is_refused() {
    let message = |result: Result<(), ApiError>| result.unwrap_err().message;
    let service = |text| message(ServiceFilter::new(&parsed(text)).map(drop));
    assert_eq!(service(r#"{"colour":["red"]}"#), "invalid filter 'colour'");
    let node = |text| message(NodeFilter::new(&parsed(text)).map(drop));
    assert_eq!(node(r#"{"mode":["x"]}"#), "invalid filter 'mode'");
    assert_eq!(node(r#"{"role":["boss"]}"#), "Invalid role filter: 'boss'");
    let task = |text| message(TaskFilter::new(&parsed(text), &find_service, &find_node).map(drop));
    assert_eq!(task(r#"{"desired-state":["done"]}"#), "Invalid desired-state filter: 'done'");
    assert_eq!(task(r#"{"service":["nope"]}"#), "service nope not found");
    assert_eq!(
        message(PayloadFilter::configs(&parsed(r#"{"names":["x"]}"#)).map(drop)),
        "invalid filter 'names'"
    );
    let network = |text| message(NetworkFilter::new(&parsed(text)).map(drop));
    assert_eq!(network(r#"{"type":["odd"]}"#), "invalid filter: 'type'='odd'");
    assert!(
        network(r#"{"dangling":["maybe"]}"#).starts_with("invalid value for filter 'dangling'")
    );
    assert!(network(r#"{"dangling":["1","0"]}"#).starts_with("got more than one value"));
}
