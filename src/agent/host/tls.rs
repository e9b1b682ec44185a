//! TLS by rustls with ring, trusting the system's certificate store.
//!
//! The store is read at the first handshake and not when a client is built: most applies speak no TLS at all, and a
//! machine without any CA certificate must still be able to do what needs none.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The configuration for every TLS connection of the agent. Building it reads nothing.
pub(crate) fn client_config() -> Result<ClientConfig, Error> {
    config_with(system_roots)
}

/// As [`client_config`], trusting no authority but those in this PEM.
pub(crate) fn client_config_of(pem: &str) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|error| Error::General(format!("not a certificate in PEM: {error}")))?)?;
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Where trust anchors come from; the error says why there is none.
type LoadRoots = fn() -> Result<RootCertStore, String>;

fn config_with(load: LoadRoots) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = LazyVerifier { provider: provider.clone(), load, loaded: Mutex::new(None) };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        // "dangerous" is rustls's word for any verifier of one's own; this one only delays webpki's.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// The system's store: `SSL_CERT_FILE` and `SSL_CERT_DIR` when set, else where distributions keep it. Mozilla's list,
/// built in, stands in for a store that is empty, as on a minimal image without ca-certificates; it does not for one
/// that was chosen by name, because whoever chose it may want to trust less.
fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some stores hold a certificate or two that webpki cannot read; the others are as good as ever.
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        if let Some(path) = std::env::var_os(variable) {
            let causes: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            return Err(format!("no CA certificate in {variable}={} {}", path.display(), causes.join("; ")));
        }
    }
    tracing::debug!("the system has no CA certificates: Mozilla's built-in list is used");
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(roots)
}

/// webpki's verifier, made when the first certificate is to be verified.
#[derive(Debug)]
struct LazyVerifier {
    provider: Arc<CryptoProvider>,
    load: LoadRoots,
    loaded: Mutex<Option<Arc<WebPkiServerVerifier>>>,
}

impl LazyVerifier {
    /// The verifier at hand, or none if the store was never read.
    fn loaded(&self) -> Option<Arc<WebPkiServerVerifier>> {
        self.lock().clone()
    }

    fn reload(&self) -> Result<Arc<WebPkiServerVerifier>, Error> {
        let roots = (self.load)().map_err(Error::General)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        *self.lock() = Some(verifier.clone());
        Ok(verifier)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<WebPkiServerVerifier>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for LazyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |verifier: Arc<WebPkiServerVerifier>| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        let Some(verifier) = self.loaded() else {
            return verify(self.reload()?);
        };
        match verify(verifier) {
            // A profile may have installed ca-certificates or a CA of its own since the store was read.
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => verify(self.reload()?),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{ClientConnection, ServerConfig, ServerConnection};

    use super::*;

    /// A CA that some test installs, and how often the store was read.
    static INSTALLED: Mutex<Vec<CertificateDer<'static>>> = Mutex::new(Vec::new());
    static READS: AtomicUsize = AtomicUsize::new(0);

    fn installed() -> Result<RootCertStore, String> {
        READS.fetch_add(1, Ordering::Relaxed);
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        roots.add_parsable_certificates(INSTALLED.lock().unwrap().clone());
        Ok(roots)
    }

    /// A server for localhost, and the certificate of its CA.
    fn server() -> (Arc<ServerConfig>, CertificateDer<'static>) {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        (Arc::new(config), ca.der().clone())
    }

    /// A handshake in memory.
    fn shake_hands(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<(), Error> {
        let mut client = ClientConnection::new(client.clone(), "localhost".try_into().unwrap())?;
        let mut server = ServerConnection::new(server.clone())?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut &wire[..]).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn the_store_is_read_when_needed_and_again_when_a_ca_is_missing() {
        let (server, ca) = server();
        let client = Arc::new(config_with(installed).unwrap());
        assert_eq!(READS.load(Ordering::Relaxed), 0);
        let refused = shake_hands(&client, &server);
        assert_eq!(refused, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
        INSTALLED.lock().unwrap().push(ca);
        assert_eq!(shake_hands(&client, &server), Ok(()));
        assert_eq!(shake_hands(&client, &server), Ok(()));
        assert_eq!(READS.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn no_store_at_all_is_told() {
        let client = config_with(|| Err("nothing there".to_owned())).unwrap();
        let told = shake_hands(&Arc::new(client), &server().0);
        assert_eq!(told, Err(Error::General("nothing there".to_owned())));
    }
}
