//! Attacks by and on the environment: P05, P10, P23, with DX2, S16, S23.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;

use ringfence_contained_tests::Fixture;

/// Variables of the host that must not come in: they load code, redirect tools, or are secrets.
const VARIABLES: &[&str] = &[
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "LD_PROFILE",
    "LD_ORIGIN_PATH",
    "GLIBC_TUNABLES",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "HOSTALIASES",
    "RES_OPTIONS",
    "BASH_ENV",
    "ENV",
    "CDPATH",
    "PROMPT_COMMAND",
    "GLOBIGNORE",
    "PYTHONSTARTUP",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONWARNINGS",
    "PYTHONBREAKPOINT",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "PERL5OPT",
    "PERL5LIB",
    "PERLLIB",
    "PERL5DB",
    "RUBYOPT",
    "RUBYLIB",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "CLASSPATH",
    "GIT_SSH_COMMAND",
    "GIT_SSH",
    "GIT_ASKPASS",
    "GIT_EDITOR",
    "GIT_PAGER",
    "GIT_EXTERNAL_DIFF",
    "GIT_PROXY_COMMAND",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_TEMPLATE_DIR",
    "GIT_EXEC_PATH",
    "PAGER",
    "EDITOR",
    "VISUAL",
    "BROWSER",
    "LESSOPEN",
    "LESSCLOSE",
    "MANPAGER",
    "RUSTC_WRAPPER",
    "CARGO_HOME_X",
    "CC",
    "MAKEFLAGS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_HOME",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "GPG_AGENT_INFO",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "TMUX",
    "DOCKER_HOST",
    "KUBECONFIG",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_CLIENT_SECRET",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITLAB_TOKEN",
    "NPM_TOKEN",
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "DATABASE_URL",
    "PGPASSWORD",
    "VAULT_TOKEN",
    "SUDO_ASKPASS",
    "MAIL",
    "OLDPWD_X",
    "XDG_RUNTIME_DIR_X",
    "RINGFENCE_TEST_CANARY",
];

/// Variables of the sandbox's own, with the only values that they may have.
const OWN: [&str; 2] = ["BROWSER=/bin/false", "GIT_CONFIG_SYSTEM=/etc/gitconfig"];

fn with_all<'a>(fixture: &'a Fixture, value: &str) -> ringfence_contained_tests::Job<'a> {
    VARIABLES.iter().fold(fixture.job(), |job, name| job.env(name, value))
}

/// P10, DX2: not one of these variables comes in, and no path of the real session either.
#[test]
fn p10_dx2_the_environment_is_an_allowlist() {
    assert!(VARIABLES.len() >= 60);
    let fixture = Fixture::new();
    let job = with_all(&fixture, "CANARY-env-4d1b");
    let outside = job.unprotected_sh("env");
    let seen = |text: &str, name: &str| {
        let mut lines = text.lines().filter(|line| !OWN.contains(line));
        lines.any(|line| line.starts_with(&format!("{name}=")))
    };
    for name in VARIABLES {
        assert!(seen(&outside.stdout, name), "control group: {name}");
    }
    let inside = job.argv(["env"]);
    assert_eq!(inside.code, 0, "{inside:?}");
    assert!(seen(&inside.stdout, "HOME"), "{inside:?}");
    assert!(!inside.stdout.contains("CANARY-env"), "{inside:?}");
    for name in VARIABLES {
        assert!(!seen(&inside.stdout, name), "{name} came in");
    }
    for name in ["XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "GIT_CONFIG_NOSYSTEM"] {
        assert!(!seen(&inside.stdout, name), "{name} came in");
    }
}

/// P10: the whole environment is small and known: nothing comes in that this list does not have.
#[test]
fn p10_nothing_but_the_known_comes_in() {
    let fixture = Fixture::new();
    let inside = fixture.job().env("SOMETHING_NEW", "x").argv(["env"]);
    let known = [
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "TMPDIR",
        "PATH",
        "TERM",
        "LC_ALL",
        "RINGFENCE_RUN",
        "TOOLS",
    ];
    for line in inside.stdout.lines().filter(|line| !OWN.contains(line)) {
        let name = line.split('=').next().unwrap();
        let own =
            name.starts_with("RINGFENCE_") || name.contains("CA_") || name.starts_with("SSL_");
        assert!(known.contains(&name) || own, "{line} came in");
    }
    let path = inside.stdout.lines().find(|line| line.starts_with("PATH=")).unwrap();
    assert!(!path.contains(":."), "{path}");
}

