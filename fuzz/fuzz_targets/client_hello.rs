//! Any bytes as the first bytes of a TLS connection: read without harm, and the same however
//! they arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_gateway::tls::parse;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    // A verdict on a beginning is final: more bytes must not turn a refusal into a pass.
    for cut in [bytes.len() / 3, bytes.len() / 2] {
        if let Err(error) = parse(&bytes[..cut]) {
            assert!(whole.is_err(), "{error} was taken back");
        }
    }
    if let Ok(Some(hello)) = whole {
        if let Some(name) = hello.server_name {
            assert!(!name.as_str().ends_with('.') && name.as_str().is_ascii());
        }
    }
});
