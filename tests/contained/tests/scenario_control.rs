//! The control plane is nobody's but its owner's: S27.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_contained_tests::{Fixture, Live, is_root};

/// How long an answer, or the end of a connection, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Far more connections than are served at once.
const CROWD: usize = 64;

/// What else can be asked, as the command asks it.
const VERBS: [&str; 4] = [
    r#"{"do":"checkpoint","name":"x"}"#,
    r#"{"do":"restore","to":"start"}"#,
    r#"{"do":"attach","size":null}"#,
    r#"{"do":"exec","argv":["true"],"cwd":null,"term":null,"streams":["null","null","null"],"size":null}"#,
];

/// A run that has begun, its control socket and its token.
fn running(fixture: &Fixture) -> (Live, PathBuf, String) {
    let mut live = fixture.job().start_sh("echo up; exec sleep 600");
    live.wait_for("up");
    let run = fixture.state().join("ringfence/runs").join(fixture.runs().pop().unwrap());
    let token = std::fs::read_to_string(run.join("control.token")).unwrap();
    (live, run.join("control.sock"), token)
}

/// Says something on the socket; everything that is answered until it is closed.
fn say(socket: &Path, words: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be closed in the middle of what it does not want to hear.
    let _ = stream.write_all(words);
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it stays open"),
        _ => String::from_utf8_lossy(&heard).into_owned(),
    }
}

fn ask(token: &str, verb: &str) -> String {
    format!("{{\"version\":2,\"token\":\"{token}\",\"verb\":{{\"do\":\"{verb}\"}}}}\n")
}

fn end(fixture: &Fixture, live: Live) {
    let killed = fixture.ringfence(&["kill"]);
    assert_eq!(killed.code, 0, "{killed:?}");
    assert_eq!(live.wait().code, 137);
}

/// S27: what a page in a browser can send is refused in words that a browser understands, and never
/// acted on, not even with the right token in its body.
#[test]
fn s27_a_browser_is_turned_away() {
    let fixture = Fixture::new();
    let (mut live, socket, token) = running(&fixture);
    let kill = ask(&token, "kill");
    let length = kill.len();
    let requests = [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /v1/status HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: rebound.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            .to_owned(),
        "OPTIONS /kill HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example.com\r\n\
         Access-Control-Request-Method: POST\r\n\r\n"
            .to_owned(),
        format!(
            "POST /kill HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nContent-Type: text/plain\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{kill}"
        ),
        format!("POST / HTTP/1.0\n{kill}"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n".to_owned(),
    ];
    for request in requests {
        let heard = say(&socket, request.as_bytes());
        assert!(heard.starts_with("HTTP/1.1 403 "), "{request:?}: {heard:?}");
        assert!(!heard.to_lowercase().contains("access-control-allow"), "{heard:?}");
    }
    for strange in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\n", b"[]\n", b" {}\n"] {
        let heard = say(&socket, strange);
        assert!(heard.contains("refused"), "{strange:?}: {heard:?}");
    }
    assert!(live.runs(), "a request of HTTP ended the run");
    assert!(say(&socket, kill.as_bytes()).contains("killing"), "control group");
    assert_eq!(live.wait().code, 137);
}

