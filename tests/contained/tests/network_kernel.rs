//! Ways to the host that are no TCP connection: sockets in the file system, abstract sockets,
//! socket families beside IP, sends without `connect`.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use ringfence_contained_tests::needs;
use support::tcp::{LEAK, Sink};
use support::world::{World, probing};

/// Answers that mean that there is nothing to reach.
const ABSENT: [&str; 4] = ["ENOENT", "EACCES", "EPERM", "ECONNREFUSED"];

/// Sockets of a desktop and of container engines, as decoys below the fixture.
fn decoys(world: &World) -> Vec<PathBuf> {
    let (home, runtime) = (world.fixture.home(), world.fixture.runtime());
    let below_home = [
        ".gnupg/S.gpg-agent",
        ".docker/run/docker.sock",
        ".ssh/agent.sock",
        ".local/share/gvfs.sock",
    ];
    let below_runtime = [
        "bus",
        "wayland-0",
        "docker.sock",
        "podman/podman.sock",
        "systemd/private",
        "keyring/ssh",
        "tmux-1000/default",
        "gvfsd/socket",
        "gnupg/S.gpg-agent.ssh",
    ];
    let paths = below_home.iter().map(|p| home.join(p));
    let paths: Vec<_> = paths.chain(below_runtime.iter().map(|p| runtime.join(p))).collect();
    for path in &paths {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    paths
}

fn unix_probes(paths: &[PathBuf], kinds: &[&str]) -> Vec<(String, String)> {
    let one = |path: &Path, kind: &str| {
        (format!("{kind} {}", path.display()), format!("unix {kind} '{}'", path.display()))
    };
    paths.iter().flat_map(|path| kinds.iter().map(move |kind| one(path, kind))).collect()
}

fn borrowed(probes: &[(String, String)]) -> Vec<(&str, String)> {
    probes.iter().map(|(label, words)| (label.as_str(), words.clone())).collect()
}

/// N21: the sockets of the user's session and of engines are not there, nor are their variables.
#[test]
fn n21_sockets_of_the_host_are_not_there() {
    needs!("python3");
    let world = World::new(&[]);
    let paths = decoys(&world);
    let listeners: Vec<_> = paths.iter().map(|path| UnixListener::bind(path).unwrap()).collect();
    let probes = unix_probes(&paths, &["stream"]);
    let named =
        |name: &str| paths.iter().find(|path| path.ends_with(name)).unwrap().display().to_string();
    let variables = [
        ("SSH_AUTH_SOCK", named("agent.sock")),
        ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", named("bus"))),
        ("DOCKER_HOST", format!("unix://{}", named("run/docker.sock"))),
        ("WAYLAND_DISPLAY", "wayland-0".to_owned()),
        ("DISPLAY", ":0".to_owned()),
        ("TMUX", named("default")),
        ("GPG_AGENT_INFO", named("S.gpg-agent")),
    ];
    let script =
        format!("{}env; cat /proc/self/environ | tr '\\0' '\\n'", probing(&borrowed(&probes)));
    let job = variables.iter().fold(world.job(), |job, (name, value)| job.env(name, value));
    let outcome = job.sh(&script);
    for (label, _) in &probes {
        assert!(["ENOENT", "EACCES"].contains(&outcome.answer(label)), "{label}: {outcome:?}");
    }
    for (name, _) in &variables {
        assert!(!outcome.stdout.contains(&format!("{name}=")), "{name} is visible: {outcome:?}");
    }
    for (path, listener) in paths.iter().zip(&listeners) {
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "{} was reached", path.display());
    }
    let control = world.unprotected(&borrowed(&probes));
    for (label, _) in &probes {
        assert_eq!(control.get(label), "open", "the attack itself is broken: {label}");
    }
}

/// N22: datagrams to such sockets, by `sendto` and `sendmsg`, get the same answer.
#[test]
fn n22_datagrams_to_sockets_of_the_host_are_not_there() {
    needs!("python3");
    let world = World::new(&[]);
    let paths = decoys(&world);
    let sockets: Vec<_> = paths.iter().map(|path| UnixDatagram::bind(path).unwrap()).collect();
    let probes = unix_probes(&paths, &["sendto", "sendmsg"]);
    let answers = world.probe(&borrowed(&probes));
    for (label, _) in &probes {
        assert!(
            ["ENOENT", "EACCES"].contains(&answers.get(label)),
            "{label}: {}",
            answers.get(label)
        );
    }
    let mut bytes = [0; 16];
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut bytes).is_err(), "a datagram arrived: {bytes:?}");
    }
    let control = world.unprotected(&borrowed(&probes));
    for (label, _) in &probes {
        assert_eq!(control.get(label), "open", "the attack itself is broken: {label}");
    }
}

