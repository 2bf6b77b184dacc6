//! How a server behind https is trusted: by the system's own certificates, so that a company's
//! servers can be measured too.

use crate::Error;
use rustls::crypto::ring::default_provider;
use std::sync::Arc;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// What a client of `url` needs.
pub(crate) fn config(url: &str) -> Result<TlsConfig, Error> {
    let mut roots = Vec::new();
    if url.starts_with("https://") {
        let found = rustls_native_certs::load_native_certs().certs;
        roots.extend(found.iter().map(|root| Certificate::from_der(root).to_owned()));
        if roots.is_empty() {
            return Err(Error::Option {
                name: "url",
                rule: "https needs root certificates, and this system has none; install its \
                       ca-certificates, or name a file in SSL_CERT_FILE",
            });
        }
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
        .build())
}
