//! What older versions of the API mean and expect: requests are read as their version's clients mean them, and answers get the
//! keys that were there then.
//!
//! Each rule stands with the version that ended it. Answers change here alone: a backend gives those of the newest version.

use axum::response::{IntoResponse, Json, Response};
use http::HeaderMap;
use http::header::USER_AGENT;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Answer, ApiVersion};
use crate::error::ApiError;
use crate::filters::Filters;
use crate::json::*;

/// Of a container's id, as it is a name on networks.
const SHORT_ID_DIGITS: usize = 12;

/// Networks that nobody made.
const PREDEFINED: [&str; 4] = ["bridge", "host", "none", "default"];

/// A document, and what an older version has of it beside.
fn with<T: Serialize>(document: &T, edit: impl Fn(&mut Map<String, Value>)) -> Answer<Value> {
    let mut value = serde_json::to_value(document)
        .map_err(|error| ApiError::system(format!("failed to write an answer: {error}")))?;
    match &mut value {
        Value::Object(keys) => edit(keys),
        Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(edit),
        _ => {}
    }
    Ok(value)
}

/// What an image takes with its parents; the same as its size since images have no parents.
fn virtual_size(image: &mut Map<String, Value>) {
    let size = image.get("Size").cloned().unwrap_or_default();
    image.insert("VirtualSize".to_owned(), size);
}

pub(super) fn images(list: Vec<ImageSummary>, version: ApiVersion) -> Answer<Response> {
    if version >= ApiVersion(1, 44) {
        return Ok(Json(list).into_response());
    }
    Ok(Json(with(&list, virtual_size)?).into_response())
}

/// The version whose documents a client reads.
///
/// DEVIATION: Compose 1 asks for the newest version and takes a container's volumes over by a key of image documents that went with
/// 1.45, so with newer daemons it cannot replace a container; here it can.
pub(super) fn meant(version: ApiVersion, headers: &HeaderMap) -> ApiVersion {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if agent.starts_with("docker-compose/1.") { version.min(ApiVersion(1, 44)) } else { version }
}

pub(super) fn image(image: ImageInspect, version: ApiVersion) -> Answer<Response> {
    if version >= ApiVersion(1, 50) {
        return Ok(Json(image).into_response());
    }
    // All keys of a container's configuration were there, empty or not.
    let config = image.config.clone().map(ContainerConfig::from);
    let config = with(&config, |_| {})?;
    let never = with(&ContainerConfig::default(), |_| {})?;
    let value = with(&image, |keys| {
        keys.insert("Config".to_owned(), config.clone());
        // The container that a builder made the image of.
        if version < ApiVersion(1, 45) {
            keys.insert("Container".to_owned(), json!(""));
            keys.insert("ContainerConfig".to_owned(), never.clone());
        }
        if version < ApiVersion(1, 44) {
            virtual_size(keys);
        }
    })?;
    Ok(Json(value).into_response())
}

pub(super) fn container(mut container: ContainerInspect, version: ApiVersion) -> Answer<Response> {
    if version < ApiVersion(1, 45) {
        let short: String = container.id.chars().take(SHORT_ID_DIGITS).collect();
        let host = container.config.hostname.clone();
        let networks = container.network_settings.networks.iter_mut();
        // Where names are answered at all.
        for (_, network) in networks.filter(|(name, _)| !PREDEFINED.contains(&name.as_str())) {
            let aliases = network.aliases.get_or_insert_default();
            for name in [&short, &host].into_iter().filter(|name| !name.is_empty()) {
                if !aliases.contains(name) {
                    aliases.push(name.clone());
                }
            }
        }
    }
    if version >= ApiVersion(1, 42) {
        return Ok(Json(container).into_response());
    }
    let value = with(&container, |keys| {
        if let Some(Value::Object(host)) = keys.get_mut("HostConfig") {
            host.insert("KernelMemory".to_owned(), json!(0));
            host.insert("KernelMemoryTCP".to_owned(), json!(0));
        }
    })?;
    Ok(Json(value).into_response())
}

pub(super) fn disk_usage(usage: DiskUsage, version: ApiVersion) -> Answer<Response> {
    if version >= ApiVersion(1, 44) {
        return Ok(Json(usage).into_response());
    }
    let value = with(&usage, |keys| {
        if let Some(Value::Array(images)) = keys.get_mut("Images") {
            images.iter_mut().filter_map(Value::as_object_mut).for_each(virtual_size);
        }
        if version < ApiVersion(1, 42) {
            keys.insert("BuilderSize".to_owned(), json!(0));
        }
    })?;
    Ok(Json(value).into_response())
}

pub(super) fn info(info: Info, version: ApiVersion) -> Answer<Response> {
    if version >= ApiVersion(1, 25) {
        return Ok(Json(info).into_response());
    }
    let value = with(&info, |keys| {
        keys.insert("ExecutionDriver".to_owned(), json!("<not supported>"));
        // `name=seccomp,profile=builtin` was `seccomp`.
        let bare = |option: &String| {
            let name = option.split(',').find_map(|part| part.strip_prefix("name="));
            name.unwrap_or(option).to_owned()
        };
        let options: Vec<_> = info.security_options.iter().map(bare).collect();
        keys.insert("SecurityOptions".to_owned(), json!(options));
    })?;
    Ok(Json(value).into_response())
}

