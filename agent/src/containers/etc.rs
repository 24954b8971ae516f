//! The files of a container's /etc that are the node's to write: hosts, hostname, resolv.conf.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use skep_types::container::ContainerSpec;

use super::failed;
use crate::executor::ExecutorError;

/// Where the files of one container stand.
pub struct EtcFiles {
    pub hosts: PathBuf,
    pub hostname: PathBuf,
    pub resolv_conf: PathBuf,
}

impl EtcFiles {
    /// Gives them to a user and a group of the host.
    pub fn own(&self, (uid, gid): (u32, u32)) -> std::io::Result<()> {
        let files = [&self.hosts, &self.hostname, &self.resolv_conf];
        files.into_iter().try_for_each(|file| chown(file, Some(uid), Some(gid)))
    }
}

/// Writes them anew.
pub fn write(
    dir: &Path,
    container: &str,
    spec: &ContainerSpec,
    hostname: &str,
    own: &[IpAddr],
    nameserver: Option<IpAddr>,
) -> Result<EtcFiles, ExecutorError> {
    let dir = dir.join(container);
    std::fs::create_dir_all(&dir).map_err(failed)?;
    let files = EtcFiles {
        hosts: dir.join("hosts"),
        hostname: dir.join("hostname"),
        resolv_conf: dir.join("resolv.conf"),
    };
    std::fs::write(&files.hosts, hosts(spec, hostname, own)).map_err(failed)?;
    std::fs::write(&files.hostname, format!("{hostname}\n")).map_err(failed)?;
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    std::fs::write(&files.resolv_conf, resolv_conf(spec, nameserver, &host)).map_err(failed)?;
    Ok(files)
}

/// Removes them; a container that has none is no error.
pub fn remove(dir: &Path, container: &str) -> Result<(), ExecutorError> {
    match std::fs::remove_dir_all(dir.join(container)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

fn hosts(spec: &ContainerSpec, hostname: &str, own: &[IpAddr]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for entry in &spec.hosts {
        // `address host…`; what is no line of the file is left out.
        let Some((address, names)) = entry.split_once(char::is_whitespace) else { continue };
        let _ = writeln!(text, "{address}\t{}", names.trim());
    }
    for address in own {
        let _ = writeln!(text, "{address}\t{hostname}");
    }
    text
}

fn resolv_conf(spec: &ContainerSpec, nameserver: Option<IpAddr>, host: &str) -> String {
    let mut text = String::new();
    let of_host = |word: &str| -> Vec<String> {
        let lines = host.lines().filter_map(|line| line.trim().strip_prefix(word));
        lines.map(|rest| rest.trim().to_owned()).collect()
    };
    match nameserver {
        // The embedded server asks the others itself.
        Some(server) => {
            let _ = writeln!(text, "nameserver {server}");
        }
        None => {
            let given = &spec.dns.nameservers;
            let servers = if given.is_empty() { of_host("nameserver") } else { given.clone() };
            for server in servers {
                let _ = writeln!(text, "nameserver {server}");
            }
        }
    }
    let search = if spec.dns.search.is_empty() {
        of_host("search").join(" ")
    } else {
        spec.dns.search.join(" ")
    };
    if !search.is_empty() && search != "." {
        let _ = writeln!(text, "search {search}");
    }
    let mut options = spec.dns.options.clone();
    if options.is_empty() {
        options = of_host("options");
    }
    if nameserver.is_some() && !options.iter().any(|option| option.contains("ndots")) {
        // Docker's: names without a dot are the network's before they are anybody else's.
        options.push("ndots:0".to_owned());
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_names_and_servers() {
        let mut spec = ContainerSpec {
            hosts: vec!["10.0.0.9 db".into(), "10.0.0.8 cache old-cache".into()],
            ..ContainerSpec::default()
        };
        let hosts = hosts(&spec, "web", &["10.0.1.2".parse().unwrap()]);
        assert!(
            hosts.ends_with("10.0.0.9\tdb\n10.0.0.8\tcache old-cache\n10.0.1.2\tweb\n"),
            "{hosts}"
        );
        let host = "nameserver 192.0.2.1\nsearch example.org\n";
        assert_eq!(resolv_conf(&spec, None, host), host);
        let embedded = Some("127.0.0.11".parse().unwrap());
        assert_eq!(
            resolv_conf(&spec, embedded, host),
            "nameserver 127.0.0.11\nsearch example.org\noptions ndots:0\n"
        );
        spec.dns.search = vec![".".into()];
        assert_eq!(resolv_conf(&spec, None, host), "nameserver 192.0.2.1\n");
    }
}
