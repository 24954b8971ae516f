//! A real registry on the loopback, with its files in a temporary directory, and a way to put
//! images into it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use skep_images::Digest;
use tempfile::TempDir;

const PROGRAM: &str = "docker-registry";

pub const USER: &str = "ali";
pub const PASSWORD: &str = "open sesame";
/// The password's bcrypt hash, with the fewest rounds there are.
const PASSWORD_HASH: &str = "$2b$04$16.v6WSHAclGdOyUEquUKuqoDuf6WiN9KK1cpujrHzLDh8Io5UE1G";

/// How the registry is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Http,
    /// Only with [`USER`] and [`PASSWORD`].
    Password,
    Tls,
    /// By TLS with a certificate that is its own authority.
    OwnAuthority,
}

/// A registry that ends with the test.
pub struct Registry {
    child: Child,
    pub port: u16,
    files: std::sync::Arc<TempDir>,
    /// The authority that signed its certificate.
    pub authority: PathBuf,
}

impl Registry {
    /// None, with a loud word, where there is no registry to run.
    pub fn start(door: Door) -> Option<Self> {
        Self::start_on(door, std::sync::Arc::new(tempfile::tempdir().unwrap()))
    }

    /// Another door to the same images.
    pub fn other_door(&self, door: Door) -> Option<Self> {
        Self::start_on(door, self.files.clone())
    }

    fn start_on(door: Door, files: std::sync::Arc<TempDir>) -> Option<Self> {
        let path = |name: &str| files.path().join(format!("{door:?}-{name}"));
        let mut http = json!({"addr": "127.0.0.1:0", "secret": "test"});
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": files.path().join("images")}},
        });
        match door {
            Door::Http => {}
            Door::Password => {
                std::fs::write(path("passwords"), format!("{USER}:{PASSWORD_HASH}\n")).unwrap();
                config["auth"] = json!({"htpasswd": {"realm": "test", "path": path("passwords")}});
            }
            Door::Tls | Door::OwnAuthority => {
                write_certificates(door, &path("ca"), &path("crt"), &path("key"));
                http["tls"] = json!({"certificate": path("crt"), "key": path("key")});
            }
        }
        config["http"] = http;
        // JSON is YAML as well.
        std::fs::write(path("config"), config.to_string()).unwrap();
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(path("config"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                eprintln!("SKIP: {PROGRAM} cannot be run: {error}");
                return None;
            }
        };
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let port = loop {
            let mut line = String::new();
            let read = log.read_line(&mut line).unwrap();
            assert!(read > 0, "{PROGRAM} ended:\n{seen}");
            if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break digits.parse().unwrap();
            }
            seen += &line;
        };
        // A full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let authority = path("ca");
        Some(Self { child, port, files, authority })
    }

    /// Where a registry keeps a blob.
    pub fn blob_file(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.files
            .path()
            .join("images/docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(&hex)
            .join("data")
    }

    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Value {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let (status, location) = self.request("POST", &path, "text/plain", b"");
        assert_eq!(status, 202);
        let (_, path) = location.split_once("/v2/").expect("an upload has its place");
        let digest = Digest::of(bytes);
        let path = format!("/v2/{path}&digest={digest}");
        let (status, _) = self.request("PUT", &path, "application/octet-stream", bytes);
        assert_eq!(status, 201);
        json!({"digest": digest.to_string(), "size": bytes.len()})
    }

    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Digest {
        let bytes = manifest.to_string();
        let path = format!("/v2/{repository}/manifests/{tag}");
        let media_type = manifest["mediaType"].as_str().unwrap();
        let (status, _) = self.request("PUT", &path, media_type, bytes.as_bytes());
        assert_eq!(status, 201);
        Digest::of(bytes.as_bytes())
    }

    /// Puts a whole image; the layers are archives as they are to be kept.
    pub fn put_image(&self, repository: &str, tag: &str, image: &Image<'_>) -> Digest {
        let config = json!({
            "architecture": image.architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Env": ["A=1"]},
            "rootfs": {"type": "layers", "diff_ids": image.diff_ids()},
        });
        let mut config = self.put_blob(repository, config.to_string().as_bytes());
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let layers = image.layers.iter().map(|(_, packed)| {
            let mut layer = self.put_blob(repository, packed);
            layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
            layer
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers.collect::<Vec<_>>(),
        });
        self.put_manifest(repository, tag, &manifest)
    }

    /// One request on one connection; gives the status and the place it names.
    fn request(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let host = format!("127.0.0.1:{}", self.port);
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        (status, location.unwrap_or_default().trim().to_owned())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An image to be put into a registry.
pub struct Image<'a> {
    pub architecture: &'a str,
    /// Each archive as it is, and as it is packed.
    pub layers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Image<'_> {
    pub fn diff_ids(&self) -> Vec<String> {
        self.layers.iter().map(|(plain, _)| Digest::of(plain).to_string()).collect()
    }
}

/// An authority, and a certificate of it for this host.
fn write_certificates(door: Door, authority: &Path, certificate: &Path, key: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let names = ["127.0.0.1", "0.0.0.0"].map(str::to_owned);
    let mut params = CertificateParams::new(names.to_vec()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    std::fs::write(authority, params.self_signed(&ca_key).unwrap().pem()).unwrap();
    if door == Door::OwnAuthority {
        std::fs::copy(authority, certificate).unwrap();
        std::fs::write(key, ca_key.serialize_pem()).unwrap();
        return;
    }
    let issuer = Issuer::new(params, ca_key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(names.to_vec()).unwrap().signed_by(&leaf_key, &issuer).unwrap();
    std::fs::write(certificate, leaf.pem()).unwrap();
    std::fs::write(key, leaf_key.serialize_pem()).unwrap();
}

/// What else goes wrong where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    /// The registry is never told which part is wanted.
    NoRanges,
    /// The last byte that passes is another one.
    Garbled,
}

/// Stands between the store and a registry, and cuts the connection in the middle of a blob, once.
pub struct CutOnce {
    pub port: u16,
    /// From which byte the blob was asked for, each time.
    pub offsets: Offsets,
}

type Offsets = std::sync::Arc<std::sync::Mutex<Vec<Option<u64>>>>;

/// `Range: bytes=OFFSET-`.
fn offset(request: &str) -> Option<u64> {
    let request = request.to_ascii_lowercase();
    let (_, range) = request.split_once("range: bytes=")?;
    range.split('-').next()?.parse().ok()
}

impl CutOnce {
    /// Lets this much of the answer pass that begins after the blob is asked for.
    pub fn before(registry: &Registry, blob: Digest, answer_bytes: usize, fault: Fault) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = registry.port;
        let cut = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let offsets = Offsets::default();
        let asked = offsets.clone();
        // Its threads end with the connections, and the listener's with the program.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", target)))
                else {
                    return;
                };
                let (cut, asked) = (cut.clone(), asked.clone());
                let limit = (blob, answer_bytes, fault);
                std::thread::spawn(move || relay(client, server, limit, &cut, &asked));
            }
        });
        Self { port, offsets }
    }
}

fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    (blob, answer_bytes, fault): (Digest, usize, Fault),
    cut: &std::sync::atomic::AtomicBool,
    offsets: &Offsets,
) {
    use std::sync::atomic::Ordering::SeqCst;
    let mut piece = [0; 16 << 10];
    let wanted = blob.to_string();
    // One request, one answer: what the answers of a registry look like does not matter.
    loop {
        let read = client.read(&mut piece).unwrap_or(0);
        let request = String::from_utf8_lossy(&piece[..read]).into_owned();
        let passed = match fault {
            // Of another name, and so of no meaning.
            Fault::NoRanges => request.replace("range:", "x-range:").replace("Range:", "x-range:"),
            _ => request.clone(),
        };
        // One blob for each connection, so that each time it is asked for is seen.
        let passed = match request.contains(&wanted) {
            true => passed.replacen("\r\n", "\r\nConnection: close\r\n", 1),
            false => passed,
        };
        if read == 0 || server.write_all(passed.as_bytes()).is_err() {
            return;
        }
        let asked = request.contains(&wanted);
        if asked {
            offsets.lock().unwrap().push(offset(&request));
        }
        let ends = asked && !cut.swap(true, SeqCst);
        if ends {
            let mut some = vec![0; answer_bytes];
            if server.read_exact(&mut some).is_ok() {
                if fault == Fault::Garbled {
                    some[answer_bytes - 1] ^= 1;
                }
                let _ = client.write_all(&some);
            }
            return;
        }
        let (mut back, mut forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        if asked {
            // The second time all of it passes.
            let _ = std::io::copy(&mut back, &mut forth);
            return;
        }
        let read = server.read(&mut piece).unwrap_or(0);
        if read == 0 || client.write_all(&piece[..read]).is_err() {
            return;
        }
    }
}
