//! Certificates made on the spot, whole and broken.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rcgen::string::{BmpString, TeletexString};
use rcgen::{CertificateParams, DnType, DnValue, Issuer, KeyPair, SanType, date_time_ymd};

use super::*;

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

fn der(params: &CertificateParams) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// The subject of a certificate with one common name.
fn subject(common_name: impl Into<DnValue>) -> String {
    let mut params = params(&[]);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name.into());
    certificate(&der(&params)).unwrap().subject
}

#[test]
fn a_certificate_tells_its_facts() {
    let mut issuer = params(&[]);
    issuer
        .distinguished_name
        .push(DnType::OrganizationName, "Example Trust");
    issuer
        .distinguished_name
        .push(DnType::CommonName, "Example CA 1");
    let mut leaf = params(&[
        "app.example.org",
        "*.app.example.org",
        "192.0.2.7",
        "2001:db8::7",
    ]);
    leaf.subject_alt_names
        .push(SanType::Rfc822Name("a@example.org".try_into().unwrap()));
    for (kind, text) in [
        (DnType::CountryName, "NL"),
        (DnType::OrganizationName, "Example, Inc."),
        (DnType::CommonName, "app.example.org"),
        (
            DnType::from_oid(&[0, 9, 2342, 19_200_300, 100, 1, 1]),
            "app",
        ),
        (DnType::from_oid(&[1, 2, 3, 4]), "x"),
    ] {
        leaf.distinguished_name.push(kind, text);
    }
    leaf.not_before = date_time_ymd(1965, 1, 3);
    leaf.not_after = date_time_ymd(2026, 1, 3);
    leaf.serial_number = Some(vec![0xfe, 0xdc, 0x01].into());
    let (issuer_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let signed = leaf
        .signed_by(&key, &Issuer::from_params(&issuer, &issuer_key))
        .unwrap();
    let facts = certificate(signed.der()).unwrap();
    let expected = CertificateFacts {
        subject: "1.2.3.4=x,UID=app,CN=app.example.org,O=Example\\, Inc.,C=NL".to_owned(),
        issuer: "CN=Example CA 1,O=Example Trust".to_owned(),
        names: [
            "app.example.org",
            "*.app.example.org",
            "192.0.2.7",
            "2001:db8::7",
        ]
        .map(str::to_owned)
        .to_vec(),
        not_before: -157_593_600,
        not_after: 1_767_398_400,
        serial: "fedc01".to_owned(),
        fingerprint: facts.fingerprint.clone(),
    };
    assert_eq!(facts, expected);
    assert_eq!(facts.fingerprint, fingerprint(signed.der()));
}

#[test]
fn fingerprints_are_sha_256() {
    // The example of FIPS 180-2, appendix B.1.
    assert_eq!(
        fingerprint(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn special_and_invisible_characters_are_escaped() {
    for (name, text) in [
        (
            "a+b,c;d<e>f\"g\\h=i",
            "CN=a\\+b\\,c\\;d\\<e\\>f\\\"g\\\\h=i",
        ),
        (" # ", "CN=\\ #\\ "),
        ("#1", "CN=\\#1"),
        (" ", "CN=\\ "),
        ("", "CN="),
        ("it's Zürich", "CN=it's Zürich"),
        ("a\0b\r\nc\x1b[2J", "CN=a\\00b\\0D\\0Ac\\1B[2J"),
        ("\u{9b}2J\u{202e}gro", "CN=\\C2\\9B2J\\E2\\80\\AEgro"),
    ] {
        assert_eq!(subject(name), text);
    }
}

#[test]
fn old_kinds_of_strings_are_read() {
    let bmp = DnValue::BmpString(BmpString::try_from("Žofín").unwrap());
    assert_eq!(subject(bmp), "CN=Žofín");
    let t61 = DnValue::TeletexString(TeletexString::try_from("plain").unwrap());
    assert_eq!(subject(t61), "CN=plain");
}

#[test]
fn what_is_long_is_cut() {
    let text = subject("n".repeat(20_000));
    assert!(text.len() <= SUBJECT_MAX && text.ends_with("n…"), "{text}");
    let text = subject("\0".repeat(20_000));
    assert!(
        text.len() <= SUBJECT_MAX && text.ends_with("\\00…"),
        "{text}"
    );

    let mut long = params(&[]);
    long.serial_number = Some(vec![0x7f; 200].into());
    for at in 0..100 {
        let name = format!("{at}.{}", "n".repeat(400));
        let name = SanType::DnsName(name.try_into().unwrap());
        long.subject_alt_names.push(name);
    }
    let facts = certificate(&der(&long)).unwrap();
    assert_eq!(facts.names.len(), NAMES_MAX + 1);
    assert_eq!(facts.names[NAMES_MAX], "… 68 more");
    let (first, last) = (&facts.names[0], &facts.names[NAMES_MAX - 1]);
    assert!(first.starts_with("0.nnn") && last.starts_with("31.nnn"));
    for name in &facts.names {
        assert!(name.len() <= NAME_MAX, "{name}");
    }
    assert_eq!(facts.serial, format!("{}…", "7f".repeat(SERIAL_MAX)));
}

#[test]
fn a_part_of_a_certificate_and_more_than_one_are_refused() {
    let mut whole = der(&params(&["a.example.org"]));
    for cut in 0..whole.len() {
        assert_eq!(certificate(&whole[..cut]), None, "cut at {cut}");
    }
    assert!(certificate(&whole).is_some());
    whole.push(0);
    assert_eq!(certificate(&whole), None);
}

/// One certificate with something of everything; it is always the same but for its key.
fn rich() -> &'static [u8] {
    static RICH: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    RICH.get_or_init(|| {
        let mut params = params(&["a.example.org", "192.0.2.7"]);
        let bmp = DnValue::BmpString(BmpString::try_from("Org").unwrap());
        params
            .distinguished_name
            .push(DnType::OrganizationName, bmp);
        params.distinguished_name.push(DnType::CommonName, "a");
        let other = DnType::from_oid(&[1, 2, 840, 113_549, 1, 9, 2]);
        params.distinguished_name.push(other, "other");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(2));
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example.org".to_owned())],
            excluded_subtrees: Vec::new(),
        });
        params.crl_distribution_points = vec![rcgen::CrlDistributionPoint {
            uris: vec!["http://example.org/crl".to_owned()],
        }];
        params.use_authority_key_identifier_extension = true;
        der(&params)
    })
}