/// The filters of a list of images: one reference had a parameter of its own.
pub(super) fn image_filters(mut filters: Filters, filter: &str, version: ApiVersion) -> Filters {
    if version < ApiVersion(1, 41) && !filter.is_empty() {
        filters.add("reference", filter);
    }
    filters
}

/// The filters of a prune of volumes: it took named ones too.
pub(super) fn volume_filters(mut filters: Filters, version: ApiVersion) -> Filters {
    if version < ApiVersion(1, 42) {
        filters.0.remove("all");
        filters.add("all", "true");
    }
    filters
}

/// What a client says of a container without meaning it, or means without saying it.
pub(super) fn container_create(
    mut request: ContainerCreateRequest,
    version: ApiVersion,
) -> Answer<ContainerCreateRequest> {
    let host = &mut request.host_config;
    if version < ApiVersion(1, 25) {
        // The client removed it.
        host.auto_remove = false;
    }
    if version < ApiVersion(1, 40) {
        host.pids_limit = None;
        if host.ipc_mode.is_empty() {
            host.ipc_mode = "shareable".into();
        }
    }
    if version < ApiVersion(1, 42) {
        host.console_size = [0, 0];
    }
    for mount in &mut host.mounts {
        let kind = mount.kind.as_str();
        let foreign = [
            ("VolumeOptions", "volume", mount.volume_options.is_some()),
            ("BindOptions", "bind", mount.bind_options.is_some()),
            ("TmpfsOptions", "tmpfs", mount.tmpfs_options.is_some()),
        ];
        let foreign = foreign.iter().find(|(_, own, given)| *given && *own != kind);
        if version < ApiVersion(1, 42) {
            // Nobody looked at them.
            if kind != "volume" {
                mount.volume_options = None;
            }
            if kind != "tmpfs" {
                mount.tmpfs_options = None;
            }
        } else if let Some((options, _, _)) = foreign {
            return Err(ApiError::invalid(format!(
                "{options} must not be specified on mount type {kind:?}"
            )));
        }
        if let Some(bind) = &mut mount.bind_options {
            bind.non_recursive &= version >= ApiVersion(1, 40);
            bind.create_mountpoint &= version >= ApiVersion(1, 42);
            if version < ApiVersion(1, 44) && kind == "bind" && bind.read_only_force_recursive {
                return Err(ApiError::invalid(
                    "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
                ));
            }
        }
        let subpath = mount.volume_options.as_ref().is_some_and(|it| !it.subpath.is_empty());
        if subpath && version < ApiVersion(1, 45) {
            return Err(ApiError::invalid("VolumeOptions.Subpath needs API v1.45 or newer"));
        }
    }
    if version < ApiVersion(1, 43) {
        host.annotations.clear();
    }
    if version < ApiVersion(1, 44) {
        if let Some(health) = &mut request.config.healthcheck {
            health.start_interval_ns = 0;
        }
        one_network(&mut request)?;
    }
    Ok(request)
}

