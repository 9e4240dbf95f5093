//! The host's processes, as far as they carry a round's mark in their command line.
//!
//! Marks are drawn at random, so nothing but what the round's agent started can carry one; only such
//! processes are ever signalled.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Process ids of everything whose command line contains `mark`; the dead have no command line.
pub fn marked(mark: &str) -> Vec<Pid> {
    carrying(&["cmdline"], mark)
}

/// Ends everything that carries `mark` in command line or environment.
pub fn end(mark: &str) {
    for pid in carrying(&["cmdline", "environ"], mark) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn carrying(files: &[&str], mark: &str) -> Vec<Pid> {
    let Ok(listing) = fs::read_dir("/proc") else { return Vec::new() };
    let carries = |pid: i32| {
        files.iter().any(|file| {
            fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|text| super::contains(&text, mark))
        })
    };
    listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| carries(*pid))
        .filter_map(Pid::from_raw)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn marked_processes_are_found_and_ended() {
        let mark = format!("mark-{}", super::super::decoy::token().unwrap());
        assert!(marked(&mark).is_empty());
        let script = format!("read -r x; : {mark}");
        let mut child =
            Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        // Between fork and exec the command line is still ours.
        while marked(&mark).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(marked(&mark).len(), 1);
        end(&mark);
        assert!(!child.wait().unwrap().success());
        assert!(marked(&mark).is_empty());
    }

    #[test]
    fn what_only_inherited_the_mark_is_ended_too() {
        let mark = format!("mark-{}", super::super::decoy::token().unwrap());
        let mut child = Command::new("sleep").arg("60").env("MARK", &mark).spawn().unwrap();
        while carrying(&["environ"], &mark).is_empty() {
            std::thread::yield_now();
        }
        assert!(marked(&mark).is_empty());
        end(&mark);
        assert!(!child.wait().unwrap().success());
    }
}