/// What holds of whatever is read.
fn check(facts: &CertificateFacts) -> Result<(), TestCaseError> {
    prop_assert!(facts.subject.len() <= SUBJECT_MAX && facts.issuer.len() <= SUBJECT_MAX);
    prop_assert!(facts.names.len() <= NAMES_MAX + 1);
    prop_assert!(facts.names.iter().all(|name| name.len() <= NAME_MAX));
    prop_assert!(facts.serial.len() <= 2 * SERIAL_MAX + '…'.len_utf8());
    let texts = facts.names.iter().chain([&facts.subject, &facts.issuer]);
    for text in texts {
        prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn changed_certificates_are_read_or_refused(
        changes in vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        let mut bytes = rich().to_vec();
        for (place, byte, is_cut) in changes {
            let at = place.index(bytes.len());
            if is_cut && bytes.len() > 1 {
                bytes.remove(at);
            } else {
                bytes[at] = byte;
            }
        }
        if let Some(facts) = certificate(&bytes) {
            check(&facts)?;
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        if let Some(facts) = certificate(&bytes) {
            check(&facts)?;
        }
    }

    /// Names of any characters, in subject and alternative names.
    #[test]
    fn any_text_is_told_in_one_line(text in "\\PC*|(?s).*") {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, text.clone());
        let ascii: String = text.chars().filter(char::is_ascii).collect();
        params.subject_alt_names.push(SanType::DnsName(ascii.try_into().unwrap()));
        let facts = certificate(&der(&params));
        prop_assert!(facts.is_some());
        check(&facts.unwrap())?;
    }
}
