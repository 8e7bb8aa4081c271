//! TLS to the server. Its certificate is always verified, its name too.

use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::StoreError;
use super::super::tls::{Files, certificates, unusable};

/// What is configured of TLS, for addresses that do not say it themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// `None`: only where the address asks for it.
    pub is_required: Option<bool>,
    pub files: Files,
}

impl Tls {
    /// Whether there are certificates for a connection that nobody has decided to protect.
    pub fn promises_in_vain(&self) -> bool {
        self.is_required.is_none() && self.files != Files::default()
    }
}

pub fn connector(files: &Files) -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = RootCertStore::empty();
    match &files.root_cert_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, &error))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Fatal(error.to_string()))?
        .with_root_certificates(roots);
    let config = match (&files.client_cert_file, &files.client_key_file) {
        (None, None) => config.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
            let chain = certificates(certificate)?;
            config.with_client_auth_cert(chain, secret).map_err(|error| unusable(certificate, &error))?
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(StoreError::Fatal("a client's certificate needs its key, and a key its certificate".into()));
        }
    };
    Ok(MakeRustlsConnect::new(config))
}
