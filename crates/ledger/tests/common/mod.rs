//! What the ledger's tests share: a subject, some events, a whole ledger in memory.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed set-up may panic.

use ringfence_ledger::{Redactor, Stamp, Writer};
use ringfence_model::event::{End, Event, Start, Subject};
use ringfence_model::id::RunId;

pub fn subject() -> Subject {
    Subject {
        run: RunId::new(1_795_570_228_000, 7),
        sandbox: None,
        agent: "claude".to_owned(),
        principal: "ada (uid 1000)".to_owned(),
        host: "bench".to_owned(),
        policy: "0f".repeat(32),
    }
}

pub fn stamp(n: u64) -> Stamp {
    Stamp { unix_s: 1_795_570_228 + n as i64, unix_ns: 5, boot_ns: 1_000 + n }
}

pub fn start() -> Event {
    Event::Start(Box::new(Start {
        version: "0.1.0".to_owned(),
        binary: "ab".repeat(32),
        manifest: serde_json::json!({
            "argv": ["claude", "--token", "hunter2"],
            "environment": {"GH_TOKEN": "ghx", "HOME": "/home/x"},
            "identity": [66, 18_446_744_073_709_551_615_u64],
        }),
        sources: Vec::new(),
        residual_risks: vec!["kernel".to_owned()],
    }))
}

pub fn denial(n: u64) -> Event {
    serde_json::from_value(serde_json::json!({
        "type": "decision", "flow": n, "count": 1,
        "request": {
            "action": "connect",
            "resource": {"endpoint": {
                "name": "registry.acme.example", "claimed": null, "address": null, "port": 443,
            }},
            "context": {"protocol": "tls", "again": false},
        },
        "decision": {
            "verdict": "deny", "rules": [], "reason": {"code": "no-rule"}, "generation": 1,
            "expires": null,
        },
    }))
    .unwrap()
}

pub fn end() -> Event {
    Event::End(Box::new(End {
        cause: "exit".to_owned(),
        code: 0,
        duration_ms: 12,
        allowed: 0,
        denied: 3,
        sent: 0,
        received: 0,
        execs: 1,
    }))
}

/// Start, `middle` denials, end.
pub fn ledger(middle: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, "test", subject(), Redactor::default()).unwrap();
    writer.append(&start(), stamp(0)).unwrap();
    for n in 0..middle {
        writer.append(&denial(n), stamp(n + 1)).unwrap();
    }
    writer.append(&end(), stamp(middle + 1)).unwrap();
    out
}

pub fn lines(ledger: &[u8]) -> Vec<Vec<u8>> {
    ledger.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}
