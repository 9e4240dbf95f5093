//! The host's resolver files, read again when they change: /etc/resolv.conf and /etc/hosts.
//!
//! Reads only; a file that is missing or unreadable counts as empty (resolv.conf(5), hosts(5)).

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::Duration;

use ringfence_model::host::HostName;
use tokio::time::Instant;

use crate::limits::{ADDRESSES, CONFIGURATION_BYTES, CONFIGURATION_TICK, NAME_SERVERS};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// Port of DNS.
const PORT: u16 = 53;
/// Bounds of resolv.conf(5) for `timeout` (seconds) and `attempts`.
const TIMEOUT_MOST: u64 = 30;
const ATTEMPTS_MOST: u32 = 5;

/// What resolv.conf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
    pub(crate) rotate: bool,
    pub(crate) tcp_only: bool,
}

/// Device, inode, size and change time: another file or another content.
type Stamp = (u64, u64, u64, i64, i64);

#[derive(Default)]
pub(crate) struct Files {
    checked: Option<Instant>,
    stamps: [Option<Stamp>; 2],
    settings: Option<Rc<Settings>>,
    hosts: HashMap<HostName, Vec<IpAddr>>,
}

impl Files {
    /// Reads what has changed; whether anything has.
    pub(crate) fn refresh(&mut self) -> bool {
        if self.checked.is_some_and(|at| at.elapsed() < CONFIGURATION_TICK) {
            return false;
        }
        let first = self.checked.is_none();
        self.checked = Some(Instant::now());
        let stamps = [stamp(RESOLV_CONF), stamp(HOSTS)];
        if !first && stamps == self.stamps {
            return false;
        }
        self.stamps = stamps;
        self.settings = Some(Rc::new(parse_settings(&read(RESOLV_CONF))));
        self.hosts = parse_hosts(&read(HOSTS));
        true
    }

    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.settings.clone().unwrap_or_else(|| Rc::new(parse_settings("")))
    }

    /// The hosts file's addresses for a name.
    pub(crate) fn hosts(&self, name: &HostName) -> Option<Vec<IpAddr>> {
        self.hosts.get(name).cloned()
    }
}

fn stamp(path: &str) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.ctime(), data.ctime_nsec()))
}

fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What could be read before an error still counts, as in the C library.
        let _ = file.take(CONFIGURATION_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn server(text: &str) -> Option<SocketAddr> {
    if let Some((address, zone)) = text.split_once('%') {
        let scope = zone.parse().ok()?;
        return Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, scope).into());
    }
    Some(SocketAddr::new(text.parse().ok()?, PORT))
}

fn parse_settings(text: &str) -> Settings {
    let mut settings = Settings {
        servers: Vec::new(),
        timeout: Duration::from_secs(5),
        attempts: 2,
        rotate: false,
        tcp_only: false,
    };
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") if settings.servers.len() < NAME_SERVERS => {
                settings.servers.extend(words.next().and_then(server));
            }
            Some("options") => words.for_each(|word| option(&mut settings, word)),
            _ => {}
        }
    }
    if settings.servers.is_empty() {
        settings.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    settings
}

fn option(settings: &mut Settings, word: &str) {
    if let Some(seconds) = word.strip_prefix("timeout:").and_then(|n| n.parse::<u64>().ok()) {
        settings.timeout = Duration::from_secs(seconds.clamp(1, TIMEOUT_MOST));
    } else if let Some(count) = word.strip_prefix("attempts:").and_then(|n| n.parse::<u32>().ok()) {
        settings.attempts = count.clamp(1, ATTEMPTS_MOST);
    } else if word == "rotate" {
        settings.rotate = true;
    } else if word == "use-vc" {
        settings.tcp_only = true;
    }
}

fn parse_hosts(text: &str) -> HashMap<HostName, Vec<IpAddr>> {
    let mut hosts: HashMap<HostName, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        for name in words.filter_map(|word| word.parse().ok()) {
            let addresses = hosts.entry(name).or_default();
            if addresses.len() < ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_manual_says() {
        let got = parse_settings(
            "# c\n; c\nsearch a.b\nnameserver 127.0.0.53\nnameserver  fe80::1%2\nnameserver x\nnameserver 1.1.1.1\nnameserver 9.9.9.9\noptions edns0 timeout:99 attempts:0 rotate use-vc\n",
        );
        let servers: Vec<String> = got.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53:53", "[fe80::1%2]:53", "1.1.1.1:53"]);
        assert_eq!(
            (got.timeout.as_secs(), got.attempts, got.rotate, got.tcp_only),
            (30, 1, true, true)
        );
        assert_eq!(parse_settings("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn the_hosts_file_maps_every_name_of_a_line() {
        let hosts = parse_hosts(
            "127.0.0.1 localhost\n10.0.0.5 Git.corp git # office\n::1 x.y\n10.0.0.6 git.corp\nbad z.y\n",
        );
        let get = |name: &str| hosts.get(&name.parse().unwrap()).map_or(0, Vec::len);
        assert_eq!((get("git.corp"), get("git"), get("x.y"), get("z.y")), (2, 1, 1, 0));
    }
}
