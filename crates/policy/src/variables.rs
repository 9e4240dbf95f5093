//! Environment variables that change what programs load or run. They are data.
//!
//! Their values come from the host, so passing one in would let the host's set-up, or whoever
//! planted it there, act inside; a definition may give them values of its own.

const LOADER: &str = "makes the loader load other code";
const SHELL: &str = "makes a shell run other code";
const NODE: &str = "makes Node.js run other code or trust other certificates";
const PYTHON: &str = "makes Python load other code";
const RUBY: &str = "makes Ruby load other code";
const PERL: &str = "makes Perl load other code";
const JAVA: &str = "makes Java load other code";
const TOOL: &str = "makes build tools run another program";
const PAGER: &str = "names a program that other tools start";
const CRYPTO: &str = "makes TLS libraries load other code or write keys";
const GIT: &str = "changes which programs and settings git uses";
const SOCKET: &str = "names a socket of the host";

/// Names, with what they do. `GIT_*`, `LD_*`, `DYLD_*`, `BASH_FUNC_*` and
/// `NPM_CONFIG_*`/`npm_config_*` are prefixes, see [`dangerous_variable`].
const DANGEROUS: &[(&str, &str)] = &[
    ("GLIBC_TUNABLES", LOADER),
    ("GCONV_PATH", LOADER),
    ("LOCPATH", LOADER),
    ("NLSPATH", LOADER),
    ("MALLOC_TRACE", "makes programs write files"),
    ("GETCONF_DIR", LOADER),
    ("HOSTALIASES", "changes how names are looked up"),
    ("LOCALDOMAIN", "changes how names are looked up"),
    ("RES_OPTIONS", "changes how names are looked up"),
    ("RESOLV_HOST_CONF", "changes how names are looked up"),
    ("BASH_ENV", SHELL),
    ("ENV", SHELL),
    ("SHELLOPTS", SHELL),
    ("BASHOPTS", SHELL),
    ("PS4", SHELL),
    ("PROMPT_COMMAND", SHELL),
    ("IFS", SHELL),
    ("ZDOTDIR", SHELL),
    ("FPATH", SHELL),
    ("NODE_OPTIONS", NODE),
    ("NODE_PATH", NODE),
    ("NODE_REPL_EXTERNAL_MODULE", NODE),
    ("NODE_EXTRA_CA_CERTS", NODE),
    ("NODE_TLS_REJECT_UNAUTHORIZED", NODE),
    ("PYTHONSTARTUP", PYTHON),
    ("PYTHONPATH", PYTHON),
    ("PYTHONHOME", PYTHON),
    ("PYTHONINSPECT", PYTHON),
    ("PYTHONBREAKPOINT", PYTHON),
    ("PYTHONUSERBASE", PYTHON),
    ("PYTHONWARNINGS", PYTHON),
    ("RUBYOPT", RUBY),
    ("RUBYLIB", RUBY),
    ("GEM_PATH", RUBY),
    ("BUNDLE_GEMFILE", RUBY),
    ("PERL5OPT", PERL),
    ("PERL5LIB", PERL),
    ("PERLLIB", PERL),
    ("PERL5DB", PERL),
    ("JAVA_TOOL_OPTIONS", JAVA),
    ("_JAVA_OPTIONS", JAVA),
    ("JDK_JAVA_OPTIONS", JAVA),
    ("CLASSPATH", JAVA),
    ("MAVEN_OPTS", JAVA),
    ("GRADLE_OPTS", JAVA),
    ("RUSTC_WRAPPER", TOOL),
    ("RUSTC_WORKSPACE_WRAPPER", TOOL),
    ("RUSTC", TOOL),
    ("RUSTFLAGS", TOOL),
    ("CARGO_BUILD_RUSTC_WRAPPER", TOOL),
    ("GOFLAGS", TOOL),
    ("GOENV", TOOL),
    ("MAKEFLAGS", TOOL),
    ("CC", TOOL),
    ("CXX", TOOL),
    ("PHPRC", "makes PHP load other code"),
    ("PHP_INI_SCAN_DIR", "makes PHP load other code"),
    ("LUA_INIT", "makes Lua run other code"),
    ("R_PROFILE_USER", "makes R run other code"),
    ("AWKPATH", "makes awk load other code"),
    ("EDITOR", PAGER),
    ("VISUAL", PAGER),
    ("PAGER", PAGER),
    ("MANPAGER", PAGER),
    ("BROWSER", PAGER),
    ("LESSOPEN", PAGER),
    ("LESSCLOSE", PAGER),
    ("SSH_ASKPASS", PAGER),
    ("SUDO_ASKPASS", PAGER),
    ("OPENSSL_CONF", CRYPTO),
    ("OPENSSL_ENGINES", CRYPTO),
    ("OPENSSL_MODULES", CRYPTO),
    ("SSLKEYLOGFILE", CRYPTO),
    ("SSH_AUTH_SOCK", SOCKET),
    ("GPG_AGENT_INFO", SOCKET),
    ("DBUS_SESSION_BUS_ADDRESS", SOCKET),
    ("DBUS_SYSTEM_BUS_ADDRESS", SOCKET),
    ("DOCKER_HOST", SOCKET),
    ("CONTAINER_HOST", SOCKET),
    ("WAYLAND_DISPLAY", SOCKET),
    ("DISPLAY", SOCKET),
    ("TMUX", SOCKET),
    ("XDG_RUNTIME_DIR", SOCKET),
];

/// Prefixes, with what they do.
const DANGEROUS_PREFIXES: &[(&str, &str)] = &[
    ("LD_", LOADER),
    ("DYLD_", LOADER),
    ("BASH_FUNC_", SHELL),
    ("GIT_", GIT),
    ("NPM_CONFIG_", TOOL),
    ("npm_config_", TOOL),
];

/// What a dangerous variable does, or `None` if the name is not one.
#[must_use]
pub fn dangerous_variable(name: &str) -> Option<&'static str> {
    let exact = DANGEROUS.iter().find(|row| row.0 == name);
    exact.or_else(|| DANGEROUS_PREFIXES.iter().find(|row| name.starts_with(row.0))).map(|row| row.1)
}

/// Checks the shape of a variable's name: what a shell can set.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let first = name.bytes().next();
    let fits = first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits {
        Ok(())
    } else {
        Err("a variable's name has letters, digits and `_` only, and does not begin with a digit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dx2_p10_the_table_covers_loaders_and_tools() {
        assert!(DANGEROUS.len() + DANGEROUS_PREFIXES.len() >= 60);
        for name in [
            "LD_PRELOAD",
            "LD_AUDIT",
            "BASH_ENV",
            "PYTHONSTARTUP",
            "NODE_OPTIONS",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "PERL5OPT",
        ] {
            assert!(dangerous_variable(name).is_some(), "{name}");
        }
        for name in ["TERM", "LANG", "HOME", "GITHUB_ACTIONS"] {
            assert!(dangerous_variable(name).is_none(), "{name}");
        }
    }
}
