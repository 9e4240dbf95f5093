//! S36: the engine is told from its signs, and only what is really there is named.

use std::collections::HashMap;

use super::*;

#[derive(Default)]
struct Fake {
    files: HashMap<&'static str, &'static str>,
    variables: HashMap<&'static str, &'static str>,
}

impl Fake {
    fn file(mut self, path: &'static str, text: &'static str) -> Self {
        self.files.insert(path, text);
        self
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.insert(name, value);
        self
    }
}

impl Signs for Fake {
    fn exists(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn text(&self, path: &str) -> Option<String> {
        self.files.get(path).map(|text| (*text).to_owned())
    }
}

const FILTER: (&str, &str) = ("/proc/self/status", "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1");
const COVERED: (&str, &str) =
    ("/proc/self/mountinfo", "23 22 0:6 / /proc/acpi ro - tmpfs tmpfs ro");
const CONFINED: (&str, &str) = ("/proc/self/attr/current", "docker-default (enforce)");

#[test]
fn s36_the_engine_is_told_from_its_signs() {
    let cases = [
        (Fake::default(), Engine::Unknown),
        (Fake::default().file(DOCKER, ""), Engine::Docker),
        (Fake::default().file(PODMAN, ""), Engine::Podman),
        (Fake::default().variable("container", "podman"), Engine::Podman),
        (Fake::default().file(MANAGER, "lxc"), Engine::Lxc),
        (Fake::default().file(DOCKER, "").file(POD, ""), Engine::Kubernetes),
        (Fake::default().file(DOCKER, "").variable("GITHUB_ACTIONS", "true"), Engine::GithubJob),
        (Fake::default().variable("GITHUB_ACTIONS", "true"), Engine::Unknown),
        (Fake::default().variable("RINGFENCE_RUN", "x"), Engine::Ringfence),
    ];
    for (signs, engine) in cases {
        assert_eq!(Container::of(&signs).engine, engine);
    }
}

#[test]
fn s36_only_the_option_that_is_missing_is_named() {
    let docker = || Fake::default().file(DOCKER, "");
    let says = |signs: Fake| Container::of(&signs).mend();
    let (seccomp, apparmor, paths) =
        ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined");
    let cases = [
        (docker().file(FILTER.0, FILTER.1), [true, false, false]),
        (docker().file(CONFINED.0, CONFINED.1), [false, true, false]),
        (docker().file(COVERED.0, COVERED.1), [false, false, true]),
        (docker().file(FILTER.0, FILTER.1).file(COVERED.0, COVERED.1), [true, false, true]),
        (docker(), [true, true, true]),
    ];
    for (signs, named) in cases {
        let words = says(signs);
        for (option, named) in [seccomp, apparmor, paths].into_iter().zip(named) {
            assert_eq!(words.contains(option), named, "{option}: {words}");
        }
        assert!(words.contains("docker run") && !words.contains("podman"), "{words}");
        assert!(!words.contains("--privileged"), "{words}");
        assert!(words.contains("--tier landlock"), "{words}");
    }
}

#[test]
fn s36_each_engine_has_its_own_words() {
    let full = |signs: Fake| {
        let signs = signs.file(FILTER.0, FILTER.1).file(COVERED.0, COVERED.1);
        Container::of(&signs).mend()
    };
    let podman = full(Fake::default().file(PODMAN, ""));
    assert!(podman.contains("podman run") && podman.contains("unmask=ALL"), "{podman}");
    let pod = full(Fake::default().file(POD, ""));
    assert!(pod.contains("seccompProfile") && pod.contains("procMount"), "{pod}");
    assert!(!pod.contains("appArmorProfile"), "{pod}");
    let job = full(Fake::default().file(DOCKER, "").variable("GITHUB_ACTIONS", "true"));
    assert!(job.contains("options: --security-opt seccomp=unconfined"), "{job}");
    let lxc = full(Fake::default().variable("container", "lxc"));
    assert!(lxc.contains("security.nesting"), "{lxc}");
    let nested = full(Fake::default().variable("RINGFENCE_RUN", "x"));
    assert!(nested.contains("outside"), "{nested}");
}

#[test]
fn mounts_over_parts_of_proc_are_found() {
    let table = "22 1 0:5 / /proc rw - proc proc rw\n\
        23 22 0:6 / /proc/acpi ro - tmpfs tmpfs ro\n\
        24 22 0:7 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n\
        25 22 0:5 /sys /proc/sys ro - proc proc rw\n";
    assert_eq!(masked(table), ["/proc/acpi", "/proc/sys"]);
}
