//! Making and judging certificates. Each is an ordinary X.509 v3 certificate with a P-256 key,
//! so that every client's TLS library takes it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::{Error, Identity, Names};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The authority outlives every certificate it signs.
const AUTHORITY_DAYS: u32 = 3650;
const CERTIFICATE_DAYS: u32 = 365;
/// A serving certificate with less than this left is renewed at start.
const RENEW_DAYS: u32 = 60;
/// Clocks of clients may be behind ours.
const CLOCK_SKEW_DAYS: u32 = 1;

/// What every API server answers to: loopback, and its Service by name and address.
const DNS_NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];
const ADDRESSES: [&str; 3] = ["127.0.0.1", "::1", "10.96.0.1"];

/// A new certificate authority.
pub(super) fn authority() -> Result<Identity, Error> {
    let failed = failed("certificate authority");
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = authority_params().self_signed(&key).map_err(failed)?;
    Ok(Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// A serving certificate for the fixed names and `names`.
pub(super) fn serving(ca: &Identity, names: &Names) -> Result<Identity, Error> {
    let mut params = leaf("kube-apiserver", &[], ExtendedKeyUsagePurpose::ServerAuth);
    for name in dns_names(names) {
        let name = name
            .as_str()
            .try_into()
            .map_err(failed("serving certificate"))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    for address in addresses(names) {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    sign(ca, params, "serving certificate")
}

/// A client certificate for `user` in `groups`.
pub(super) fn client(ca: &Identity, user: &str, groups: &[&str]) -> Result<Identity, Error> {
    let params = leaf(user, groups, ExtendedKeyUsagePurpose::ClientAuth);
    sign(ca, params, "client certificate")
}

/// A new key to sign tokens with.
pub(super) fn signing_key() -> Result<String, Error> {
    let key = KeyPair::generate().map_err(failed("service-account signing key"))?;
    Ok(key.serialize_pem())
}

/// The authority on disk must be a certificate with the key beside it.
pub(super) fn check_authority(path: &Path, ca: &Identity) -> Result<(), Error> {
    let damaged = |reason: &str| Error::Damaged {
        path: path.to_owned(),
        reason: reason.into(),
    };
    let der =
        super::certificate_der(&ca.certificate).map_err(|_| damaged("not a PEM certificate"))?;
    let (_, certificate) =
        X509Certificate::from_der(&der).map_err(|_| damaged("not an X.509 certificate"))?;
    let key =
        KeyPair::from_pem(&ca.key).map_err(|_| damaged("the key beside it cannot be read"))?;
    if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(damaged("the key beside it is another one's"));
    }
    Ok(())
}

/// Whether a serving certificate may go on being used: ours, for all names, and not about to expire.
pub(super) fn is_good_serving(serving: &Identity, ca: &Identity, names: &Names) -> bool {
    let (Ok(der), Ok(ca_der)) = (
        super::certificate_der(&serving.certificate),
        super::certificate_der(&ca.certificate),
    ) else {
        return false;
    };
    let (Ok((_, certificate)), Ok((_, authority))) = (
        X509Certificate::from_der(&der),
        X509Certificate::from_der(&ca_der),
    ) else {
        return false;
    };
    let Ok(key) = KeyPair::from_pem(&serving.key) else {
        return false;
    };
    let is_ours = signer(&certificate).is_some_and(|id| Some(id) == own_id(&authority))
        && certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
    let left = certificate.validity().not_after.timestamp() - jiff::Timestamp::now().as_second();
    let lasts = left > i64::from(RENEW_DAYS) * 86_400;
    is_ours && lasts && names_all(&certificate, names)
}

/// The id of the key that signed a certificate.
fn signer<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                id.key_identifier.as_ref().map(|id| id.0)
            }
            _ => None,
        })
}

/// The id of a certificate's own key.
fn own_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        })
}

fn names_all(certificate: &X509Certificate<'_>, names: &Names) -> bool {
    let Ok(Some(present)) = certificate.subject_alternative_name() else {
        return false;
    };
    let present = &present.value.general_names;
    let has_name = |name: &String| {
        present
            .iter()
            .any(|entry| matches!(entry, GeneralName::DNSName(dns) if dns == name))
    };
    let has_address = |address: &IpAddr| {
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        present
            .iter()
            .any(|entry| matches!(entry, GeneralName::IPAddress(bytes) if *bytes == octets))
    };
    dns_names(names).iter().all(has_name) && addresses(names).iter().all(has_address)
}

fn dns_names(names: &Names) -> Vec<String> {
    let mut all: Vec<String> = DNS_NAMES.iter().map(|name| (*name).to_owned()).collect();
    all.extend(names.dns.iter().cloned());
    all
}

fn addresses(names: &Names) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = ADDRESSES
        .iter()
        .map(|address| address.parse().expect("the fixed addresses are addresses"))
        .collect();
    all.extend(names.ips.iter().copied());
    all
}

fn authority_params() -> CertificateParams {
    let mut params = base("ferroflow-ca", &[], AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    params
}

fn leaf(name: &str, groups: &[&str], purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = base(name, groups, CERTIFICATE_DAYS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params
}

fn base(name: &str, groups: &[&str], days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(group) = groups.first() {
        params
            .distinguished_name
            .push(DnType::OrganizationName, *group);
    }
    params.distinguished_name.push(DnType::CommonName, name);
    let today = jiff::Timestamp::now()
        .to_zoned_datetime(jiff::tz::TimeZone::UTC)
        .date();
    let midnight = rcgen::date_time_ymd(
        today.year().into(),
        today.month().unsigned_abs(),
        today.day().unsigned_abs(),
    );
    params.not_before = midnight - DAY * CLOCK_SKEW_DAYS;
    params.not_after = midnight + DAY * days;
    params
}

fn sign(ca: &Identity, params: CertificateParams, what: &'static str) -> Result<Identity, Error> {
    let ca_key = KeyPair::from_pem(&ca.key).map_err(failed(what))?;
    let issuer = Issuer::new(authority_params(), ca_key);
    let key = KeyPair::generate().map_err(failed(what))?;
    let certificate = params.signed_by(&key, &issuer).map_err(failed(what))?;
    Ok(Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn failed(what: &'static str) -> impl Fn(rcgen::Error) -> Error + Copy {
    move |source| Error::Certificate { what, source }
}