/// N21: a socket that a program of the host has in the project itself is not reached either.
#[test]
fn n21_a_socket_in_the_project_is_not_reached() {
    needs!("python3");
    for mode in ["review", "read-only", "direct"] {
        let world = World::new(&[]);
        let path = world.fixture.project().join("server.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let datagrams = world.fixture.project().join("datagrams.sock");
        let socket = UnixDatagram::bind(&datagrams).unwrap();
        let probes = [
            ("stream", format!("unix stream '{}'", path.display())),
            ("sendto", format!("unix sendto '{}'", datagrams.display())),
        ];
        let outcome = world.job().flags(["--workspace", mode]).sh(&probing(&probes));
        listener.set_nonblocking(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        for (label, _) in &probes {
            let answer = outcome.answer(label);
            assert!(ABSENT.contains(&answer), "{mode}, {label}: {answer}");
        }
        assert!(listener.accept().is_err(), "{mode}: the host's socket was reached");
        assert!(socket.recv(&mut [0; 16]).is_err(), "{mode}: a datagram arrived");
        let control = world.unprotected(&probes);
        assert_eq!((control.get("stream"), control.get("sendto")), ("open", "open"));
    }
}

/// P21, N21: abstract sockets of the host do not exist inside.
#[test]
fn n21_abstract_sockets_of_the_host_are_not_there() {
    needs!("python3");
    use std::os::linux::net::SocketAddrExt;
    let world = World::new(&[]);
    let name = format!("ringfence-decoy-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let probes = [("abstract", format!("unix stream '@{name}'"))];
    let answers = world.probe(&probes);
    assert!(ABSENT.contains(&answers.get("abstract")), "{}", answers.get("abstract"));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
    assert_eq!(world.unprotected(&probes).get("abstract"), "open");
}

/// N23: no socket family, type or protocol but those of ordinary TCP, UDP and local sockets.
#[test]
fn n23_other_socket_families_are_refused() {
    needs!("python3");
    let world = World::new(&[]);
    let refused = [
        ("icmp raw", 2, 3, 1),
        ("tcp raw", 2, 3, 6),
        ("any raw", 2, 3, 255),
        ("icmp6 raw", 10, 3, 58),
        ("icmp ping", 2, 2, 1),
        ("mptcp", 2, 1, 262),
        ("sctp", 2, 1, 132),
        ("sctp seq", 2, 5, 132),
        ("dccp", 2, 6, 33),
        ("udplite", 2, 2, 136),
        ("packet", 17, 3, 768),
        ("packet dgram", 17, 2, 768),
        ("alg", 38, 5, 0),
        ("vsock", 40, 1, 0),
        ("vsock dgram", 40, 2, 0),
        ("rxrpc", 33, 2, 2),
        ("netlink kernel", 16, 3, 15),
        ("netlink xfrm", 16, 3, 6),
        ("netlink audit", 16, 3, 9),
        ("netlink netfilter", 16, 3, 12),
        ("netlink generic", 16, 3, 16),
        ("bluetooth", 31, 3, 0),
        ("can", 29, 3, 1),
        ("tipc", 30, 2, 0),
        ("xdp", 44, 3, 0),
        ("key", 15, 3, 2),
        ("llc", 26, 1, 0),
        ("kcm", 41, 5, 0),
        ("qipcrtr", 42, 2, 0),
        ("smc", 43, 1, 0),
        ("nfc", 39, 5, 0),
        ("ax25", 3, 5, 0),
    ];
    let allowed = [
        ("tcp", 2, 1, 6),
        ("tcp6", 10, 1, 0),
        ("udp", 2, 2, 17),
        ("unix", 1, 1, 0),
        ("route", 16, 3, 0),
    ];
    let probes: Vec<_> = refused
        .iter()
        .chain(&allowed)
        .map(|(label, family, kind, protocol)| {
            (*label, format!("opens {family} {kind} {protocol}"))
        })
        .collect();
    let answers = world.probe(&probes);
    for (label, ..) in refused {
        let answer = answers.get(label);
        let expected = ["EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EPERM", "EACCES"];
        assert!(expected.contains(&answer), "{label}: {answer}");
    }
    for (label, ..) in allowed {
        assert_eq!(answers.get(label), "open", "{label} is needed by ordinary programs");
    }
}

/// N23: data sent with the first packet, without any `connect` call, is captured as well.
#[test]
fn n23_fast_open_is_captured() {
    needs!("python3");
    let world = World::new(&[("sink.test", &["127.0.0.7"])]);
    let sink = Sink::start("127.0.0.7:0");
    let port = sink.server.port();
    let answers = world.probe(&[
        ("name", format!("fastopen sink.test {port}")),
        ("address", format!("fastopen 8.8.8.8 {port}")),
    ]);
    for label in ["name", "address"] {
        let answer = answers.get(label);
        assert!(!answer.contains(LEAK), "{label}: {answer}");
    }
    sink.assert_untouched("N23");
    let control = world.unprotected(&[("direct", format!("fastopen 127.0.0.7 {port}"))]);
    control.assert_got("direct", LEAK);
}
