//! Mutual TLS between nodes: each has a certificate by an authority of the cluster, for the host that it advertises.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::settings::{LinkError, TlsFiles};
use super::stream::{Channel, Stream};

/// What a handshake's tags are bound to: both ends of one TLS connection get the same bytes, and no other connection does.
const EXPORTED: &[u8] = b"EXPORTER-souk-link";

#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    pub fn read(files: &TlsFiles) -> Result<Tls, LinkError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.ca)? {
            roots.add(certificate).map_err(|error| unusable(&files.ca, &error))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&files.cert)?;
        let key = || PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, &error));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let wrong = |error: &dyn std::fmt::Display| unusable(&files.cert, error);

        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| unusable(&files.ca, &error))?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| wrong(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key()?)
            .map_err(|error| wrong(&error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)
            .map_err(|error| wrong(&error))?;
        Ok(Tls { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() })
    }

    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<(Stream, Channel)> {
        let stream = self.acceptor.accept(stream).await?;
        let channel = stream.get_ref().1.export_keying_material([0; 32], EXPORTED, None);
        Ok((Stream::tls(stream.into()), Channel::of(channel.map_err(std::io::Error::other)?)))
    }

    /// `host`: what the peer's certificate has to name.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> std::io::Result<(Stream, Channel)> {
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let stream = self.connector.connect(name, stream).await?;
        let channel = stream.get_ref().1.export_keying_material([0; 32], EXPORTED, None);
        Ok((Stream::tls(stream.into()), Channel::of(channel.map_err(std::io::Error::other)?)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(unusable(path, &"there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> LinkError {
    LinkError::Tls(format!("{} cannot be used: {why}", path.display()))
}
