//! Links on the default bridge: what a container learns of those it is linked to, beside their names
//! in its /etc/hosts; and their end.

use std::net::IpAddr;

use skep_docker_api::ApiError;
use skep_docker_api::json::ContainerConfig;

use crate::containers::{Containers, Result};
use crate::record::{Phase, Record};

/// A link's words: `other` or `other:alias`.
pub fn parts(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, text))
}

/// `80/tcp` as number and protocol.
type Port = (u16, String);

/// All the variables of one link, as Docker names them.
fn variables(name: &str, address: IpAddr, ports: &[Port], env: &[String]) -> Vec<String> {
    let alias = name.rsplit('/').next().unwrap_or(name).to_uppercase().replace('-', "_");
    let at = |(port, protocol): &Port| format!("{protocol}://{address}:{port}");
    let prefix =
        |(port, protocol): &Port| format!("{alias}_PORT_{port}_{}", protocol.to_uppercase());
    let mut all = Vec::new();
    // The first port is the one that is meant where none is named.
    if let Some(first) = ports.first() {
        all.push(format!("{alias}_PORT={}", at(first)));
    }
    for run in ports.chunk_by(|a, b| a.1 == b.1 && a.0.checked_add(1) == Some(b.0)) {
        let [first, .., last] = run else { continue };
        let begin = prefix(first);
        all.extend([
            format!("{begin}_START={}", at(first)),
            format!("{begin}_PORT_START={}", first.0),
            format!("{begin}_END={}", at(last)),
            format!("{begin}_PORT_END={}", last.0),
        ]);
    }
    for port in ports {
        let prefix = prefix(port);
        all.extend([
            format!("{prefix}={}", at(port)),
            format!("{prefix}_ADDR={address}"),
            format!("{prefix}_PORT={}", port.0),
            format!("{prefix}_PROTO={}", port.1),
        ]);
    }
    all.push(format!("{alias}_NAME={name}"));
    let theirs = env.iter().filter_map(|it| it.split_once('='));
    let theirs = theirs.filter(|(name, _)| !matches!(*name, "HOME" | "PATH"));
    all.extend(theirs.map(|(name, value)| format!("{alias}_ENV_{name}={value}")));
    all
}

/// Those of TCP first, then by number.
fn ports(config: &ContainerConfig) -> Vec<Port> {
    let port = |text: &String| {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        Some((number.parse().ok()?, protocol.to_owned()))
    };
    let mut ports: Vec<Port> = config.exposed_ports.keys().filter_map(port).collect();
    ports.sort_by_key(|(number, protocol)| (*protocol != "tcp", *number));
    ports
}

impl Containers {
    /// The variables of all of a container's links.
    pub(crate) async fn link_variables(&self, record: &Record) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for text in record.host_config.links.iter().flatten() {
            let (other, alias) = parts(text);
            let other = self.find(other)?.record();
            let Some(sandbox) = self.parts.networks.sandbox(&other.id).await else { continue };
            let on_bridge = sandbox.networks.get("bridge");
            let address = on_bridge.and_then(|it| it.ip_address.parse::<IpAddr>().ok());
            let Some(address) = address else { continue };
            let name = format!("/{}/{alias}", record.name);
            all.extend(variables(&name, address, &ports(&other.config), &other.config.env));
        }
        Ok(all)
    }

    /// Takes the link `container/alias` away; both containers stay.
    pub(crate) async fn remove_link(&self, given: &str) -> Result<()> {
        let path = given.trim_start_matches('/');
        let Some((parent, alias)) = path.rsplit_once('/') else {
            self.find(given)?;
            return Err(ApiError::conflict(
                "Conflict, cannot remove the default link name of the container",
            ));
        };
        let entry = self.find(parent)?;
        let _change = entry.change.lock().await;
        let is_it = |text: &String| parts(text).1 == alias;
        if !entry.with(|it| it.host_config.links.iter().flatten().any(is_it)) {
            return Err(ApiError::not_found(format!("No such container: {path}")));
        }
        entry.alter(|it| {
            it.host_config.links.iter_mut().for_each(|all| all.retain(|it| !is_it(it)))
        });
        self.save(&entry, true).await?;
        if entry.with(|it| it.state.phase == Phase::Running) {
            let left = self.parts.networks.unlink(&entry.id, alias).await;
            let sandbox = left.map_err(ApiError::from)?;
            self.write_etc(&entry.record(), &sandbox).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_dockers() {
        let port = |number, protocol: &str| (number, protocol.to_owned());
        let ports = [port(80, "tcp"), port(81, "tcp"), port(53, "udp")];
        let env = ["A=b=c".to_owned(), "HOME=/".to_owned()];
        let all = variables("/app/my-db", "10.0.0.2".parse().unwrap(), &ports, &env);
        for wanted in [
            "MY_DB_PORT=tcp://10.0.0.2:80",
            "MY_DB_PORT_80_TCP_START=tcp://10.0.0.2:80",
            "MY_DB_PORT_80_TCP_PORT_END=81",
            "MY_DB_PORT_53_UDP_ADDR=10.0.0.2",
            "MY_DB_NAME=/app/my-db",
            "MY_DB_ENV_A=b=c",
        ] {
            assert!(all.iter().any(|it| it == wanted), "{wanted} is not in {all:?}");
        }
        assert!(!all.iter().any(|it| it.contains("HOME") || it.contains("53_UDP_START")));
    }
}