/// S27: without the run's own token nothing is done, and nothing is told.
#[test]
fn s27_without_the_token_nothing_is_done() {
    let fixture = Fixture::new();
    let (mut live, socket, token) = running(&fixture);
    let mut near = token.clone().into_bytes();
    near[63] ^= 1;
    let near = String::from_utf8(near).unwrap();
    for wrong in ["", "0", &token[..63], &near, &token.to_uppercase(), &"0".repeat(64)] {
        if wrong == token {
            continue;
        }
        let heard = say(&socket, ask(wrong, "kill").as_bytes());
        assert!(heard.contains("token") && heard.contains("refused"), "{wrong}: {heard}");
        let heard = say(&socket, ask(wrong, "status").as_bytes());
        assert!(!heard.contains("generation"), "{heard}");
        for verb in VERBS {
            let line = format!("{{\"version\":2,\"token\":\"{wrong}\",\"verb\":{verb}}}\n");
            let heard = say(&socket, line.as_bytes());
            assert!(heard.contains("token") && heard.contains("refused"), "{verb}: {heard}");
        }
    }
    for verb in VERBS {
        let line = format!("{{\"version\":2,\"token\":\"{token}\",\"verb\":{verb}}}\n");
        let heard = say(&socket, line.as_bytes());
        assert!(!heard.contains("token"), "control group: {verb}: {heard}");
    }
    let logs = fixture.ringfence(&["logs"]).stdout;
    assert_eq!(logs.matches("exec by").count(), 1, "only what had the token was started: {logs}");
    let missing = "{\"version\":2,\"verb\":{\"do\":\"kill\"}}\n";
    let heard = say(&socket, missing.as_bytes());
    assert!(heard.contains("refused") && !heard.contains(&token), "{heard}");
    // Another version's question has other words, and is told which it is.
    let older = "{\"version\":1,\"verb\":{\"do\":\"kill\"}}\n";
    let heard = say(&socket, older.as_bytes());
    assert!(heard.contains("version 2, not 1"), "{heard}");
    // What is not understood is not repeated: a token could stand in it.
    let unknown = format!("{{\"version\":2,\"{token}\":1}}\n");
    assert!(!say(&socket, unknown.as_bytes()).contains(&token));
    assert!(live.runs());
    let heard = say(&socket, ask(&token, "status").as_bytes());
    assert!(heard.contains("generation"), "control group: {heard}");
    // The command itself cannot ask without it either, and says what is missing.
    let place = socket.with_extension("token");
    let aside = socket.with_extension("aside");
    std::fs::rename(&place, &aside).unwrap();
    let inspected = fixture.ringfence(&["inspect"]);
    assert_eq!(inspected.code, 1, "{inspected:?}");
    assert!(inspected.stderr.contains("control.token"), "{inspected:?}");
    std::fs::rename(&aside, &place).unwrap();
    end(&fixture, live);
}

/// S27: the token is its owner's alone, differs from run to run, ends with the run, and stands in no
/// record, no listing and no place inside.
#[test]
fn s27_the_token_is_nowhere_else() {
    let fixture = Fixture::new();
    let look = "echo up; while ! [ -e go ]; do sleep 0.02; done
        for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; cat $p/cmdline; ls -l $p/fd; done 2>/dev/null
        find / -xdev -name 'control.*' 2>/dev/null; cat /proc/net/unix; echo looked";
    let mut live = fixture.job().flags(["-w", "direct"]).start_sh(look);
    live.wait_for("up");
    let runs = fixture.state().join("ringfence/runs");
    let run = runs.join(fixture.runs().pop().unwrap());
    let place = run.join("control.token");
    let token = std::fs::read_to_string(&place).unwrap();
    assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(token.len(), 64);
    assert!(token.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let told = [
        fixture.ringfence(&["inspect", "--json"]),
        fixture.ringfence(&["logs", "--json"]),
        fixture.ringfence(&["ps", "--json"]),
    ];
    std::fs::write(fixture.project().join("go"), "").unwrap();
    let outcome = live.wait();
    assert!(outcome.stdout.contains("looked"), "{outcome:?}");
    for text in told.iter().chain([&outcome]) {
        assert!(!text.text().contains(&token));
    }
    for name in ["control.sock", "control.token"] {
        assert!(!outcome.stdout.contains(name), "{outcome:?}");
    }
    assert!(!place.exists(), "the token outlived its run");
    for entry in std::fs::read_dir(&run).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains(&token), "{:?}", entry.path());
    }
    let (live, _, next) = running(&fixture);
    assert_ne!(token, next);
    end(&fixture, live);
}

