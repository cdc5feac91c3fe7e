//! The cryptography in use.

use std::sync::{Arc, OnceLock};

use rustls::NamedGroup;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The provider, with or without the key exchange X25519MLKEM768.
pub(super) fn get(post_quantum: bool) -> Arc<CryptoProvider> {
    static WITH: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    static WITHOUT: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let cell = if post_quantum { &WITH } else { &WITHOUT };
    Arc::clone(cell.get_or_init(|| Arc::new(make(post_quantum))))
}

fn make(post_quantum: bool) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    // Mozilla's order: the shorter key is as safe here, and quicker.
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    if !post_quantum {
        provider
            .kx_groups
            .retain(|group| group.name() != NamedGroup::X25519MLKEM768);
    }
    provider
}
