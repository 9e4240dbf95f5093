//! Any bytes as a clear-text request and its body: read without harm, the same however they
//! arrive, and never with a second Host or an ambiguous length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_gateway::first::classify;
use ringfence_gateway::http::framing::Framing;
use ringfence_gateway::http::head::{Body, parse};
use ringfence_gateway::http::status;

fuzz_target!(|bytes: &[u8]| {
    let _ = classify(bytes);
    let _ = status::read(bytes);
    if let Ok(Some(head)) = parse(bytes) {
        let text = String::from_utf8_lossy(&bytes[..head.length]).to_ascii_lowercase();
        assert_eq!(text.matches("\r\nhost:").count(), 1);
        let length = text.matches("\r\ncontent-length:").count();
        let coding = text.matches("\r\ntransfer-encoding:").count();
        assert!(length + coding <= 1);
        assert_eq!(coding == 1, head.body == Body::Chunked);
        // The same head whatever follows it.
        assert_eq!(parse(&bytes[..head.length]), Ok(Some(head.clone())));
        let rest = &bytes[head.length..];
        let (mut one, mut many) = (Framing::new(head.body), Framing::new(head.body));
        let whole = one.advance(rest);
        let mut taken = Ok(0);
        for byte in rest {
            match many.advance(std::slice::from_ref(byte)) {
                Ok(1) => taken = taken.map(|sum| sum + 1),
                Ok(_) => break,
                Err(error) => {
                    taken = Err(error);
                    break;
                }
            }
        }
        assert_eq!(whole, taken);
    }
});
