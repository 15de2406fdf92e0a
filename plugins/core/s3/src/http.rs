//! The connections, which all clients of the process share, and whom they trust.

use std::{
    collections::HashMap,
    fs,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_types::base64;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Idle connections are closed before most servers and balancers do it.
const IDLE: Duration = Duration::from_secs(15);

/// What stands in for the network, see [`replace`].
static REPLACED: OnceLock<SharedHttpClient> = OnceLock::new();

/// Answers to all requests of the process from now on, instead of servers: for fuzzing.
pub fn replace(client: SharedHttpClient) {
    // The first one stays.
    let _ = REPLACED.set(client);
}

/// The connections: one set for each bundle of authorities; `None` trusts those of the system
/// (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others, as with OpenSSL).
///
/// # Errors
/// Says what is wrong with the bundle.
pub(crate) fn client(bundle: Option<&str>) -> Result<SharedHttpClient, String> {
    static CLIENTS: OnceLock<Mutex<HashMap<Option<String>, SharedHttpClient>>> = OnceLock::new();
    if let Some(client) = REPLACED.get() {
        return Ok(client.clone());
    }
    let clients = CLIENTS.get_or_init(Mutex::default);
    let mut clients = clients.lock().unwrap_or_else(|e| e.into_inner());
    let bundle = bundle.map(str::to_owned);
    if let Some(client) = clients.get(&bundle) {
        return Ok(client.clone());
    }
    let mut builder = Builder::new()
        .pool_idle_timeout(IDLE)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    if let Some(path) = &bundle {
        builder = builder.tls_context(trusting(path)?);
    }
    let client = builder.build_https();
    clients.insert(bundle, client.clone());
    Ok(client)
}

/// Trust in the authorities whose certificates are in this file, and in no others.
fn trusting(path: &str) -> Result<TlsContext, String> {
    let refused = |what: String| {
        format!(
            "{path}, which ca-bundle or AWS_CA_BUNDLE names as the authorities to trust, {what}"
        )
    };
    let text = fs::read(path).map_err(|e| refused(format!("cannot be read: {e}")))?;
    let mut store = TrustStore::empty();
    let mut usable = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|e| refused(format!("is damaged: {e}")))?;
        // The library takes it for granted that all can be used; bundles hold some that cannot.
        if usable.add(certificate.clone()).is_ok() {
            store.add_pem_certificate(pem(&certificate));
        }
    }
    if usable.is_empty() {
        return Err(refused(
            "holds no certificate (PEM) that can be used".into(),
        ));
    }
    let context = TlsContext::builder().with_trust_store(store).build();
    context.map_err(|e| refused(format!("cannot be used: {e}")))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = base64::encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_bundle_that_cannot_be_used_is_an_error_that_names_it() {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("gst-s3-bundle-{}.pem", std::process::id()));
        let name = path.to_str().unwrap();
        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            let error = trusting(name).unwrap_err();
            assert!(error.contains(name), "{error}");
            error
        };
        assert!(refused("").contains("holds no certificate"));
        assert!(refused("no PEM at all").contains("holds no certificate"));
        let part = |inside: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{inside}\n-----END CERTIFICATE-----\n")
        };
        // PEM, but no certificate: the library would end the process here.
        assert!(refused(&part("AAAA")).contains("holds no certificate"));
        assert!(refused(&part("!!!!")).contains("damaged"));
        fs::remove_file(&path).unwrap();
        assert!(trusting(name).unwrap_err().contains("cannot be read"));
    }
}
