//! The ways to a daemon: a Unix socket, TCP with or without TLS, and a program that speaks for it far away.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One connection to a daemon, however it is made.
pub type Connection = Box<dyn Duplex>;

/// Certificates for a daemon over TCP, as PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Who must have signed the daemon's certificate.
    pub ca: Option<Vec<u8>>,
    pub certificate: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    /// Without it, any certificate is taken.
    pub verify: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("verify", &self.verify).finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(super) enum Target {
    Unix(PathBuf),
    Tcp(String),
    Tls { address: String, config: Arc<ClientConfig> },
    Program(Vec<String>),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => f.debug_tuple("Unix").field(path).finish(),
            Self::Tcp(address) | Self::Tls { address, .. } => {
                f.debug_tuple("Tcp").field(address).finish()
            }
            Self::Program(words) => f.debug_tuple("Program").field(words).finish(),
        }
    }
}

impl Target {
    /// What a host's name means; none where it means nothing.
    pub(super) fn parse(host: &str, tls: Option<&Tls>) -> Result<Option<Self>, String> {
        let named = |kind: &str| host.strip_prefix(kind).filter(|rest| !rest.is_empty());
        if host.starts_with('/') {
            return Ok(Some(Self::Unix(host.into())));
        }
        if let Some(path) = named("unix://") {
            return Ok(Some(Self::Unix(path.into())));
        }
        if let Some(address) = named("tcp://") {
            let address = address.trim_end_matches('/').to_owned();
            return Ok(Some(match tls {
                None => Self::Tcp(address),
                Some(tls) => Self::Tls { address, config: Arc::new(config(tls)?) },
            }));
        }
        Ok(named("ssh://").and_then(ssh).map(Self::Program))
    }

    pub(super) async fn open(&self) -> io::Result<Connection> {
        Ok(match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(address) => Box::new(TcpStream::connect(address.as_str()).await?),
            Self::Tls { address, config } => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(host).map_err(io::Error::other)?;
                let stream = TcpStream::connect(address.as_str()).await?;
                Box::new(TlsConnector::from(config.clone()).connect(name, stream).await?)
            }
            Self::Program(words) => Box::new(Program::start(words)?),
        })
    }
}

/// `[user@]host[:port][/path of the socket]` to the words of ssh.
fn ssh(rest: &str) -> Option<Vec<String>> {
    let (place, path) = match rest.split_once('/') {
        Some((place, path)) => (place, Some(path)),
        None => (rest, None),
    };
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, place),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !place.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    // What begins with a dash would be read as a flag; a password has no place in a name.
    let odd = |text: &str| text.is_empty() || text.starts_with('-') || text.contains(':');
    if odd(host.trim_matches(['[', ']']).split(':').next().unwrap_or_default())
        || user.is_some_and(odd)
        || port.is_some_and(|port| port.parse::<u16>().is_err())
    {
        return None;
    }
    let mut words: Vec<String> =
        vec!["ssh".into(), "-o".into(), "ConnectTimeout=30".into(), "-T".into()];
    for (flag, value) in [("-l", user), ("-p", port)] {
        if let Some(value) = value {
            words.extend([flag.to_owned(), value.to_owned()]);
        }
    }
    words.extend(["--".into(), host.trim_matches(['[', ']']).to_owned(), "skep".into()]);
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        words.push(format!("--host=unix:///{path}"));
    }
    words.extend(["system".into(), "dial-stdio".into()]);
    Some(words)
}

/// A program whose standard streams are the connection; it ends with it.
struct Program {
    _child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

impl Program {
    fn start(words: &[String]) -> io::Result<Self> {
        let (name, arguments) =
            words.split_first().ok_or_else(|| io::Error::other("no program to start"))?;
        let mut child = Command::new(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("the program's streams are not there");
        let stdin = Some(child.stdin.take().ok_or_else(missing)?);
        let stdout = child.stdout.take().ok_or_else(missing)?;
        Ok(Self { _child: child, stdin, stdout })
    }

    fn stdin(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        self.stdin.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Program {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for Program {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stdin()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A pipe has no half to close but itself.
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}

fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let text = |what: &str, error: &dyn std::fmt::Display| format!("invalid TLS {what}: {error}");
    let certificates = |what: &str, pem: &[u8]| {
        CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| text(what, &error))
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| text("configuration", &error))?;
    let builder = if tls.verify {
        let mut roots = RootCertStore::empty();
        let ca = tls.ca.as_deref().ok_or("TLS verification needs a CA certificate")?;
        for certificate in certificates("CA certificate", ca)? {
            roots.add(certificate).map_err(|error| text("CA certificate", &error))?;
        }
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    };
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| text("key", &error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| text("key", &error))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// Takes any daemon's certificate, because its user asked for that; signatures must hold all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_words() {
        let words = |host: &str| ssh(host).map(|words| words[4..].join(" "));
        assert_eq!(words("host").as_deref(), Some("-- host skep system dial-stdio"));
        assert_eq!(
            words("me@host:2222/run/x.sock").as_deref(),
            Some("-l me -p 2222 -- host skep --host=unix:///run/x.sock system dial-stdio")
        );
        for bad in ["-oProxyCommand=x", "me:word@host", "host:x", "-l@host"] {
            assert_eq!(ssh(bad), None, "{bad}");
        }
    }

    #[test]
    fn hosts() {
        let kind = |host: &str| Target::parse(host, None).unwrap().map(|t| format!("{t:?}"));
        assert_eq!(kind("unix:///a").as_deref(), Some("Unix(\"/a\")"));
        assert_eq!(kind("tcp://h:1/").as_deref(), Some("Tcp(\"h:1\")"));
        assert_eq!(kind("ftp://h"), None);
        assert_eq!(kind("unix://"), None);
    }
}