/// P10, S16: a start-up file that a variable of the host names is not run inside.
#[test]
fn p10_s16_no_start_up_file_runs() {
    let fixture = Fixture::new();
    let planted = fixture.project().join("startup.sh");
    fs::write(&planted, "echo STARTUP-RAN\n").unwrap();
    let planted = planted.to_str().unwrap();
    let job = fixture.job().env("BASH_ENV", planted).env("ENV", planted);
    assert!(job.unprotected_sh("bash -c true").stdout.contains("STARTUP-RAN"), "control group");
    let inside = job.argv(["bash", "-c", "true"]);
    assert_eq!(inside.code, 0, "{inside:?}");
    assert!(!inside.text().contains("STARTUP-RAN"), "{inside:?}");
}

/// P10, DX2: a dangerous variable that is asked for on the command line is the person's own word,
/// and the ledger has its name but not its value.
#[test]
fn p10_a_named_variable_is_passed_and_recorded_by_name() {
    let fixture = Fixture::new();
    let job = fixture.job().env("MY_TOKEN", "CANARY-passed-93ce").flags(["--env", "MY_TOKEN"]);
    let inside = job.argv(["sh", "-c", "test ${#MY_TOKEN} = 18"]);
    assert_eq!(inside.code, 0, "{inside:?}");
    let run = fixture.runs().pop().unwrap();
    let raw = fixture.ringfence(&["logs", &run, "--json"]).stdout;
    assert!(raw.contains("MY_TOKEN"), "the name is not in the ledger");
    assert!(!raw.contains("CANARY-passed"), "the value is in the ledger");
    let shown = fixture.ringfence(&["inspect", &run]).text();
    assert!(!shown.contains("CANARY-passed"), "{shown}");
}

/// P05, S23: no process's environment or arguments tell of the host, init's neither.
#[test]
fn p05_s23_proc_tells_nothing_of_the_host() {
    let fixture = Fixture::new();
    let job = fixture.job().env("HOST_SECRET", "CANARY-proc-b807");
    // Brackets, so that no command line of the script itself matches.
    let script =
        "sleep 0.3 & cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' \
        | grep -e '[C]ANARY-proc' -e '[X]DG_STATE' -e '[H]OST_SECRET'
        ps axeww 2>/dev/null | grep '[C]ANARY-proc'; exit 0";
    assert!(job.unprotected_sh(script).stdout.contains("CANARY-proc"), "control group");
    let inside = job.sh(script);
    assert_eq!(inside.stdout, "", "{inside:?}");
    let first = fixture.contained("tr '\\0' ' ' < /proc/1/cmdline; echo; wc -l < /proc/1/maps");
    let binary = fixture.binary().parent().unwrap().display().to_string();
    assert!(!first.stdout.contains(&binary), "init shows the host's paths: {first:?}");
}

/// P23: no variable makes ringfence believe that it is inside already.
#[test]
fn p23_no_variable_switches_the_boundary_off() {
    let fixture = Fixture::new();
    let names = [
        "IS_SANDBOX",
        "IN_SANDBOX",
        "SANDBOX",
        "CONTAINER",
        "container",
        "RINGFENCE_RUN",
        "RINGFENCE_DISABLE",
        "RINGFENCE_INSIDE",
        "NO_SANDBOX",
        "CODESPACES",
        "RINGFENCE",
        "RINGFENCE_NESTED",
        "RINGFENCE_DEBUG",
    ];
    let job = names.iter().fold(fixture.job(), |job, name| job.env(name, "1"));
    let script = "cat \"$HOME/.ssh/id_rsa\"; echo \"run=$RINGFENCE_RUN\"; exit 0";
    assert!(job.unprotected_sh(script).stdout.contains("CANARY-ssh"), "control group");
    let inside = job.sh(script);
    assert!(!inside.text().contains("CANARY-ssh"), "{inside:?}");
    let run = fixture.runs().pop().unwrap();
    assert!(inside.stdout.contains(&format!("run={run}")), "{inside:?}");
}
