//! Incidents about what can be reached at all: every interface, mount, socket and descriptor, the
//! kernel's doors, container sockets, and the neighbours in the network.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use ringfence_contained_tests::{Fixture, needs, skip};
use support::tcp::Sink;
use support::world::{World, get, machine_address, probing};

/// S25, PB1, FS1: what exists inside is what the manifest in the ledger lists, and no more.
#[test]
fn s25_what_exists_inside_is_what_the_manifest_lists() {
    needs!("python3", "curl");
    let fixture = Fixture::new();
    let outcome = fixture.contained(
        "printf 'interfaces\\t'; ls /sys/class/net 2>/dev/null | tr '\\n' ' '; \
         tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | tr '\\n' ' '; echo\n\
         printf 'unix\\t'; tail -n +2 /proc/net/unix | wc -l\n\
         printf 'descriptors\\t'; sleep 5 & sleep 0.1; ls /proc/$!/fd | tr '\\n' ' '; kill $!; echo\n\
         printf 'variables\\t'; env | cut -d= -f1 | sort | tr '\\n' ' '; echo\n\
         printf 'devices\\t'; find /dev -type b -o -type c | sort | tr '\\n' ' '; echo\n\
         printf 'root\\t'; ls -A / | tr '\\n' ' '; echo\n\
         printf 'ids\\t'; id -u; printf 'capabilities\\t'; grep -h CapEff /proc/self/status | cut -f2\n\
         printf 'bounding\\t'; grep -h CapBnd /proc/self/status | cut -f2\n\
         printf 'privileges\\t'; grep -h NoNewPrivs /proc/self/status | cut -f2\n\
         printf 'filter\\t'; grep -h '^Seccomp:' /proc/self/status | cut -f2\n\
         printf 'processes\\t'; ls -d /proc/[0-9]* | wc -l\n\
         sed 's/^/mount /' /proc/self/mountinfo",
    );
    let words = |label: &str| -> BTreeSet<String> {
        outcome.answer(label).split_whitespace().map(str::to_owned).collect()
    };
    let set =
        |all: &[&str]| -> BTreeSet<String> { all.iter().map(|text| (*text).to_owned()).collect() };
    assert_eq!(words("interfaces"), set(&["lo"]), "{outcome:?}");
    assert_eq!(outcome.answer("unix").trim(), "0", "{outcome:?}");
    assert_eq!(words("descriptors"), set(&["0", "1", "2"]), "{outcome:?}");
    assert_ne!(outcome.answer("ids").trim(), "0");
    assert_eq!(outcome.answer("capabilities"), "0000000000000000");
    assert_eq!(outcome.answer("bounding"), "0000000000000000");
    assert_eq!(outcome.answer("privileges"), "1");
    assert_eq!(outcome.answer("filter"), "2");
    let devices = words("devices");
    let known = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
        "/dev/ptmx",
        "/dev/pts/ptmx",
        "/dev/console",
    ];
    let odd: Vec<_> = devices
        .iter()
        .filter(|d| !known.contains(&d.as_str()) && !d.starts_with("/dev/pts/"))
        .collect();
    assert!(odd.is_empty(), "unexpected devices: {odd:?}");
    for (kind, text) in [("LD_", "LD_"), ("proxy", "PROXY"), ("agent", "SSH_AUTH_SOCK")] {
        assert!(!outcome.answer("variables").contains(text), "{kind}: {outcome:?}");
    }
    check_mounts(&fixture, &outcome.stdout);
}

/// Every mount inside is one of the manifest's, or one that `/proc` and `/dev` are made of.
fn check_mounts(fixture: &Fixture, text: &str) {
    let ledger = fixture.ledger();
    let manifest = &ledger.the("start")["manifest"];
    let mounts =
        manifest["mounts"].as_array().unwrap_or_else(|| panic!("no mounts in {manifest:#}"));
    let listed: BTreeSet<&str> =
        mounts.iter().filter_map(|mount| mount["target"].as_str()).collect();
    let inside: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("mount "))
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| point.replace("\\040", " "))
        .collect();
    assert!(inside.len() > 3, "no mount table was seen: {text}");
    for point in &inside {
        let made =
            point == "/" || ["/proc", "/dev"].iter().any(|top| Path::new(point).starts_with(top));
        assert!(
            made || listed.contains(point.as_str()),
            "{point} is mounted but not in the manifest"
        );
    }
}

