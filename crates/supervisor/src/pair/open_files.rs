//! Files of the workspace that programs have open for writing, or mapped so that their memory is the
//! file: what is written to them makes no further call that could be heard.

use std::collections::BTreeSet;
use std::fs;

use ringfence_sys::seccomp::changes::Named;

use super::resolve::{Place, Resolver};

/// Bits of the access mode in a descriptor's flags (`O_ACCMODE`, `fcntl(2)`); 0 is `O_RDONLY`.
const ACCESS_MODE: u32 = 3;

/// The paths of those files.
pub fn open_for_writing(resolver: &Resolver) -> Vec<Vec<u8>> {
    let mut paths = BTreeSet::new();
    for pid in resolver.processes() {
        let opened = descriptors(pid).into_iter().map(|fd| resolver.descriptor(pid, fd));
        let mapped = mapped(pid)
            .into_iter()
            .map(|path| resolver.place(pid, &Named { directory: None, path, follow: false }));
        for place in opened.chain(mapped) {
            // What has no name of its own any more was kept where it lost it.
            if let Ok(Place::Inside(path)) = place {
                paths.insert(path);
            }
        }
    }
    paths.into_iter().collect()
}

fn descriptors(pid: u32) -> Vec<i32> {
    let Ok(listed) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(|number| writes(pid, *number)).collect()
}

/// Whether a descriptor is open for writing (proc_pid_fdinfo(5)).
fn writes(pid: u32, descriptor: i32) -> bool {
    let Ok(info) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")) else {
        return false;
    };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & ACCESS_MODE != 0)
}

/// Files that are mapped writable and shared (proc_pid_maps(5)); odd bytes are escaped there.
fn mapped(pid: u32) -> Vec<Vec<u8>> {
    let Ok(maps) = fs::read(format!("/proc/{pid}/maps")) else { return Vec::new() };
    let lines = maps.split(|byte| *byte == b'\n');
    lines.filter_map(mapped_path).collect()
}

fn mapped_path(line: &[u8]) -> Option<Vec<u8>> {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let permissions = fields.nth(1)?;
    if permissions.get(1) != Some(&b'w') || permissions.get(3) != Some(&b's') {
        return None;
    }
    let start = line.iter().position(|byte| *byte == b'/')?;
    Some(unescaped(line.get(start..)?))
}

/// A newline is written as `\\012`, and nothing else is escaped.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        (rest, _) = match behind.strip_prefix(b"012") {
            Some(behind) if *first == b'\\' => (behind, out.push(b'\n')),
            _ => (behind, out.push(*first)),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_writable_maps_of_files_are_told_from_others() {
        let line = |permissions: &str, path: &str| {
            format!("7f00-7f01 {permissions} 00000000 fe:01 42                 {path}").into_bytes()
        };
        let path = |bytes: &[u8]| Some(bytes.to_vec());
        assert_eq!(mapped_path(&line("rw-s", "/p/a b")), path(b"/p/a b"));
        assert_eq!(mapped_path(&line("rw-s", "/p/a\\012b")), path(b"/p/a\nb"));
        assert_eq!(mapped_path(&line("rw-p", "/p/a")), None);
        assert_eq!(mapped_path(&line("r--s", "/p/a")), None);
        assert_eq!(mapped_path(&line("rw-s", "[heap]")), None);
    }
}
