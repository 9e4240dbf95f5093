//! What secrets look like: a table of token shapes and the names that secrets go by.
//!
//! Plain data. A row is added when a vendor's format becomes known; none is ever made looser than
//! its vendor documents it, so that ordinary words stay readable.

/// A token recognised by its beginning.
pub(crate) struct Token {
    /// What it begins with, case and all.
    pub(crate) prefix: &'static str,
    /// Least number of token characters (letters, digits, `_`, `-`) after the prefix.
    pub(crate) least: usize,
    /// What stands in its place.
    pub(crate) kind: &'static str,
}

const fn token(prefix: &'static str, least: usize, kind: &'static str) -> Token {
    Token { prefix, least, kind }
}

/// The shapes; a longer prefix stands before a shorter one that it begins with.
pub(crate) const TOKENS: &[Token] = &[
    token("sk-ant-", 8, "anthropic-key"),
    token("sk-", 20, "api-key"),
    token("sk_live_", 16, "stripe-key"),
    token("rk_live_", 16, "stripe-key"),
    token("ghp_", 30, "github-token"),
    token("gho_", 30, "github-token"),
    token("ghu_", 30, "github-token"),
    token("ghs_", 30, "github-token"),
    token("ghr_", 30, "github-token"),
    token("github_pat_", 20, "github-token"),
    token("AKIA", 16, "aws-key-id"),
    token("ASIA", 16, "aws-key-id"),
    token("AIza", 30, "google-key"),
    token("ya29.", 20, "google-token"),
    token("xoxb-", 10, "slack-token"),
    token("xoxp-", 10, "slack-token"),
    token("xoxa-", 10, "slack-token"),
    token("xoxr-", 10, "slack-token"),
    token("xoxs-", 10, "slack-token"),
    token("xoxe-", 10, "slack-token"),
    token("xapp-", 10, "slack-token"),
    token("glpat-", 16, "gitlab-token"),
    token("npm_", 30, "npm-token"),
    token("pypi-", 16, "pypi-token"),
    token("hf_", 30, "huggingface-token"),
    token("dop_v1_", 32, "digitalocean-token"),
    token("dckr_pat_", 20, "docker-token"),
    token("shpat_", 30, "shopify-token"),
    token("hvs.", 20, "vault-token"),
    token("hvb.", 20, "vault-token"),
    token("whsec_", 24, "stripe-key"),
    token("gsk_", 40, "groq-key"),
    token("xai-", 40, "xai-key"),
    token("glsa_", 30, "grafana-token"),
    token("lin_api_", 30, "linear-key"),
    token("tskey-", 20, "tailscale-key"),
    token("AGE-SECRET-KEY-1", 40, "age-key"),
];

/// Whether any token of the table can begin with this byte.
pub(crate) fn may_begin(byte: u8) -> bool {
    matches!(
        byte,
        b's' | b'r'
            | b'g'
            | b'A'
            | b'y'
            | b'x'
            | b'n'
            | b'p'
            | b'h'
            | b'd'
            | b'e'
            | b'w'
            | b'l'
            | b't'
    )
}

/// Endings of names whose value is a secret, lower case, `-` and `.` written as `_`.
const SECRET_NAMES: &[&str] = &[
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "api_key",
    "apikey",
    "access_key",
    "secret_key",
    "private_key",
    "account_key",
    "signing_key",
    "encryption_key",
    "credential",
    "credentials",
    "authtoken",
    "auth_key",
    "_auth",
    "_pwd",
    "_pass",
    "session_key",
    "access_key_id",
    "connection_string",
    "client_assertion",
    "x_amz_signature",
    "refresh_token",
];

/// Whether the value behind a name (environment variable, option, JSON member) is a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let plain = |byte: u8| match byte {
        b'-' | b'.' => b'_',
        byte => byte.to_ascii_lowercase(),
    };
    SECRET_NAMES.iter().any(|ending| {
        ending.len() <= name.len()
            && ending.bytes().rev().zip(name.bytes().rev()).all(|(want, byte)| want == plain(byte))
    })
}

