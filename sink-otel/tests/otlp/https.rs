//! Exports over https with the certificates of the options.

use std::sync::Arc;

use sink_otel::TRACE;
use telemetry_core::{Action, Written};
use telemetry_testkit::signals;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};

use crate::support::{Receiver, build, text, try_build};

struct Certificate {
    folder: tempfile::TempDir,
    key_pair: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Certificate {
    /// Creates a self-signed certificate for `localhost`, as PEM files in a temporary folder.
    fn make() -> Self {
        let key_pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("certificate.pem"), key_pair.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key_pair.signing_key.serialize_pem()).unwrap();
        Self { folder, key_pair }
    }

    fn path(&self, file: &str) -> telemetry_core::OptionValue {
        text(self.folder.path().join(file).to_str().unwrap())
    }

    /// Creates a TLS server with this certificate. It requires the certificate of `client`, if given.
    fn acceptor(&self, client: Option<&Self>) -> TlsAcceptor {
        let builder = ServerConfig::builder();
        let builder = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.key_pair.cert.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivatePkcs8KeyDer::from(self.key_pair.signing_key.serialize_der());
        let config = builder.with_single_cert(vec![self.key_pair.cert.der().clone()], key.into()).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn one_span() -> Vec<telemetry_core::Signal> {
    vec![signals::ended(signals::span(1, 1, 0, 1))]
}

#[tokio::test]
async fn the_configured_ca_is_trusted() {
    let certificate = Certificate::make();
    let receiver = Receiver::start_https(certificate.acceptor(None));
    let ca = [("ca_certificate", certificate.path("certificate.pem"))];
    let mut sink = build(&TRACE, &receiver.url(), &ca).await;
    assert_eq!(sink.write(one_span()).await.unwrap(), Written::ALL);
    assert_eq!(receiver.spans().len(), 1);
}

#[tokio::test]
async fn an_unknown_server_is_not_trusted() {
    let receiver = Receiver::start_https(Certificate::make().acceptor(None));
    let other = Certificate::make();
    let ca = [("ca_certificate", other.path("certificate.pem"))];
    let mut sink = build(&TRACE, &receiver.url(), &ca).await;
    let error = sink.write(one_span()).await.unwrap_err();
    assert_eq!(error.action(), Action::Retry { after: None });
    assert!(error.full_text().contains("certificate"), "{}", error.full_text());
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn the_client_presents_its_certificate() {
    let (server, client) = (Certificate::make(), Certificate::make());
    let receiver = Receiver::start_https(server.acceptor(Some(&client)));
    let ca = ("ca_certificate", server.path("certificate.pem"));
    let mut without_identity = build(&TRACE, &receiver.url(), std::slice::from_ref(&ca)).await;
    without_identity.write(one_span()).await.unwrap_err();
    let identity =
        [ca, ("client_certificate", client.path("certificate.pem")), ("client_key", client.path("key.pem"))];
    let mut sink = build(&TRACE, &receiver.url(), &identity).await;
    assert_eq!(sink.write(one_span()).await.unwrap(), Written::ALL);
}

#[tokio::test]
async fn a_file_without_a_certificate_fails_the_build() {
    let certificate = Certificate::make();
    let wrong = [("endpoint", text("https://localhost")), ("ca_certificate", certificate.path("key.pem"))];
    let error = try_build(&TRACE, &wrong).await.unwrap_err();
    assert!(error.to_string().contains("key.pem"), "{error}");
}
