//! The words that a refused client gets, in the protocol that it speaks: an HTTP answer with a
//! JSON body, a TLS alert, or a reset.
//!
//! Says what was decided; decides nothing, and never waits long for a client to listen.

use ringfence_model::address::{AddressClass, classify as classify_address};
use ringfence_model::decision::{Decision, Reason};
use ringfence_model::request::Endpoint;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::first::{First, awaits_words, classify};
use crate::limits::{
    DENIED_FIRST_BYTE, FAREWELL, FAREWELL_BYTES, FIRST_BYTE, HEAD_BYTES, WHOLE_HEAD,
};
use crate::relay;
use crate::tls::ACCESS_DENIED;

/// The JSON body.
#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    host: String,
    port: u16,
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<String>,
}

/// The HTTP answer to a refused request.
fn http(endpoint: &Endpoint, decision: &Decision) -> Vec<u8> {
    let (status, error) = match &decision.reason {
        Reason::Malformed { .. } => ("400 Bad Request", "refused by ringfence"),
        Reason::Unreachable { .. } => ("502 Bad Gateway", "unreachable through ringfence"),
        Reason::Limit { .. } => ("503 Service Unavailable", "refused by ringfence"),
        _ => ("403 Forbidden", "denied by ringfence"),
    };
    let rule = decision.rules.first();
    let body = Body {
        error,
        host: endpoint.host(),
        port: endpoint.port,
        why: decision.reason.to_string(),
        rule: rule.map(|rule| rule.id.as_str()),
        at: rule.map(|rule| rule.source.to_string()),
        how: how(endpoint, &decision.reason),
    };
    // A struct of strings and numbers always serializes.
    let json = serde_json::to_string(&body).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{json}",
        json.len()
    )
    .into_bytes()
}

/// What a person can do about it while the sandbox runs, where one command helps.
fn how(endpoint: &Endpoint, reason: &Reason) -> Option<String> {
    let may_be_permitted = endpoint.name.is_some()
        || endpoint.address.is_some_and(|address| {
            matches!(classify_address(address), AddressClass::Public | AddressClass::Private)
        });
    match reason {
        Reason::NoRule | Reason::Expired if may_be_permitted => {
            let text = endpoint.to_string();
            // Brackets are a pattern to a shell.
            let word = if text.contains('[') { format!("'{text}'") } else { text };
            Some(format!("ringfence allow {word} --for 10m"))
        }
        _ => None,
    }
}

/// Tells the client and closes. `head` holds what it has said already.
pub(crate) async fn say(
    client: &TcpStream,
    mut head: Vec<u8>,
    endpoint: &Endpoint,
    decision: &Decision,
) {
    let wait = if matches!(endpoint.port, 80 | 443) { FIRST_BYTE } else { DENIED_FIRST_BYTE };
    if head.is_empty() {
        // A client that goes away or stays silent gets a reset.
        let _ = timeout(wait, relay::read_some(client, &mut head, HEAD_BYTES)).await;
    }
    // Whole heads first: some clients drop an answer that comes while they are speaking.
    let whole = async {
        while awaits_words(&head) && matches!(classify(&head), Ok(None)) {
            match relay::read_some(client, &mut head, HEAD_BYTES).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    };
    let _ = timeout(WHOLE_HEAD, whole).await;
    let words = match (head.first(), classify(&head)) {
        (None, _) | (_, Ok(Some(First::Opaque))) => None,
        (Some(22), _) | (_, Ok(Some(First::Tls(_)))) => Some(ACCESS_DENIED.to_vec()),
        (_, Ok(Some(First::Http(_)))) | (_, Err(_)) => Some(http(endpoint, decision)),
        (_, Ok(None)) => None,
    };
    match words {
        None => relay::reset_on_close(client),
        Some(words) => {
            let told = timeout(FAREWELL, tell(client, &words)).await;
            if !matches!(told, Ok(Ok(()))) {
                relay::reset_on_close(client);
            }
        }
    }
}

/// Writes, then reads what still comes: closing with unread bytes would reset the connection
/// before the words are read.
async fn tell(client: &TcpStream, words: &[u8]) -> std::io::Result<()> {
    let count = std::cell::Cell::new(0);
    relay::write_all(client, words, &count).await?;
    relay::end_writing(client)?;
    let (mut drained, mut scrap) = (0, Vec::new());
    loop {
        scrap.clear();
        let length = relay::read_some(client, &mut scrap, FAREWELL_BYTES).await?;
        drained += length;
        if length == 0 || drained > FAREWELL_BYTES {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_model::decision::{RuleRef, Verdict};
    use ringfence_model::provenance::Source;

    #[test]
    fn the_answer_names_host_rule_and_remedy() {
        let endpoint = Endpoint {
            name: Some("a.example".parse().unwrap()),
            claimed: None,
            address: None,
            port: 80,
        };
        let rules = vec![RuleRef {
            id: "project.network.deny.0".into(),
            source: Source::command_line("--deny a.example"),
        }];
        let mut decision = Decision {
            verdict: Verdict::Deny,
            rules,
            reason: Reason::Forbidden,
            generation: 1,
            expires: None,
        };
        let text = String::from_utf8(http(&endpoint, &decision)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 403 ")
                && head.contains(&format!("Content-Length: {}", body.len()))
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((body["host"].as_str(), body["port"].as_u64()), (Some("a.example"), Some(80)));
        assert_eq!(body["rule"], "project.network.deny.0");
        assert!(body["how"].is_null());
        decision.reason = Reason::NoRule;
        let text = String::from_utf8(http(&endpoint, &decision)).unwrap();
        assert!(text.contains("ringfence allow a.example:80 --for 10m"));
        let six = Endpoint {
            address: Some("2606:4700::1".parse().unwrap()),
            name: None,
            ..endpoint.clone()
        };
        let text = String::from_utf8(http(&six, &decision)).unwrap();
        assert!(text.contains("ringfence allow '[2606:4700::1]:80' --for 10m"), "{text}");
        let metadata =
            Endpoint { name: None, address: Some("169.254.169.254".parse().unwrap()), ..endpoint };
        let text = String::from_utf8(http(&metadata, &decision)).unwrap();
        assert!(!text.contains("ringfence allow"));
    }
}
