//! Files for TLS to a store, whichever it is.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use super::StoreError;

/// Files in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The authorities to trust, instead of the usual ones.
    pub root_cert_file: Option<PathBuf>,
    /// Our own certificate, with what is between it and an authority that the server trusts.
    pub client_cert_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
}

/// The file that a setting names; an empty path names none.
pub(super) fn named(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

impl Files {
    /// These, and what is not among them from others.
    pub fn or(self, others: Files) -> Files {
        Files {
            root_cert_file: self.root_cert_file.or(others.root_cert_file),
            client_cert_file: self.client_cert_file.or(others.client_cert_file),
            client_key_file: self.client_key_file.or(others.client_key_file),
        }
    }
}

/// Says which cryptography whoever leaves the choice to rustls gets. It is built with two (ractor_cluster brings the second), so
/// it does not choose by itself.
pub fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // an error: it is chosen already
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let read = |path: &Path| -> Result<Vec<_>, pem::Error> { CertificateDer::pem_file_iter(path)?.collect() };
    match read(path) {
        Ok(found) if found.is_empty() => Err(unusable(path, &"there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(path, &error)),
    }
}

pub(super) fn unusable(path: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Fatal(format!("{} cannot be used for TLS: {why}", path.display()))
}
