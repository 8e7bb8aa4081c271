//! TLS to the server, `rediss://`. Its certificate is always verified, its name too.

use std::path::Path;

use redis::{ClientTlsConfig, TlsCertificates};

use crate::persistence::StoreError;
use crate::persistence::tls::{Files, certificates, unusable};

/// What is in the files, read when the store is opened.
pub(super) fn read(files: &Files) -> Result<TlsCertificates, StoreError> {
    let bytes = |path: &Path| std::fs::read(path).map_err(|error| unusable(path, &error));
    let chain = |path: &Path| certificates(path).and_then(|_| bytes(path));
    let client_tls = match (&files.client_cert_file, &files.client_key_file) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            Some(ClientTlsConfig { client_cert: chain(certificate)?, client_key: bytes(key)? })
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(StoreError::Fatal("a client's certificate needs its key, and a key its certificate".into()));
        }
    };
    Ok(TlsCertificates { client_tls, root_cert: files.root_cert_file.as_deref().map(chain).transpose()? })
}
