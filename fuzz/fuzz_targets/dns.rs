//! Any bytes as a DNS question from inside and as an answer from outside: read without harm, and
//! what is answered is well formed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_gateway::dns::answer::{answer, malformed, packet};
use ringfence_gateway::dns::reply;
use ringfence_gateway::dns::wire::{Parsed, kind, parse_query};
use ringfence_gateway::names::Names;

fuzz_target!(|bytes: &[u8]| {
    let mut names = Names::default();
    match parse_query(bytes) {
        Parsed::Noise => {}
        Parsed::Malformed { id } => assert_eq!(malformed(id).len(), 12),
        Parsed::Query(query) => {
            let given = answer(&query, &mut names);
            let out = packet(&query, given);
            // An address is only ever given for a name of the strict grammar.
            if given.address.is_some() {
                assert!(
                    query
                        .name
                        .parse::<ringfence_model::host::HostName>()
                        .is_ok()
                );
            }
            assert!(out.len() <= query.question.len() + 64);
        }
    }
    // The answer to a fixed question, so that the fuzzer gets past the id.
    let mut framed = vec![0, 1];
    framed.extend_from_slice(bytes);
    for wanted in [kind::A, kind::AAAA] {
        let _ = reply::parse(&framed, 1, "a.example", wanted);
    }
});
