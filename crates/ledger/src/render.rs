//! A record as one line for people.
//!
//! Every text in a record may be the agent's own: all of it is escaped, and nothing in it can move
//! the cursor, start a new line or hide. For programs there is the record itself.

use ringfence_model::decision::{Decision, Verdict};
use ringfence_model::event::{End, Event, Record, Start};
use ringfence_model::request::Request;
use ringfence_model::text::visible;

/// The record on one line: time, what, details.
#[must_use]
pub fn line(record: &Record) -> String {
    let time = record.time.get(..19).unwrap_or(&record.time);
    // Escaped as a whole: no part of the line may come around it.
    visible(&format!("{time}Z  {}", event(&record.event)))
}

fn event(event: &Event) -> String {
    match event {
        Event::Start(start) => started(start),
        Event::Released { controls, self_test } => format!(
            "released   {} controls in force, {} self-test findings",
            controls.len(),
            self_test.len()
        ),
        Event::Decision { request, decision, count, .. } => decided(request, decision, *count),
        Event::Outcome { flow, sent, received, duration_us, error } => {
            let cause = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
            let ms = duration_us / 1000;
            format!("closed     connection {flow}, {sent} bytes out, {received} in, {ms} ms{cause}")
        }
        Event::Dns { name, record, answer, count } => {
            let answer = answer.as_deref().unwrap_or("no data");
            format!("lookup     {name} {record}: {answer}{}", times(*count))
        }
        Event::Exec { pid, path, argv, truncated } => {
            let cut = if *truncated { " (cut)" } else { "" };
            format!("exec       {path} [{}] pid {pid}{cut}", argv.join(" "))
        }
        Event::Limit { name, limit, action } => format!("limit      {name} ({limit}): {action}"),
        Event::Policy { generation, layer, summary, .. } => {
            format!("policy     generation {generation} by {layer}: {summary}")
        }
        Event::Control { verb, by, argv, code } => {
            let program =
                if argv.is_empty() { String::new() } else { format!(" [{}]", argv.join(" ")) };
            let code = code.map_or(String::new(), |code| format!(", code {code}"));
            format!("control    {verb} by {by}{program}{code}")
        }
        Event::Sensor { what } => format!("sensor     {what}"),
        Event::Workspace { verb, paths, count, .. } => {
            format!("workspace  {verb}, {count} paths: {}", few(paths))
        }
        Event::End(end) => ended(end),
    }
}

fn started(start: &Start) -> String {
    let argv = start.manifest.get("argv").and_then(|argv| argv.as_array());
    let words = argv.into_iter().flatten().filter_map(|word| word.as_str());
    format!("started    {} (ringfence {})", words.collect::<Vec<_>>().join(" "), start.version)
}

fn decided(request: &Request, decision: &Decision, count: u64) -> String {
    let verdict = match decision.verdict {
        Verdict::Allow => "allowed  ",
        Verdict::Deny => "denied   ",
        Verdict::Ask => "asked    ",
    };
    let rules: Vec<String> = decision.rules.iter().map(|rule| rule.source.to_string()).collect();
    let rules = if rules.is_empty() { String::new() } else { format!(" ({})", few(&rules)) };
    format!(
        "{verdict}  {} {}  {}{rules}{}",
        request.action,
        request.resource,
        decision.reason,
        times(count)
    )
}

fn ended(end: &End) -> String {
    format!(
        "ended      {}, code {}, {} ms, {} allowed, {} denied, {} bytes out, {} in, {} programs",
        end.cause,
        end.code,
        end.duration_ms,
        end.allowed,
        end.denied,
        end.sent,
        end.received,
        end.execs
    )
}

fn times(count: u64) -> String {
    if count > 1 { format!("  ({count} times)") } else { String::new() }
}

/// The first few of a list.
fn few(list: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = list.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_model::event::Subject;
    use ringfence_model::id::RunId;

    fn shown(event: Event) -> String {
        line(&Record {
            schema: 1,
            seq: 0,
            time: "2026-11-25T01:30:28.000000001Z".to_owned(),
            boot_ns: "1".to_owned(),
            subject: Subject {
                run: RunId::new(1, 1),
                sandbox: None,
                agent: "sh".to_owned(),
                principal: "me (uid 1)".to_owned(),
                host: "h".to_owned(),
                policy: String::new(),
            },
            labels: Vec::new(),
            event,
            prev: crate::GENESIS.to_owned(),
        })
    }

    #[test]
    fn c13_f34_no_text_of_an_agent_leaves_its_line_or_moves_the_cursor() {
        let evil = "a\nb\u{1b}[2K\u{202e}x\u{200b}\u{9b}\rdenied";
        let events = [
            Event::Exec {
                pid: 7,
                path: evil.to_owned(),
                argv: vec![evil.to_owned()],
                truncated: false,
            },
            Event::Dns {
                name: evil.to_owned(),
                record: evil.to_owned(),
                answer: Some(evil.to_owned()),
                count: 2,
            },
            Event::Sensor { what: evil.to_owned() },
            Event::Workspace {
                verb: "apply".to_owned(),
                paths: vec![evil.to_owned()],
                count: 1,
                digest: String::new(),
            },
        ];
        for event in events {
            let text = shown(event);
            assert!(text.chars().all(ringfence_model::text::is_plain), "{text:?}");
            assert!(text.starts_with("2026-11-25T01:30:28Z  "), "{text}");
            assert!(text.contains("a\\nb\\u{1b}[2K\\u{202e}x"), "{text}");
        }
    }

    #[test]
    fn a_denial_reads_as_a_sentence() {
        let event = serde_json::json!({
            "type": "decision", "flow": 1, "count": 3,
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
        });
        let text = shown(serde_json::from_value(event).unwrap());
        let want = "2026-11-25T01:30:28Z  denied     connect registry.acme.example:443  \
                    no rule names it  (3 times)";
        assert_eq!(text, want);
    }
}