/// Options whose value is `user:password` (curl, wget, many others) or `user%password` (smbclient).
pub(crate) const USER_OPTIONS: &[&str] = &["-u", "-U", "--user", "--proxy-user"];

/// An option of one program whose value is a secret though its name does not say so.
pub(crate) struct ProgramOption {
    /// The program's file name, or the subcommand that has the option.
    pub(crate) program: &'static str,
    /// The option.
    pub(crate) option: &'static str,
    /// Whether the value can be in the same word: `-pSECRET`.
    pub(crate) attached: bool,
    /// Whether it can be the next word: `-p SECRET`.
    pub(crate) follows: bool,
}

const fn option(
    program: &'static str,
    option: &'static str,
    attached: bool,
    follows: bool,
) -> ProgramOption {
    ProgramOption { program, option, attached, follows }
}

/// By the programs' manuals. `mysql -p x` means a database named x, so only the attached form.
pub(crate) const PROGRAM_OPTIONS: &[ProgramOption] = &[
    option("mysql", "-p", true, false),
    option("mysqldump", "-p", true, false),
    option("mysqladmin", "-p", true, false),
    option("mysqlimport", "-p", true, false),
    option("mariadb", "-p", true, false),
    option("mariadb-dump", "-p", true, false),
    option("mariadb-admin", "-p", true, false),
    option("sshpass", "-p", true, true),
    option("login", "-p", true, true),
    option("mongo", "-p", false, true),
    option("mongosh", "-p", false, true),
    option("mongodump", "-p", false, true),
    option("mongorestore", "-p", false, true),
    option("redis-cli", "-a", false, true),
    option("redis-cli", "--pass", false, true),
    option("zip", "-P", true, true),
    option("unzip", "-P", true, true),
    option("7z", "-p", true, false),
    option("7za", "-p", true, false),
    option("7zz", "-p", true, false),
    option("ldapsearch", "-w", true, true),
    option("ldapmodify", "-w", true, true),
    option("ldapadd", "-w", true, true),
    option("ldapdelete", "-w", true, true),
    option("ldapwhoami", "-w", true, true),
    option("ssh-keygen", "-N", true, true),
    option("ssh-keygen", "-P", true, true),
    option("sqlcmd", "-P", true, true),
    option("curl", "--pass", false, true),
    option("curl", "--oauth2-bearer", false, true),
    option("curl", "-b", true, true),
    option("curl", "--cookie", false, true),
];

/// Header names, lower case, whose whole value is a secret.
pub(crate) const SECRET_HEADERS: &[&str] = &[
    "authorization:",
    "proxy-authorization:",
    "cookie:",
    "set-cookie:",
    "x-api-key:",
    "private-token:",
    "x-auth-token:",
    "x-amz-security-token:",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_names_of_secrets_are_known_and_ordinary_names_are_not() {
        for name in [
            "FOO_TOKEN",
            "token",
            "db.password",
            "AWS_SECRET_ACCESS_KEY",
            "client-secret",
            "OPENAI_API_KEY",
            "_auth",
            "NPM_CONFIG__AUTH",
            "DB_PWD",
            "apiKey",
            "AWS_ACCESS_KEY_ID",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "PWD",
            "OLDPWD",
            "PATH",
            "max_tokens",
            "TOKEN_FILE",
            "tokenizer",
            "monkey",
            "key",
            "author",
            "compass",
            "SSH_AUTH_SOCK",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn c14_the_first_byte_filter_covers_the_table() {
        for token in TOKENS {
            assert!(may_begin(token.prefix.as_bytes()[0]), "{}", token.prefix);
        }
        for (at, token) in TOKENS.iter().enumerate() {
            let hidden = TOKENS[..at].iter().any(|before| token.prefix.starts_with(before.prefix));
            assert!(!hidden, "{} comes too late", token.prefix);
        }
    }
}
