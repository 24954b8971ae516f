//! The files of a container's /etc that are the engine's to write: hosts, hostname, resolv.conf.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use skep_bridge::Sandbox;

const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// Where the files of one container stand.
#[derive(Debug, Clone)]
pub struct EtcFiles {
    pub hosts: PathBuf,
    pub hostname: PathBuf,
    pub resolv_conf: PathBuf,
}

impl EtcFiles {
    pub fn at(place: &Path) -> EtcFiles {
        EtcFiles {
            hosts: place.join("hosts"),
            hostname: place.join("hostname"),
            resolv_conf: place.join("resolv.conf"),
        }
    }

    /// Gives them to a user and a group of the host.
    pub fn own(&self, (uid, gid): (u32, u32)) -> io::Result<()> {
        let files = [&self.hosts, &self.hostname, &self.resolv_conf];
        files.into_iter().try_for_each(|file| chown(file, Some(uid), Some(gid)))
    }

    /// Writes them in place: a container that runs sees them change.
    pub fn write(
        &self,
        hostname: &str,
        extra: &[String],
        sandbox: &Sandbox,
        gateway: Option<IpAddr>,
    ) -> io::Result<()> {
        // A container in the host's namespace has the host's names too.
        let base = match sandbox.namespace {
            None => std::fs::read_to_string("/etc/hosts").unwrap_or_else(|_| LOOPBACK.to_owned()),
            Some(_) => LOOPBACK.to_owned(),
        };
        std::fs::write(&self.hosts, hosts(base, extra, &sandbox.hosts, gateway))?;
        std::fs::write(&self.hostname, format!("{hostname}\n"))?;
        std::fs::write(&self.resolv_conf, &sandbox.resolv_conf)
    }
}

fn hosts(
    base: String,
    extra: &[String],
    own: &[(IpAddr, Vec<String>)],
    gateway: Option<IpAddr>,
) -> String {
    let mut text = base;
    for entry in extra {
        let Some((name, address)) = split(entry) else { continue };
        let address = match (address, gateway) {
            ("host-gateway", Some(gateway)) => gateway.to_string(),
            (address, _) => address.trim_matches(['[', ']']).to_owned(),
        };
        let _ = writeln!(text, "{address}\t{name}");
    }
    for (address, names) in own {
        let _ = writeln!(text, "{address}\t{}", names.join(" "));
    }
    text
}

/// `name:address` or `name=address`.
fn split(entry: &str) -> Option<(&str, &str)> {
    entry.split_once('=').or_else(|| entry.split_once(':'))
}

/// Refuses what is no host and address, in Docker's words.
pub fn check(extra: &[String]) -> Result<(), String> {
    for entry in extra {
        let Some((_, address)) = split(entry).filter(|(name, _)| !name.is_empty()) else {
            return Err(format!("bad format for add-host: \"{entry}\""));
        };
        let bare = address.trim_matches(['[', ']']);
        if address != "host-gateway" && bare.parse::<IpAddr>().is_err() {
            return Err(format!("invalid IP address in add-host: \"{address}\""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_docker_writes_them() {
        let own = [("172.17.0.2".parse().unwrap(), vec!["web".to_owned(), "w".to_owned()])];
        let extra = ["db:10.0.0.9", "up:host-gateway", "six=[::9]"].map(str::to_owned);
        let text = hosts(String::new(), &extra, &own, Some("172.17.0.1".parse().unwrap()));
        assert_eq!(text, "10.0.0.9\tdb\n172.17.0.1\tup\n::9\tsix\n172.17.0.2\tweb w\n");
        assert!(check(&extra).is_ok());
        for bad in ["db", ":1.2.3.4", "db:nowhere"] {
            assert!(check(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
