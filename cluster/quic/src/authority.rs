//! The cluster's own certificate authority: made once, then asked for each node's certificate.
//!
//! An authority's folder holds `ca.pem`, which every node gets, and `ca.key`, which none gets.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use headwater_cluster::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::QuicError;
use crate::names;

const AUTHORITY_DAYS: i64 = 3_650;
/// Certificates count from a little before now: clocks differ.
const SKEW: Duration = Duration::hours(1);

/// Makes an authority for this cluster: writes `ca.pem` and `ca.key` (mode 0600) into the folder.
///
/// # Errors
/// [`QuicError`] when the id is no name, or a file cannot be written; one that exists is never
/// overwritten.
pub fn create(cluster: &str, folder: &Path) -> Result<(), QuicError> {
    if let Err(problem) = NodeId::new(cluster) {
        return Err(QuicError::Settings(format!(
            "`cluster` must be a name like a node's: {problem}"
        )));
    }
    let (certificate_path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
    let key = KeyPair::generate().map_err(|error| QuicError::identity(&key_path, error))?;
    let mut params = params(cluster, AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate =
        params.self_signed(&key).map_err(|error| QuicError::identity(&certificate_path, error))?;
    write_pair(&certificate_path, &certificate.pem(), &key_path, &key.serialize_pem())
}

/// Issues a node's certificate: writes `node.pem` and `node.key` (mode 0600) into `out`.
/// `days` is how long it counts; a certificate is renewed by issuing another into a new folder
/// and moving both files into the place of the old ones.
///
/// # Errors
/// [`QuicError`] when the authority's files cannot be read, `days` is 0 or more than ten years,
/// or a file cannot be written; one that exists is never overwritten.
pub fn issue(authority: &Path, node: &NodeId, out: &Path, days: u32) -> Result<(), QuicError> {
    let days = i64::from(days);
    if !(1..=AUTHORITY_DAYS).contains(&days) {
        return Err(QuicError::Settings(format!("`days` must be 1 to {AUTHORITY_DAYS}")));
    }
    let (authority_path, authority_key) = (authority.join("ca.pem"), authority.join("ca.key"));
    let read =
        |path: &Path| fs::read_to_string(path).map_err(|error| QuicError::identity(path, error));
    let authority = CertificateDer::from_pem_slice(read(&authority_path)?.as_bytes())
        .map_err(|error| QuicError::identity(&authority_path, error))?;
    let cluster = cluster_of(&authority)
        .ok_or_else(|| QuicError::identity(&authority_path, "is no authority of a cluster"))?;
    let signing_key = KeyPair::from_pem(&read(&authority_key)?)
        .map_err(|error| QuicError::identity(&authority_key, error))?;
    let issuer = Issuer::from_ca_cert_der(&authority, signing_key)
        .map_err(|error| QuicError::identity(&authority_path, error))?;

    let (certificate_path, key_path) = (out.join("node.pem"), out.join("node.key"));
    let wrong = |error: rcgen::Error| QuicError::identity(&certificate_path, error);
    let key = KeyPair::generate().map_err(wrong)?;
    let mut params = params(node.as_str(), days);
    for name in [names::of_node(node), names::of_cluster(&cluster)] {
        let name = name.try_into().map_err(wrong)?;
        params.subject_alt_names.push(rcgen::SanType::DnsName(name));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer).map_err(wrong)?;
    write_pair(&certificate_path, &certificate.pem(), &key_path, &key.serialize_pem())
}

/// The common name is for people; of a node's certificate, only its DNS names count.
fn params(common_name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "headwater");
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - SKEW;
    params.not_after = now + Duration::days(days);
    params
}

/// An authority carries its cluster's id as common name.
fn cluster_of(authority: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(authority).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    NodeId::new(name).ok().map(|name| name.as_str().to_owned())
}

/// Writes both or neither.
fn write_pair(
    certificate_path: &Path,
    certificate: &str,
    key_path: &Path,
    key: &str,
) -> Result<(), QuicError> {
    write_new(key_path, key, 0o600)?;
    write_new(certificate_path, certificate, 0o644).inspect_err(|_| {
        // The key made just now belongs to no certificate; the first error is the one to tell.
        let _ = fs::remove_file(key_path);
    })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), QuicError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| QuicError::identity(path, error))
}