/// S30, FS7, FS8: the doors of the kernel that exploits came through are closed, and what ordinary
/// programs need is open.
#[test]
fn s30_the_doors_of_the_kernel_are_closed() {
    needs!("python3");
    let fixture = Fixture::new();
    let outcome = fixture.contained("\"$TOOLS/ringfence-attack\" doors");
    let answers = outcome.answers();
    assert!(answers.len() > 40, "the attack did not run: {outcome:?}");
    for (door, answer) in answers {
        let closed = ["EPERM", "ENOSYS", "EACCES"].contains(&answer) || answer.contains("signal");
        assert!(closed, "{door}: {answer}");
    }
    let needed = fixture.contained(
        "printf 'route\\t'; python3 -c 'import socket; print(len(socket.if_nameindex()))'\n\
         printf 'threads\\t'; python3 -c 'import threading; t = threading.Thread(target=print, args=(\"ok\",)); t.start(); t.join()'\n\
         printf 'setuid\\t'; cp /bin/cat ./mine; chmod u+s mine; su -c true >/dev/null 2>&1 && echo worked || echo inert\n\
         printf 'uid\\t'; sudo -n id -u 2>/dev/null || id -u",
    );
    assert_eq!(needed.answer("route"), "1", "{needed:?}");
    assert_eq!(needed.answer("threads"), "ok", "{needed:?}");
    assert_eq!(needed.answer("setuid"), "inert", "{needed:?}");
    assert_ne!(needed.answer("uid"), "0", "{needed:?}");
}

/// S31: mounts that hand out the host are refused at the start, whoever asks for them.
#[test]
fn s31_grants_that_hand_out_the_host_are_refused() {
    let fixture = Fixture::new();
    let home = fixture.home().display().to_string();
    let above = fixture.home().parent().unwrap().display().to_string();
    let state = fixture.state().join("ringfence").display().to_string();
    let binary = fixture.binary().display().to_string();
    let cases: [(&str, &str); 18] = [
        ("--rw", "/var/run/docker.sock"),
        ("--ro", "/run/docker.sock"),
        ("--rw", "/run/systemd/private"),
        ("--rw", "/"),
        ("--ro", "/"),
        ("--rw", "/proc"),
        ("--rw", "/sys"),
        ("--rw", "/dev"),
        ("--rw", "/etc"),
        ("--ro", "/etc/../"),
        ("--rw", &home),
        ("--rw", &above),
        ("--rw", &state),
        ("--rw", &binary),
        ("--ro", "/proc/self/root"),
        ("--rw", "/run"),
        ("--rw", "/sys/fs/cgroup"),
        ("--ro", "/nonexistent/x"),
    ];
    // The state directory exists from the first command on.
    let _ = fixture.ringfence(&["ps"]);
    for (flag, path) in cases {
        let outcome = fixture.job().flags([flag, path]).sh("echo STARTED");
        assert_eq!(outcome.code, 125, "{flag} {path}: {outcome:?}");
        assert!(!outcome.stdout.contains("STARTED"), "{flag} {path}: {outcome:?}");
        assert!(!outcome.stderr.trim().is_empty(), "{flag} {path}: no word of why");
    }
    let listener = fixture.root().join("engine.sock");
    let _engine = std::os::unix::net::UnixListener::bind(&listener).unwrap();
    let socket = listener.display().to_string();
    for flag in ["--rw", "--ro"] {
        let outcome = fixture.job().flags([flag, &socket]).sh("echo STARTED");
        assert_eq!(outcome.code, 125, "a socket: {outcome:?}");
    }
    let allowed =
        fixture.job().flags(["--ro", &fixture.sibling().display().to_string()]).sh("echo STARTED");
    assert_eq!(allowed.stdout, "STARTED\n", "an ordinary grant is no mistake: {allowed:?}");
}