/// The inodes of all TCP sockets that listen in this network namespace.
fn listening() -> BTreeSet<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let text: String = tables.into_iter().flatten().collect();
    let fields = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listen = fields.filter(|fields| fields.get(3) == Some(&"0A"));
    listen.filter_map(|fields| fields.get(9)?.parse().ok()).collect()
}

/// The inodes of a process's sockets.
fn sockets(pid: u32) -> BTreeSet<u64> {
    let listing = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links = listing.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

/// S27: no port leads to a supervisor.
#[test]
fn s27_no_supervisor_listens_on_a_port() {
    let fixture = Fixture::new();
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let found = listening().intersection(&sockets(std::process::id())).count();
    assert!(found > 0, "control group");
    drop(own);
    let (live, socket, token) = running(&fixture);
    let _ = say(&socket, ask(&token, "status").as_bytes());
    let ports = listening();
    let of_it: Vec<&u64> = ports.iter().filter(|i| sockets(live.pid()).contains(i)).collect();
    assert!(of_it.is_empty(), "{of_it:?}");
    assert!(!sockets(live.pid()).is_empty(), "control group: its sockets are seen");
    end(&fixture, live);
}

/// S27: who connects and does not ask is hung up on, and keeps nobody else waiting for ever.
#[test]
fn s27_the_slow_are_hung_up_on() {
    let fixture = Fixture::new();
    let (live, socket, token) = running(&fixture);
    let crowd: Vec<UnixStream> = (0..CROWD)
        .filter_map(|number| {
            let mut stream = UnixStream::connect(&socket).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            // Some say nothing, some begin a question, some a request.
            let _ = stream.write_all([&b""[..], b"{", b"GE"][number % 3]);
            Some(stream)
        })
        .collect();
    for mut stream in crowd {
        let mut heard = Vec::new();
        match stream.read_to_end(&mut heard) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("a connection that never asked stays open")
            }
            _ => assert!(heard.is_empty(), "{heard:?}"),
        }
    }
    assert!(say(&socket, ask(&token, "status").as_bytes()).contains("generation"));
    let long = [b"{\"".to_vec(), vec![b'a'; 2 << 20]].concat();
    assert_eq!(say(&socket, &long), "", "an endless question is answered");
    assert!(say(&socket, ask(&token, "status").as_bytes()).contains("generation"));
    end(&fixture, live);
}

/// S27: another account gets nowhere, even where it was let near the socket and the token.
#[test]
fn s27_another_account_is_refused() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    let (live, socket, token) = running(&fixture);
    let tool = fixture.tools().join("ringfence-attack");
    let other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let as_other = |line: &str| {
        let words = other.iter().map(std::ffi::OsString::from);
        let words = words.chain([tool.clone().into(), "ask".into(), socket.clone().into()]);
        let command = fixture.job().plain_command(words);
        Live::start(command, line.as_bytes(), PATIENCE).wait()
    };
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // The way to the program itself.
    mode(fixture.root(), 0o711);
    assert_eq!(as_other(&ask(&token, "kill")).answer("connect"), "EACCES");
    let up: Vec<&Path> = socket.ancestors().skip(1).collect();
    let between = up.iter().take_while(|path| **path != fixture.root());
    let before: Vec<(&Path, u32)> = between
        .map(|path| (*path, std::fs::metadata(path).unwrap().permissions().mode()))
        .collect();
    for (path, _) in &before {
        mode(path, 0o711);
    }
    mode(&socket, 0o666);
    let reached = as_other(&ask(&token, "kill"));
    assert_eq!(reached.answer("connect"), "DONE", "control group: {reached:?}");
    assert_eq!(reached.answer("heard"), "", "{reached:?}");
    for (path, old) in before {
        mode(path, old);
    }
    assert!(say(&socket, ask(&token, "status").as_bytes()).contains("generation"));
    end(&fixture, live);
}
