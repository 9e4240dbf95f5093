//! Records per second, appended to a real file and verified from it, by the wall clock and by the
//! processor time of all threads (which other load disturbs less). Prints; asserts nothing.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use ringfence_ledger::{Redactor, Stamp, Writer, verify};
use ringfence_model::event::{Event, Subject};
use ringfence_model::id::RunId;
use std::io::Seek as _;
use std::time::Instant;

const RECORDS: u64 = 500_000;

fn main() {
    let subject = Subject {
        run: RunId::new(1, 1),
        sandbox: None,
        agent: "claude".to_owned(),
        principal: "ada (uid 1000)".to_owned(),
        host: "bench".to_owned(),
        policy: "0f".repeat(32),
    };
    let event: Event = serde_json::from_value(serde_json::json!({
        "type": "decision", "flow": 7, "count": 1,
        "request": {
            "action": "connect",
            "resource": {"endpoint": {
                "name": "registry.example.com", "claimed": "registry.example.com",
                "address": "203.0.113.9", "port": 443,
            }},
            "context": {"protocol": "tls", "again": false},
        },
        "decision": {
            "verdict": "allow", "reason": {"code": "permitted"}, "generation": 1, "expires": null,
            "rules": [{"id": "project.network.allow.2", "source": {
                "layer": "project", "file": "/home/ada/p/ringfence.toml", "line": 14, "column": 3,
                "text": "registry.example.com",
            }}],
        },
    }))
    .unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let redactor = Redactor::new(["one-known-secret-value".to_owned()]);
    let mut writer = Writer::new(file.try_clone().unwrap(), "bench", subject, redactor).unwrap();
    let begin = now();
    for n in 0..RECORDS {
        writer.append(&event, Stamp { unix_s: 1_795_570_228, unix_ns: 0, boot_ns: n }).unwrap();
    }
    rate("appended", begin);
    let bytes = file.stream_position().unwrap();
    file.rewind().unwrap();
    let begin = now();
    let summary = verify(&file).unwrap();
    assert_eq!(summary.records, RECORDS);
    rate("verified", begin);
    println!("{} bytes a record", bytes / RECORDS);
}

fn now() -> (Instant, f64) {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    (Instant::now(), cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9)
}

fn rate(what: &str, begin: (Instant, f64)) {
    let end = now();
    println!(
        "{what}: {:.0} records/s, {:.0} records per second of one core",
        RECORDS as f64 / (end.0 - begin.0).as_secs_f64(),
        RECORDS as f64 / (end.1 - begin.1)
    );
}