/// A container had one network at first, and its hardware address stood with the container.
fn one_network(request: &mut ContainerCreateRequest) -> Answer<()> {
    let Some(networking) = &mut request.networking_config else { return Ok(()) };
    let endpoints = &mut networking.endpoints_config;
    if endpoints.len() > 1 {
        let names: Vec<_> = endpoints.keys().cloned().collect();
        return Err(ApiError::invalid(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    for endpoint in endpoints.values_mut() {
        endpoint.mac_address.clone_from(&request.config.mac_address);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn read(answer: Answer<Response>) -> Value {
        let bytes = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn an_images_document_keeps_what_its_version_had() {
        let made = ImageInspect {
            size: 7,
            config: Some(ImageConfig { cmd: vec!["sh".into()], ..Default::default() }),
            ..Default::default()
        };
        for (minor, sizes, builders, whole) in [
            (24, true, true, true),
            (44, false, true, true),
            (45, false, false, true),
            (50, false, false, false),
        ] {
            let value = read(image(made.clone(), ApiVersion(1, minor))).await;
            assert_eq!(value["VirtualSize"] == 7, sizes, "1.{minor}");
            assert!(value["ContainerConfig"]["Volumes"].is_null());
            assert_eq!(value.get("ContainerConfig").is_some(), builders, "1.{minor}");
            assert_eq!(value["Config"].get("Hostname").is_some(), whole, "1.{minor}");
            assert_eq!(value["Config"]["Cmd"][0], "sh");
        }
        let list = vec![ImageSummary { size: 5, ..Default::default() }];
        assert_eq!(read(images(list.clone(), ApiVersion(1, 43))).await[0]["VirtualSize"], 5);
        assert!(read(images(list, ApiVersion(1, 44))).await[0].get("VirtualSize").is_none());
    }

    #[tokio::test]
    async fn a_containers_short_id_was_a_name_on_its_networks() {
        let mut made = ContainerInspect { id: "0123456789abcdef".into(), ..Default::default() };
        made.config.hostname = "box".into();
        for name in ["bridge", "own"] {
            made.network_settings.networks.insert(name.into(), EndpointSettings::default());
        }
        let old = read(container(made.clone(), ApiVersion(1, 41))).await;
        let networks = &old["NetworkSettings"]["Networks"];
        assert_eq!(networks["own"]["Aliases"], json!(["0123456789ab", "box"]));
        assert!(networks["bridge"]["Aliases"].is_null());
        assert_eq!(old["HostConfig"]["KernelMemory"], 0);
        let new = read(container(made, ApiVersion(1, 45))).await;
        assert!(new["NetworkSettings"]["Networks"]["own"]["Aliases"].is_null());
        assert!(new["HostConfig"].get("KernelMemory").is_none());
    }

    #[tokio::test]
    async fn old_words_for_the_daemon() {
        let usage = DiskUsage { images: Some(vec![ImageSummary::default()]), ..Default::default() };
        let old = read(disk_usage(usage.clone(), ApiVersion(1, 41))).await;
        assert_eq!((&old["BuilderSize"], &old["Images"][0]["VirtualSize"]), (&json!(0), &json!(0)));
        assert!(read(disk_usage(usage, ApiVersion(1, 44))).await.get("BuilderSize").is_none());
        let told = Info {
            security_options: vec!["name=seccomp,profile=builtin".into()],
            ..Default::default()
        };
        assert_eq!(
            read(info(told.clone(), ApiVersion(1, 24))).await["SecurityOptions"],
            json!(["seccomp"])
        );
        let new = read(info(told, ApiVersion(1, 25))).await;
        assert_eq!(new["SecurityOptions"], json!(["name=seccomp,profile=builtin"]));
    }

    #[test]
    fn old_filters() {
        let filtered = image_filters(Filters::default(), "web:*", ApiVersion(1, 40));
        assert!(filtered.exact("reference", "web:*") && !filtered.exact("reference", "db"));
        assert!(image_filters(Filters::default(), "web", ApiVersion(1, 41)).is_empty());
        assert_eq!(
            volume_filters(Filters::default(), ApiVersion(1, 41)).truth("all"),
            Ok(Some(true))
        );
        assert_eq!(volume_filters(Filters::default(), ApiVersion(1, 42)).truth("all"), Ok(None));
    }

    fn asked(text: Value, minor: u32) -> Answer<ContainerCreateRequest> {
        container_create(serde_json::from_value(text).unwrap(), ApiVersion(1, minor))
    }

    #[test]
    fn a_wish_that_its_version_did_not_know_is_none() {
        let wish = json!({
            "MacAddress": "02:42:ac:11:00:09",
            "Healthcheck": {"StartInterval": 5},
            "HostConfig": {
                "AutoRemove": true, "PidsLimit": 5, "ConsoleSize": [1, 2], "Annotations": {"a": "b"},
                "Mounts": [{"Type": "bind", "BindOptions": {"NonRecursive": true, "CreateMountpoint": true}}],
            },
            "NetworkingConfig": {"EndpointsConfig": {"own": {"MacAddress": "02:42:ac:11:00:01"}}},
        });
        let old = asked(wish.clone(), 24).unwrap();
        let host = &old.host_config;
        assert!(!host.auto_remove && host.pids_limit.is_none() && host.console_size == [0, 0]);
        assert!(host.annotations.is_empty() && host.ipc_mode == "shareable");
        assert_eq!(host.mounts[0].bind_options, Some(BindOptions::default()));
        assert_eq!(old.config.healthcheck.unwrap().start_interval_ns, 0);
        let endpoints = old.networking_config.unwrap().endpoints_config;
        assert_eq!(endpoints["own"].mac_address, "02:42:ac:11:00:09");
        let new: ContainerCreateRequest = serde_json::from_value(wish.clone()).unwrap();
        assert_eq!(asked(wish, 51), Ok(new));
    }

    #[test]
    fn what_a_version_cannot_say_is_refused() {
        let mount = |mount: Value| json!({"HostConfig": {"Mounts": [mount]}});
        let foreign = mount(json!({"Type": "bind", "VolumeOptions": {}}));
        let error = asked(foreign.clone(), 42).unwrap_err();
        assert_eq!(error.message, "VolumeOptions must not be specified on mount type \"bind\"");
        assert!(asked(foreign, 41).unwrap().host_config.mounts[0].volume_options.is_none());
        let forced =
            mount(json!({"Type": "bind", "BindOptions": {"ReadOnlyForceRecursive": true}}));
        assert!(asked(forced.clone(), 43).is_err() && asked(forced, 44).is_ok());
        let part = mount(json!({"Type": "volume", "VolumeOptions": {"Subpath": "a"}}));
        assert!(asked(part.clone(), 44).is_err() && asked(part, 45).is_ok());
        let two = json!({"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}});
        let error = asked(two.clone(), 43).unwrap_err();
        assert_eq!(
            error.message,
            "Container cannot be created with multiple network endpoints: a, b"
        );
        assert!(asked(two, 44).is_ok());
    }
}
