//! Who may say what to whom: one authority, a certificate per part, and kubeconfigs that carry them.
//! All of it is made anew at each start and ends with the cluster.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::place::{Place, Record};
use super::{Part, network};

/// The node's name.
pub const NODE: &str = "n1";

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Makes every certificate, key and kubeconfig.
pub fn make(place: &Place, record: &Record) -> Result<()> {
    let authority = Authority::new()?;
    let write = |name: &str, text: &str| {
        let path = place.keys().join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    write("ca.crt", &authority.certificate)?;
    let (certificate, key) = authority.serve("kube-apiserver", &apiserver_names(record))?;
    write("apiserver.crt", &certificate)?;
    write("apiserver.key", &key)?;
    let (certificate, key) = authority.serve(NODE, &node_addresses(record))?;
    write("kubelet-serving.crt", &certificate)?;
    write("kubelet-serving.key", &key)?;
    for (name, user, groups) in [
        ("kubelet-client", "kube-apiserver", &["system:masters"][..]),
        ("front-proxy", "front-proxy", &[]),
    ] {
        let (certificate, key) = authority.client(user, groups)?;
        write(&format!("{name}.crt"), &certificate)?;
        write(&format!("{name}.key"), &key)?;
    }
    let signing = KeyPair::generate().context("make the key that signs tokens")?;
    write("tokens.key", &signing.serialize_pem())?;
    write("tokens.pub", &signing.public_key_pem())?;
    for (part, user, groups) in [
        (
            Part::ControllerManager,
            "system:kube-controller-manager",
            &[][..],
        ),
        (Part::Scheduler, "system:kube-scheduler", &[]),
        (Part::KubeProxy, "system:kube-proxy", &[]),
        (Part::Kubelet, "system:node:n1", &["system:nodes"]),
        (Part::Dns, "system:masters:dns", &["system:masters"]),
    ] {
        let text = authority.kubeconfig(record, user, groups)?;
        write(&format!("{}.kubeconfig", part.program()), &text)?;
    }
    let text = authority.kubeconfig(record, "admin", &["system:masters"])?;
    let path = place.kubeconfig();
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

fn address(address: Ipv4Addr) -> SanType {
    SanType::IpAddress(IpAddr::V4(address))
}

/// Where the node may be: inside, or, where one of ours joins, on this machine.
fn node_addresses(record: &Record) -> [SanType; 2] {
    [address(record.node_address), address(record.host_address)]
}

fn apiserver_names(record: &Record) -> Vec<SanType> {
    let mut names: Vec<SanType> = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .into_iter()
    .map(|name| SanType::DnsName(name.try_into().expect("an ASCII name")))
    .collect();
    names.extend([
        address(Ipv4Addr::LOCALHOST),
        address(record.node_address),
        address(network::FIRST_SERVICE),
    ]);
    names
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params
            .distinguished_name
            .push(DnType::CommonName, "test cluster");
        let key = KeyPair::generate().context("make the authority's key")?;
        let certificate = params
            .self_signed(&key)
            .context("make the authority's certificate")?
            .pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    fn sign(
        &self,
        user: &str,
        groups: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<(String, String)> {
        let mut params = CertificateParams::default();
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        for group in groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, user);
        change(&mut params);
        let key = KeyPair::generate().with_context(|| format!("make the key of {user}"))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("sign the certificate of {user}"))?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    fn serve(&self, name: &str, names: &[SanType]) -> Result<(String, String)> {
        self.sign(name, &[], |params| {
            params.subject_alt_names = names.to_vec();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    fn client(&self, user: &str, groups: &[&str]) -> Result<(String, String)> {
        self.sign(user, groups, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    fn kubeconfig(&self, record: &Record, user: &str, groups: &[&str]) -> Result<String> {
        let (certificate, key) = self.client(user, groups)?;
        let server = record.server();
        let [authority, certificate, key] =
            [&self.certificate, &certificate, &key].map(|pem| STANDARD.encode(pem));
        Ok(format!(
            "apiVersion: v1
kind: Config
current-context: test-cluster
clusters:
- name: test-cluster
  cluster: {{server: \"{server}\", certificate-authority-data: {authority}}}
users:
- name: \"{user}\"
  user: {{client-certificate-data: {certificate}, client-key-data: {key}}}
contexts:
- name: test-cluster
  context: {{cluster: test-cluster, user: \"{user}\"}}
"
        ))
    }
}
