//! A real server and client over loopback with certificates made here.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tonic::{Request, Response, Status};

use super::*;
use crate::swarmkit::health_client::HealthClient;
use crate::swarmkit::health_server::{Health, HealthServer};
use crate::swarmkit::{HealthCheckRequest, HealthCheckResponse};

/// Answers with how many certificates the caller showed.
struct CountCertificates;

#[tonic::async_trait]
impl Health for CountCertificates {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let peer = request.extensions().get::<PeerInfo>().expect("set by the connection");
        assert!(peer.addr.ip().is_loopback());
        Ok(Response::new(HealthCheckResponse { status: peer.certificates.len() as i32 }))
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (vec![certificate.der().clone()], key.into())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn server(&self, name: &str) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let (chain, key) = self.issue(name);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Arc::new(config)
    }

    fn client(&self, name: Option<&str>) -> ClientConfig {
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(self.roots());
        match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (chain, key) = self.issue(name);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

async fn ask(address: &str, config: ClientConfig, name: &'static str) -> Result<i32, String> {
    let connector = Connector::new(config, ServerName::try_from(name).unwrap());
    let channel = channel(address, connector).await.map_err(|error| format!("{error:?}"))?;
    let reply = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    reply.map(|reply| reply.into_inner().status).map_err(|status| format!("{status:?}"))
}

#[tokio::test]
async fn calls_carry_the_peers_certificate_and_a_new_configuration_takes_effect() {
    let (old, new) = (Authority::new(), Authority::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (config, configs) = watch::channel(old.server("swarm-manager"));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(HealthServer::new(CountCertificates))
            .serve_with_incoming_shutdown(TlsIncoming::new(listener, configs), async {
                let _ = stopped.await;
            }),
    );

    // A peer that says nothing holds up nobody.
    let _silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    assert_eq!(ask(&address, old.client(None), "swarm-manager").await, Ok(0));
    assert_eq!(ask(&address, old.client(Some("swarm-worker")), "swarm-manager").await, Ok(1));
    let error = ask(&address, old.client(None), "swarm-ca").await.unwrap_err();
    assert!(error.contains("NotValidForName"), "{error}");
    let error = ask(&address, new.client(None), "swarm-manager").await.unwrap_err();
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");

    config.send(new.server("swarm-manager")).unwrap();
    assert_eq!(ask(&address, new.client(Some("swarm-worker")), "swarm-manager").await, Ok(1));

    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
