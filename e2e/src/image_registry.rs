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
    _running: Vec<Session>,
    /// `host:port`.
    pub at: String,
    /// The authority that signed its certificate; empty where it speaks without TLS.
    authority: String,
}

/// How a registry behind TLS finds out who is there; it knows `ali`, as above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Password,
    /// By tokens of a server beside it.
    Token,
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

/// Takes the address and `password` or `token`. An authority signs one certificate for the registry
/// and the server of tokens.
const TLS: &str = r#"set -e
    mkdir -p /tmp/logins && cd /tmp/logins
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority \
        -keyout ca-key.pem -out ca.pem 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=registry -keyout key.pem -out one.csr 2>/dev/null
    printf "subjectAltName=IP:$1\n" > one.ext
    openssl x509 -req -in one.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
        -extfile one.ext -out cert.pem 2>/dev/null
    printf 'ali:$2b$04$16.v6WSHAclGdOyUEquUKuqoDuf6WiN9KK1cpujrHzLDh8Io5UE1G\n' > passwords
    cat > config.yml <<END
version: 0.1
storage: { filesystem: { rootdirectory: /tmp/logins/data } }
http: { addr: "$1:5443", secret: test, tls: { certificate: /tmp/logins/cert.pem, key: /tmp/logins/key.pem } }
END
    if [ $2 = password ]; then
        echo 'auth: { htpasswd: { realm: test, path: /tmp/logins/passwords } }' >> config.yml
    else
        cat >> config.yml <<END
auth: { token: { realm: "https://$1:5444/token", service: the registry, issuer: the issuer,
                 rootcertbundle: /tmp/logins/ca.pem } }
END
    fi
    exec docker-registry serve config.yml"#;

/// Gives tokens to who knows the password, for what is asked; they are good for a moment.
const TOKENS: &str = r#"
import base64, http.server, json, os, ssl, subprocess, sys, time, urllib.parse
os.chdir("/tmp/logins")
def run(*words, given=b""):
    return subprocess.run(words, input=given, stdout=subprocess.PIPE, check=True).stdout
def text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
own = base64.b64encode(run("openssl", "x509", "-in", "cert.pem", "-outform", "DER")).decode()
def token(access):
    now = int(time.time())
    head = {"typ": "JWT", "alg": "RS256", "x5c": [own]}
    claims = {"iss": "the issuer", "aud": "the registry", "sub": "ali", "nbf": now - 5,
              "iat": now - 5, "exp": now + 60, "jti": str(time.time_ns()), "access": access}
    both = ".".join(text(json.dumps(part).encode()) for part in (head, claims))
    return both + "." + text(run("openssl", "dgst", "-sha256", "-sign", "key.pem", given=both.encode()))
login = "Basic " + base64.b64encode(b"ali:open sesame").decode()
class Tokens(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        good = self.headers.get("Authorization") == login and asked["service"] == ["the registry"]
        access = []
        for scope in asked.get("scope", []):
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        body = json.dumps({"token": token(access), "expires_in": 1} if good else {}).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer((sys.argv[1], 5444), Tokens)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("tokens are given", flush=True)
server.serve_forever()
"#;

impl ImageRegistry {
    /// Waits until it answers; none (and SKIP) where no such program is installed.
    pub fn serve(host: &Host, port: u16, login: Login) -> Result<Option<Self>> {
        if !host.run(&["which", "docker-registry"])?.status.success() {
            eprintln!("SKIP: no docker-registry is installed");
            return Ok(None);
        }
        let (port, known) = (port.to_string(), if login == Login::Ali { "yes" } else { "no" });
        let command = host.command(&["sh", "-c", SCRIPT, "sh", &port, known])?;
        let registry = Self {
            _running: vec![Session::on_pipes(command)?],
            at: format!("127.0.0.1:{port}"),
            authority: String::new(),
        };
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

    /// One on the host's own address, for which all are strangers that do not show a login.
    pub fn serve_by_tls(host: &Host, way: Way) -> Result<Option<Self>> {
        for program in ["docker-registry", "openssl", "python3"] {
            if !host.run(&["which", program])?.status.success() {
                eprintln!("SKIP: no {program} is installed");
                return Ok(None);
            }
        }
        let address = host.address().to_string();
        let run = |words: &[&str], ready: &str| -> Result<Session> {
            let running = Session::on_pipes(host.command(words)?)?;
            running.expect(ready, 0)?;
            Ok(running)
        };
        let name = if way == Way::Token { "token" } else { "password" };
        let mut running = vec![run(&["sh", "-c", TLS, "sh", &address, name], "listening on")?];
        if way == Way::Token {
            running.push(run(&["python3", "-c", TOKENS, &address], "tokens are given")?);
        }
        let authority = host.check(&["cat", "/tmp/logins/ca.pem"])?;
        Ok(Some(Self { _running: running, at: format!("{address}:5443"), authority }))
    }

    /// Has a host's daemon trust it, which looks for authorities in this directory.
    pub fn trust(&self, host: &Host, dir: &str) -> Result<()> {
        let script = "mkdir -p $1 && cat > $1/ca.crt";
        let place = format!("{dir}/{}", self.at);
        let output =
            host.run_with_input(&["sh", "-c", script, "sh", &place], self.authority.as_bytes())?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
