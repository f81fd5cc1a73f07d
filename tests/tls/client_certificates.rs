//! Client certificates: none, asked for, demanded; good, bad, missing.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use sealgate::config::{ClientCertificates, Policy};
use sealgate::facts::ClientCertificate;

use crate::support::{Files, Gate, pair};

/// An authority, and the arguments for clients that it knows and does not know.
struct Authority {
    files: Files,
}

impl Authority {
    fn new() -> Self {
        let files = Files::new();
        for (name, subject) in [("ca", "alice"), ("strange", "mallory")] {
            let mut params = named(&format!("Authority {name}"));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            let mut params = named(subject);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            files.write(&format!("{name}.pem"), &issuer.pem());
            files.write(&format!("{subject}.pem"), &(certificate.pem() + &key.serialize_pem()));
        }
        Self { files }
    }

    fn client(&self, subject: &str) -> String {
        let file = self.files.path(&format!("{subject}.pem")).display().to_string();
        format!("-cert {file} -key {file}")
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn presented(common_name: &str, issuer: &str, verified: bool) -> ClientCertificate {
    ClientCertificate::Presented { common_name: common_name.into(), issuer: issuer.into(), verified }
}

#[tokio::test]
async fn requested_any_or_none_will_do_and_the_facts_say_which() {
    let (pair, authority) = (pair(), Authority::new());
    let request = ClientCertificates::Request { ca: authority.files.path("ca.pem") };
    let mut gate = Gate::with(&[&pair.ecdsa], Policy::Intermediate, request).await;
    for version in ["-tls1_2", "-tls1_3"] {
        for (arguments, fact) in [
            (String::new(), ClientCertificate::NotPresented),
            (authority.client("alice"), presented("alice", "Authority ca", true)),
            (authority.client("mallory"), presented("mallory", "Authority strange", false)),
        ] {
            let output = gate.openssl(&format!("{version} {arguments}")).await;
            assert!(output.contains("Acceptable client certificate CA names\nCN = Authority ca"), "{output}");
            assert_eq!(gate.session().await.facts().client_certificate, fact, "{version} {arguments}");
        }
    }
}

#[tokio::test]
async fn required_one_must_be_there_and_verify() {
    let (pair, authority) = (pair(), Authority::new());
    let require = ClientCertificates::Require { ca: authority.files.path("ca.pem") };
    let mut gate = Gate::with(&[&pair.ecdsa], Policy::Intermediate, require).await;
    for version in ["-tls1_2", "-tls1_3"] {
        gate.openssl(&format!("{version} {}", authority.client("alice"))).await;
        assert_eq!(gate.session().await.facts().client_certificate, presented("alice", "Authority ca", true));

        let output = gate.openssl_until_closed(version).await;
        let error = gate.session().await.error();
        assert_eq!(error.reason.phrase, "client certificate required");
        assert!(output.contains("alert certificate required") || output.contains("SSL alert number 116"), "{output}");
        assert!(error.offered.is_some());

        let output = gate.openssl_until_closed(&format!("{version} {}", authority.client("mallory"))).await;
        let error = gate.session().await.error();
        assert_eq!(error.reason.phrase, "client certificate rejected", "{error}");
        assert!(output.contains("alert unknown ca"), "{output}");
    }
}

#[tokio::test]
async fn not_requested_none_is_sent() {
    let (pair, authority) = (pair(), Authority::new());
    let mut gate = Gate::new(&[&pair.ecdsa]).await;
    gate.openssl(&authority.client("alice")).await;
    assert_eq!(gate.session().await.facts().client_certificate, ClientCertificate::NotRequested);
}
