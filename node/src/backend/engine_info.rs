//! What `/info` says of the engine: its registries, its runtime, its own resources and pools.

use std::collections::BTreeMap;

use skep_bridge::default_pools;
use skep_docker_api::json::{
    Commit, IndexInfo, Info, InfoAddressPool, RegistryServices, RuntimeInfo,
};

use crate::VERSION;
use crate::config::Config;
use crate::config_file::Settings;

/// Docker's own registry.
const HUB: &str = "docker.io";
/// Trusted without a word.
const LOCAL: [&str; 2] = ["::1/128", "127.0.0.0/8"];
/// The runtime is this program itself, under both names that clients know.
const RUNTIMES: [&str; 2] = ["io.containerd.runc.v2", "runc"];

/// Fills in the engine's part.
pub fn fill(info: &mut Info, config: &Config, settings: &Settings) {
    info.registry_config = Some(registries(settings));
    let runtime = || RuntimeInfo { path: "runc".to_owned(), args: Vec::new() };
    info.runtimes = RUNTIMES.map(|name| (name.to_owned(), runtime())).into();
    info.default_runtime.clone_from(&settings.default_runtime);
    // Containers go on without the daemon, always.
    info.live_restore_enabled = true;
    "skep-init".clone_into(&mut info.init_binary);
    // There are no other programs: what they would do is this one's.
    let own = || Commit { id: format!("skep-{VERSION}") };
    (info.containerd_commit, info.runc_commit, info.init_commit) = (own(), own(), own());
    // As in Docker: told of where somebody has set them.
    let pools = &config.networks.pools;
    if *pools != default_pools() {
        let pool = |it: &skep_bridge::AddressPool| InfoAddressPool {
            base: it.base.to_string(),
            size: it.size.into(),
        };
        info.default_address_pools = pools.iter().map(pool).collect();
    }
}

fn registries(settings: &Settings) -> RegistryServices {
    let mirrors = settings.mirrors();
    let index = |name: &str, mirrors: &[String], secure, official| IndexInfo {
        name: name.to_owned(),
        mirrors: mirrors.to_vec(),
        secure,
        official,
    };
    let mut index_configs = BTreeMap::new();
    index_configs.insert(HUB.to_owned(), index(HUB, &mirrors, true, true));
    let (networks, hosts): (Vec<_>, Vec<_>) =
        settings.registries.insecure.iter().cloned().partition(|it| it.contains('/'));
    for host in hosts {
        let shown = index(&host, &[], false, false);
        index_configs.insert(host, shown);
    }
    let local = LOCAL.map(str::to_owned).into_iter();
    RegistryServices {
        insecure_cidrs: local.chain(networks).collect(),
        index_configs,
        mirrors: Some(mirrors),
        ..RegistryServices::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn registries_are_shown_as_docker_shows_them() {
        let file = json!({
            "insecure-registries": ["10.0.0.0/8", "r:5000"], "registry-mirrors": ["http://m"],
        });
        let settings = Settings::of(file.as_object().unwrap()).unwrap();
        let shown = serde_json::to_value(registries(&settings)).unwrap();
        assert_eq!(
            shown,
            json!({
                "AllowNondistributableArtifactsCIDRs": null,
                "AllowNondistributableArtifactsHostnames": null,
                "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", "10.0.0.0/8"],
                "IndexConfigs": {
                    "docker.io": {
                        "Name": "docker.io", "Mirrors": ["http://m/"], "Secure": true,
                        "Official": true,
                    },
                    "r:5000": { "Name": "r:5000", "Mirrors": [], "Secure": false, "Official": false },
                },
                "Mirrors": ["http://m/"],
            })
        );
    }
}