/// S31: the handles by which containers were left are not there, or not writable.
#[test]
fn s31_container_handles_are_not_there() {
    needs!("python3");
    let fixture = Fixture::new();
    let outcome = fixture.contained(
        "for p in /var/run/docker.sock /run/docker.sock /run/podman /run/containerd /run/dbus /run/systemd \
         /sys/fs/cgroup /sys/kernel /sys/fs/bpf /sys/firmware /proc/kcore /proc/sysrq-trigger /proc/keys \
         /proc/timer_list /dev/mem /dev/kmsg /dev/sda /dev/fuse /dev/kvm /dev/net/tun \
         /var/run/secrets /run/secrets /etc/shadow /root /boot /proc/1/root/etc/shadow; do\n\
         printf \"$p\\t\"; if head -c 1 \"$p\" >/dev/null 2>&1; then echo read; \
         elif [ -d \"$p\" ] && ls \"$p\" 2>/dev/null | grep -q .; then echo listed; else echo closed; fi; done\n\
         python3 - <<'END'\n\
         import os\n\
         files = '/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/drop_caches \
         /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/devices/system/cpu/cpu1/online \
         /proc/1/mem /proc/irq/default_smp_affinity /etc/passwd /etc/hosts /usr/bin/env'\n\
         for path in files.split():\n\
         \x20   try: os.close(os.open(path, os.O_WRONLY)); print('write', path, end='\\topened\\n')\n\
         \x20   except OSError: print('write', path, end='\\tclosed\\n')\n\
         for path in '/ /usr /usr/bin /etc /lib /opt /var /run /sys /proc /dev'.split():\n\
         \x20   writable = os.access(path, os.W_OK, effective_ids=True)\n\
         \x20   print('write', path, end='\\topened\\n' if writable else '\\tclosed\\n')\n\
         END",
    );
    let answers = outcome.answers();
    assert!(answers.len() > 45, "{outcome:?}");
    for (path, answer) in answers {
        assert_eq!(answer, "closed", "{path}: {outcome:?}");
    }
}

/// S33, LM1: a scan of the neighbourhood and of the metadata service reaches nothing, and every
/// try is accounted for.
#[test]
fn s33_a_scan_reaches_nobody_and_is_recorded() {
    needs!("python3");
    let world = World::new(&[]);
    let sink = Sink::start("0.0.0.0:0");
    let port = sink.server.port();
    let own = machine_address();
    let prefix = match own {
        Some(IpAddr::V4(own)) => {
            let [a, b, c, _] = own.octets();
            format!("{a}.{b}.{c}")
        }
        _ => {
            skip(
                "a scan of the machine's own network",
                "it has no IPv4 address beside the loopback",
            );
            "10.11.12".to_owned()
        }
    };
    let probes = [
        ("scan", format!("scan {prefix} {port},22")),
        (
            "metadata",
            "tcp 169.254.169.254 80 ".to_owned() + &get("169.254.169.254", "/latest/meta-data/"),
        ),
        ("smb", "tcp 192.168.0.10 445 00".to_owned()),
        ("ssh", format!("tcp {prefix}.1 22")),
    ];
    let outcome = world.job().sh(&probing(&probes));
    assert_eq!(outcome.answer("scan"), "tried 508 answered 0", "{outcome:?}");
    for label in ["metadata", "smb", "ssh"] {
        let answer = outcome.answer(label);
        assert!(
            !answer.starts_with("got") || answer.starts_with("got HTTP/1.1 403"),
            "{label}: {answer}"
        );
    }
    sink.assert_untouched("S33");
    let decisions = world.decisions();
    decisions.assert_denied("169.254.169.254", 80, "no-rule");
    decisions.assert_denied("192.168.0.10", 445, "no-rule");
    for last in [1, 100, 254] {
        decisions.assert_denied(&format!("{prefix}.{last}"), port, "no-rule");
    }
    if let Some(own) = own {
        let control = world.unprotected(&[("own", format!("tcp {own} {port} 78"))]);
        control.assert_got("own", support::tcp::LEAK);
    }
}

/// S18, N06: no datagram, raw packet or virtual socket carries data to a command server.
#[test]
fn s18_no_packet_leaves_by_a_side_way() {
    needs!("python3");
    let world = World::new(&[]);
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut probes = vec![
        ("doh", "tls 1.1.1.1 443 one.one.one.one".to_owned()),
        ("dot", "tls 9.9.9.9 853 dns.quad9.net".to_owned()),
        ("icmp", "opens 2 2 1".to_owned()),
        ("raw", "opens 2 3 255".to_owned()),
        ("vsock", "opens 40 1 0".to_owned()),
        ("packet", "opens 17 3 768".to_owned()),
        ("udp", format!("udp 127.0.0.1 {port}")),
    ];
    if let Some(own) = machine_address() {
        probes.push(("udp own", format!("udp {own} {port}")));
    }
    let answers = world.probe(&probes);
    for label in ["doh", "dot"] {
        answers.assert_denied(label);
    }
    for label in ["icmp", "raw", "vsock", "packet"] {
        assert_ne!(answers.get(label), "open", "{label}");
    }
    assert!(socket.recv(&mut [0; 16]).is_err(), "a datagram left");
    world.decisions().assert_denied("1.1.1.1", 443, "no-rule");
}
