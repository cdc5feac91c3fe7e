//! The part of a record that tells of TLS.

use clearway_outcome::{CertificateFacts, CertificateVerdict, TlsFacts, TlsOffer};

use super::{Input, put_some, put16};

/// Longest text kept of one fact.
pub const FACT_MAX: usize = 1_024;
/// Most names kept of a certificate.
pub const NAMES_MAX: usize = 40;

/// Appends the facts, or that there are none. Does not allocate but in `out`.
pub(super) fn put(out: &mut Vec<u8>, tls: Option<&TlsFacts>) {
    let Some(tls) = tls else {
        return out.push(0);
    };
    out.push(1);
    put16(out, tls.version);
    put16(out, tls.cipher);
    out.push(tls.resumed.into());
    out.push(tls.verdict as u8);
    put_str(out, &tls.server_name);
    put_some(out, &tls.alpn, FACT_MAX);
    put_str(out, &tls.refusal);
    let Some(certificate) = &tls.certificate else {
        return out.push(0);
    };
    out.push(1);
    for text in [
        &certificate.subject,
        &certificate.issuer,
        &certificate.serial,
        &certificate.fingerprint,
    ] {
        put_str(out, text);
    }
    for time in [certificate.not_before, certificate.not_after] {
        out.extend_from_slice(&time.to_le_bytes());
    }
    let names = certificate.names.get(..NAMES_MAX);
    let names = names.unwrap_or(&certificate.names);
    put16(out, u16::try_from(names.len()).unwrap_or(u16::MAX));
    for name in names {
        put_str(out, name);
    }
}

/// A text, cut between two characters.
fn put_str(out: &mut Vec<u8>, text: &str) {
    put_some(out, text.as_bytes(), text.floor_char_boundary(FACT_MAX));
}

/// Reads what [`put`] wrote.
pub(super) fn take(input: &mut Input<'_>) -> Option<Option<TlsFacts>> {
    if !input.is_there()? {
        return Some(None);
    }
    Some(Some(TlsFacts {
        offered: 0,
        version: input.u16()?,
        cipher: input.u16()?,
        resumed: input.is_there()?,
        verdict: *CertificateVerdict::ALL.get(usize::from(input.u8()?))?,
        server_name: take_str(input)?,
        alpn: input.some(FACT_MAX)?.to_vec(),
        refusal: take_str(input)?,
        certificate: take_certificate(input)?,
        // Only rules and access logs ask for it, and they have done so.
        offer: TlsOffer::default(),
    }))
}

fn take_certificate(input: &mut Input<'_>) -> Option<Option<CertificateFacts>> {
    if !input.is_there()? {
        return Some(None);
    }
    let mut certificate = CertificateFacts {
        subject: take_str(input)?,
        issuer: take_str(input)?,
        serial: take_str(input)?,
        fingerprint: take_str(input)?,
        not_before: input.array().map(i64::from_le_bytes)?,
        not_after: input.array().map(i64::from_le_bytes)?,
        names: Vec::new(),
    };
    let count = usize::from(input.u16()?);
    if count > NAMES_MAX {
        return None;
    }
    for _ in 0..count {
        certificate.names.push(take_str(input)?);
    }
    Some(Some(certificate))
}

fn take_str(input: &mut Input<'_>) -> Option<String> {
    let text = std::str::from_utf8(input.some(FACT_MAX)?).ok()?;
    Some(text.to_owned())
}
