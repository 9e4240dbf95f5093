//! Places where secrets are kept, and sockets that hand out the host. They are data: one row each.
//!
//! A place is never opened because its parent was granted; see `files.rs` for how rows are used.

/// Where a row's path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The user's home directory.
    Home,
    /// The root directory.
    Root,
}

/// One sensitive place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sensitive {
    /// Where `path` starts.
    pub base: Base,
    /// Relative to the base.
    pub path: &'static str,
    /// What is kept there.
    pub why: &'static str,
    /// Whether it hands out the host, so that no layer may open it.
    pub handle: bool,
}

const fn home(path: &'static str, why: &'static str) -> Sensitive {
    Sensitive { base: Base::Home, path, why, handle: false }
}

const fn root(path: &'static str, why: &'static str) -> Sensitive {
    Sensitive { base: Base::Root, path, why, handle: false }
}

const fn handle(path: &'static str, why: &'static str) -> Sensitive {
    Sensitive { base: Base::Root, path, why, handle: true }
}

const SSH: &str = "SSH keys";
const CLOUD: &str = "cloud credentials";
const BROWSER: &str = "a browser's passwords and cookies";
const TOKENS: &str = "access tokens";
const KEYRING: &str = "a keyring";
const MAIL: &str = "mail";
const WALLET: &str = "a wallet";
const AGENT: &str = "an agent's login";
const HISTORY: &str = "a history in which secrets are typed";
const ENGINE: &str = "the socket of a container engine";

/// Every sensitive place.
pub const SENSITIVE: &[Sensitive] = &[
    home(".ssh", SSH),
    home(".gnupg", "GnuPG keys"),
    home(".aws", CLOUD),
    home(".azure", CLOUD),
    home(".config/gcloud", CLOUD),
    home(".config/doctl", CLOUD),
    home(".config/hcloud", CLOUD),
    home(".oci", CLOUD),
    home(".kube", "cluster credentials"),
    home(".docker", "registry logins"),
    home(".config/containers", "registry logins"),
    home(".config/gh", TOKENS),
    home(".config/hub", TOKENS),
    home(".config/glab-cli", TOKENS),
    home(".netrc", TOKENS),
    home(".git-credentials", TOKENS),
    home(".config/git/credentials", TOKENS),
    home(".npmrc", TOKENS),
    home(".yarnrc.yml", TOKENS),
    home(".pypirc", TOKENS),
    home(".config/pip/pip.conf", TOKENS),
    home(".pip/pip.conf", TOKENS),
    home(".local/share/uv/credentials", TOKENS),
    home(".config/pypoetry/auth.toml", TOKENS),
    home(".condarc", TOKENS),
    home(".yarnrc", TOKENS),
    home(".config/pnpm/rc", TOKENS),
    home(".cargo/credentials", TOKENS),
    home(".cargo/credentials.toml", TOKENS),
    home(".gem/credentials", TOKENS),
    home(".bundle/config", TOKENS),
    home(".composer/auth.json", TOKENS),
    home(".config/composer/auth.json", TOKENS),
    home(".nuget/NuGet/NuGet.Config", TOKENS),
    home(".dotnet/corefx", "private keys"),
    home(".android", "private keys"),
    home(".m2/settings.xml", TOKENS),
    home(".gradle/gradle.properties", TOKENS),
    home(".terraform.d", TOKENS),
    home(".terraformrc", TOKENS),
    home(".vault-token", TOKENS),
    home(".config/op", "a password manager"),
    home(".config/Bitwarden", "a password manager"),
    home(".password-store", "a password manager"),
    home(".local/share/keyrings", KEYRING),
    home(".local/share/kwalletd", KEYRING),
    home(".pki", KEYRING),
    home(".mozilla", BROWSER),
    home(".config/google-chrome", BROWSER),
    home(".config/chromium", BROWSER),
    home(".config/BraveSoftware", BROWSER),
    home(".config/microsoft-edge", BROWSER),
    home(".var/app", "the data of desktop programs"),
    home("snap", "the data of desktop programs"),
    home(".thunderbird", MAIL),
    home(".bitcoin", WALLET),
    home(".ethereum", WALLET),
    home(".electrum", WALLET),
    home(".pgpass", "database passwords"),
    home(".my.cnf", "database passwords"),
    home(".claude", AGENT),
    home(".claude.json", AGENT),
    home(".codex", AGENT),
    home(".gemini", AGENT),
    home(".copilot", AGENT),
    home(".config/github-copilot", AGENT),
    home(".local/share/opencode", AGENT),
    home(".local/share/ringfence", "what starts ringfence"),
    home(".bash_history", HISTORY),
    home(".zsh_history", HISTORY),
    home(".python_history", HISTORY),
    home(".psql_history", HISTORY),
    root("etc/shadow", "password hashes"),
    root("etc/gshadow", "password hashes"),
    root("etc/sudoers", "who may become root"),
    root("etc/ssh", "the host's SSH keys"),
    root("etc/ssl/private", "private keys"),
    root("etc/kubernetes", "cluster credentials"),
    root("var/lib/kubelet", "cluster credentials"),
    root("var/run/secrets", "service account tokens"),
    root("run/secrets", "service account tokens"),
    handle("var/run/docker.sock", ENGINE),
    handle("run/docker.sock", ENGINE),
    handle("run/docker", ENGINE),
    handle("run/podman", ENGINE),
    handle("run/containerd", ENGINE),
    handle("run/crio", ENGINE),
    handle("run/k3s", ENGINE),
    handle("run/libvirt", "the socket of a machine manager"),
    handle("run/systemd", "the socket of the service manager"),
    handle("run/dbus", "the system bus"),
    handle("run/user", "the sockets of the desktop"),
    handle("var/lib/docker", "the files of a container engine"),
    handle("var/lib/containerd", "the files of a container engine"),
    handle("tmp/.X11-unix", "the socket of the display"),
];

/// Whether `path` lies at or below a sensitive place of a user with this home.
#[must_use]
pub fn is_sensitive(path: &std::path::Path, home: &std::path::Path) -> bool {
    SENSITIVE.iter().any(|row| {
        let base = match row.base {
            Base::Home => home,
            Base::Root => std::path::Path::new("/"),
        };
        path.starts_with(base.join(row.path))
    })
}
