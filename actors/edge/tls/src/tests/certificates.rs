//! Certificates: what is refused, and how they are replaced.

use std::fs;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use base64::Engine;
use http::Version;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};

use super::{Client, Files, get_https, serve_http3, serve_https, within};
use crate::{Certificate, TlsSettings};

#[tokio::test]
async fn new_connections_get_the_new_certificate() {
    let mut files = Files::new();
    let certificate = files.open();
    let router = Router::new().route("/", get(|| async { "here" }));
    let https = serve_https(router.clone(), &certificate, TlsSettings::default()).await;
    let (http3, _stop, _) = serve_http3(router, &certificate);
    let old = files.root.clone();
    assert!(!certificate.reload().unwrap());
    assert!(get_https(https, &old, Version::HTTP_2).await.is_ok());
    let running = Client::connect(http3, &old).await.unwrap();

    files.renew();
    assert!(certificate.reload().unwrap());
    assert!(!certificate.reload().unwrap());
    let new = files.root.clone();
    assert!(get_https(https, &new, Version::HTTP_2).await.is_ok());
    assert!(get_https(https, &old, Version::HTTP_2).await.is_err());
    assert_eq!(Client::connect(http3, &new).await.unwrap().get("/").await.1, "here");
    assert!(Client::connect(http3, &old).await.is_err());
    assert_eq!(running.get("/").await.1, "here");

    // A broken file is named, and what was there goes on.
    fs::write(&files.key, format!("-----BEGIN {} KEY-----secret\n", "PRIVATE")).unwrap();
    let error = certificate.reload().unwrap_err();
    assert!(error.to_string().starts_with(&files.key.display().to_string()), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert!(get_https(https, &new, Version::HTTP_2).await.is_ok());
    assert!(Client::connect(http3, &new).await.is_ok());
}

#[tokio::test]
async fn a_follower_finds_the_new_files() {
    let mut files = Files::new();
    let certificate = files.open();
    let router = Router::new().route("/", get(|| async { "here" }));
    let https = serve_https(router, &certificate, TlsSettings::default()).await;
    tokio::spawn(certificate.follow(Duration::from_millis(20)));
    fs::write(&files.certificate, "half of a renewal").unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(get_https(https, &files.root, Version::HTTP_2).await.is_ok());
    files.renew();
    within(async {
        while get_https(https, &files.root, Version::HTTP_2).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let (files, other) = (Files::new(), Files::new());
    let refused = |certificate, key| {
        let error = Certificate::open(certificate, key).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("-----"));
        error.to_string()
    };
    let misfit = refused(&files.certificate, &other.key);
    assert!(misfit.starts_with(&other.key.display().to_string()), "{misfit}");
    assert!(misfit.contains("not the key of the certificate"), "{misfit}");
    let swapped = refused(&files.key, &files.certificate);
    assert!(swapped.starts_with(&files.key.display().to_string()), "{swapped}");
    let swapped = refused(&files.certificate, &files.certificate);
    assert!(swapped.contains("holds no private key"), "{swapped}");
    let missing = files.key.with_file_name("missing.pem");
    assert!(refused(&missing, &files.key).contains("missing.pem: "));
    assert!(refused(&files.certificate, &missing).contains("missing.pem: "));
}

#[test]
fn a_certificate_shows_its_files_only() {
    let files = Files::new();
    let shown = format!("{:?}", files.open());
    assert!(shown.starts_with("Certificate { certificate: ") && shown.ends_with(", .. }"));
}

#[tokio::test]
async fn keys_of_all_three_forms_are_read() {
    let mut files = Files::new();
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let curve = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    for (key, own) in [(rsa, "RSA PRIVATE KEY"), (curve, "EC PRIVATE KEY")] {
        let names = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let issued = names.self_signed(&key).unwrap();
        fs::write(&files.certificate, issued.pem()).unwrap();
        files.root = issued.der().clone();
        let general = key.serialize_der();
        // Within the general form is the algorithm's own.
        let within = inner(inner(&general)[0])[2];
        for (form, bytes) in [("PRIVATE KEY", general.as_slice()), (own, within)] {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            let pem = format!("-----BEGIN {form}-----\n{text}\n-----END {form}-----\n");
            fs::write(&files.key, pem).unwrap();
            let router = Router::new().route("/", get(|| async { "here" }));
            let https = serve_https(router, &files.open(), TlsSettings::default()).await;
            assert_eq!(get_https(https, &files.root, Version::HTTP_11).await.unwrap().0, 200);
        }
    }
}

/// The contents of each of DER's values that stand one after the other.
fn inner(mut values: &[u8]) -> Vec<&[u8]> {
    let mut contents = Vec::new();
    while let [_, length, rest @ ..] = values {
        let more = usize::from(if *length < 0x80 { 0 } else { length & 0x7f });
        let length = if more == 0 {
            usize::from(*length)
        } else {
            rest[..more].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (content, after) = rest[more..].split_at(length);
        contents.push(content);
        values = after;
    }
    contents
}
