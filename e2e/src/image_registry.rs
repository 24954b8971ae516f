//! A registry of images on a fleet's host, for tests that push and pull: Debian's `docker-registry`.

use anyhow::Result;

use crate::host::Host;
use crate::session::Session;
use crate::{eventually_blocking, limits};

/// Whom a registry knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Nobody,
    /// `ali`, whose password is `open sesame`.
    Ali,
}

/// It ends with its host, and so does what it holds.
pub struct ImageRegistry {
    _running: Session,
    /// `host:port`.
    pub at: String,
}

/// The port, then whether there is a login.
const SCRIPT: &str = r#"
    dir=/tmp/registry-$1; mkdir -p $dir
    printf 'ali:$2b$04$16.v6WSHAclGdOyUEquUKuqoDuf6WiN9KK1cpujrHzLDh8Io5UE1G\n' > $dir/passwords
    cat > $dir/config.yml <<END
version: 0.1
storage: { filesystem: { rootdirectory: $dir/data }, delete: { enabled: true } }
http: { addr: "0.0.0.0:$1", secret: test }
END
    [ $2 = no ] || echo "auth: { htpasswd: { realm: test, path: $dir/passwords } }" >> $dir/config.yml
    exec docker-registry serve $dir/config.yml"#;

impl ImageRegistry {
    /// Waits until it answers; none (and SKIP) where no such program is installed.
    pub fn serve(host: &Host, port: u16, login: Login) -> Result<Option<Self>> {
        if !host.run(&["which", "docker-registry"])?.status.success() {
            eprintln!("SKIP: no docker-registry is installed");
            return Ok(None);
        }
        let (port, known) = (port.to_string(), if login == Login::Ali { "yes" } else { "no" });
        let command = host.command(&["sh", "-c", SCRIPT, "sh", &port, known])?;
        let registry =
            Self { _running: Session::on_pipes(command)?, at: format!("127.0.0.1:{port}") };
        let asked = format!("http://{}/v2/", registry.at);
        eventually_blocking(limits::SHOWN_WITHIN, || {
            // One that wants a login answers too.
            let words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", &asked];
            let output = host.run(&words).map_err(|error| format!("{error:#}"))?;
            match &output.stdout[..] {
                b"200" | b"401" => Ok(()),
                other => Err(format!("{asked} gives {}", String::from_utf8_lossy(other))),
            }
        });
        Ok(Some(registry))
    }
}
