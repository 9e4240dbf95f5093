//! Many, slow and huge: the gateway's memory stays bounded, others are served, and every denial is
//! accounted for.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::time::Duration;

use ringfence_contained_tests::{descends_from_us, needs};
use support::http::Http;
use support::world::{Gate, World, eventually, get, loopback, probing};

/// Most memory that the processes of ringfence may have taken at any time, in KiB.
const PEAK_KIB: u64 = 256 * 1024;

/// Peak resident memory of every process that `ringfence` has below it and that is ringfence
/// itself, in KiB.
fn peaks(ancestor: u32) -> Vec<(i32, u64)> {
    let mut family = descends_from_us(ancestor.cast_signed());
    family.push(ancestor.cast_signed());
    let own = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.starts_with("ringfence"))
    };
    let peak = |pid: i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
        Some((pid, line.split_whitespace().nth(1)?.parse().ok()?))
    };
    family.into_iter().filter(own).filter_map(peak).collect()
}

/// N25: slow clients, header bombs and floods hold neither memory nor other connections.
#[test]
fn n25_slow_and_huge_clients_are_bounded() {
    needs!("python3");
    let world = World::new(&[("allowed.test", &["127.0.0.5"])]);
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    let gate = Gate::new(&world.fixture);
    let ask = format!("tcp allowed.test {port} {}", get(&format!("allowed.test:{port}"), "/"));
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let bomb = format!(
        "python3 - <<'END'\nimport socket\n\
         s = socket.create_connection(('allowed.test', {port}), 10)\n\
         s.sendall(b'GET /bomb HTTP/1.1\\r\\nHost: allowed.test:{port}\\r\\n')\n\
         sent = 0\n\
         try:\n\
         \x20   while sent < 64 << 20:\n\
         \x20       s.sendall(b'X-Fill: ' + b'a' * 8000 + b'\\r\\n'); sent += 8010\n\
         \x20   print('bomb\\tsent everything')\n\
         except OSError as error:\n\
         \x20   print('bomb\\tstopped', sent < 32 << 20)\nEND\n"
    );
    let script = format!(
        "python3 net.py slow allowed.test {port} 300 6 & sleep 1\n{}{bomb}{}echo asked; {}",
        probing(&[("during", ask.clone())]),
        probing(&[("after", ask)]),
        gate.wait()
    );
    let job = world.job().flags(gate.flags()).patience(Duration::from_secs(90));
    let mut live = job.start_sh(&script);
    live.wait_for("asked");
    let peaks = peaks(live.pid());
    assert!(!peaks.is_empty(), "the processes of ringfence are not found");
    for (pid, peak) in &peaks {
        assert!(*peak < PEAK_KIB, "process {pid} took {peak} KiB");
    }
    gate.open();
    let outcome = live.wait();
    assert!(outcome.answer("during").contains("hello from allowed"), "{outcome:?}");
    assert!(outcome.answer("after").contains("hello from allowed"), "{outcome:?}");
    assert_eq!(outcome.answer("bomb"), "stopped True", "{outcome:?}");
    assert!(!server.requests.contains("/bomb"), "a head that is too long never arrives");
}

/// N25, C07: a flood of denied connections is counted to the last one, in few records.
#[test]
fn n25_every_denial_of_a_flood_is_counted() {
    needs!("python3");
    const FLOOD: u64 = 2000;
    let world = World::new(&[]);
    let script = format!(
        "python3 - <<'END'\nimport socket\n\
         done = 0\n\
         for n in range({FLOOD}):\n\
         \x20   s = socket.create_connection(('flood.test', 4444), 10)\n\
         \x20   try:\n\
         \x20       s.sendall(b'x'); s.recv(16)\n\
         \x20   except OSError: pass\n\
         \x20   s.close(); done += 1\n\
         print('done', done)\nEND"
    );
    let outcome = world.job().patience(Duration::from_secs(90)).sh(&script);
    assert_eq!(outcome.stdout.trim(), format!("done {FLOOD}"), "{outcome:?}");
    let decisions = world.decisions();
    assert_eq!(decisions.denials("flood.test"), FLOOD, "the record is complete");
    let records = decisions.about("flood.test", 4444).count();
    assert!(records < 200, "{records} records for {FLOOD} equal denials");
    world.fixture.verify_ledgers();
}

/// N25: an upload of many megabytes passes without being held in memory.
#[test]
fn n25_a_large_body_is_streamed() {
    needs!("python3");
    let world = World::new(&[("allowed.test", &["127.0.0.5"])]);
    let server = support::tcp::greeter("127.0.0.5:0", "");
    let port = server.port();
    let gate = Gate::new(&world.fixture);
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let script = format!(
        "python3 - <<'END'\nimport socket, threading\n\
         s = socket.create_connection(('allowed.test', {port}), 30)\n\
         size = 256 << 20\n\
         def push():\n\
         \x20   block = bytes(1 << 20)\n\
         \x20   for n in range(size >> 20): s.sendall(block)\n\
         \x20   s.shutdown(socket.SHUT_WR)\n\
         threading.Thread(target=push).start()\n\
         got = 0\n\
         while True:\n\
         \x20   part = s.recv(1 << 20)\n\
         \x20   if not part: break\n\
         \x20   got += len(part)\n\
         print('moved', got == size, flush=True)\nEND\n{}",
        gate.wait()
    );
    let job = world.job().flags(gate.flags()).patience(Duration::from_secs(90));
    let mut live = job.start_sh(&script);
    live.wait_for("moved");
    for (pid, peak) in peaks(live.pid()) {
        assert!(peak < PEAK_KIB, "process {pid} took {peak} KiB");
    }
    gate.open();
    let outcome = live.wait();
    assert!(outcome.stdout.contains("moved True"), "{outcome:?}");
    eventually("the server has seen one connection", || server.accepted() == 1);
}

/// N25, N05: a flood of look-ups is bounded in the ledger, and yet accounted for to the last one.
#[test]
fn n25_every_look_up_of_a_flood_is_accounted_for() {
    needs!("python3");
    const FLOOD: u64 = 3000;
    let world = World::new(&[]);
    let script = format!(
        "python3 - <<'END'\nimport socket, sys\n\
         sys.path.insert(0, '.'); import net\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n\
         for n in range({FLOOD}):\n\
         \x20   s.sendto(net.query(net.labels(f'n{{n}}.flood.test'), 1), ('198.18.0.1', 53)); s.recv(512)\n\
         print('asked')\nEND"
    );
    let outcome = world.job().sh(&script);
    assert_eq!(outcome.stdout, "asked\n", "{outcome:?}");
    let ledger = world.fixture.ledger();
    let records = ledger.events("dns");
    assert!(records.len() < 1000, "{} records for {FLOOD} look-ups", records.len());
    let recorded: u64 = records.iter().filter_map(|event| event["count"].as_u64()).sum();
    // What was not recorded one by one is told as a number by the sensor.
    let told: u64 = ledger
        .events("sensor")
        .iter()
        .filter_map(|event| event["what"].as_str())
        .filter(|what| what.contains("DNS"))
        .filter_map(|what| what.split_whitespace().find_map(|word| word.parse::<u64>().ok()))
        .sum();
    assert_eq!(recorded + told, FLOOD, "{recorded} recorded, {told} told of");
}
