//! Decoy secrets. Seeing one inside the boundary, or in what leaves it, fails a test.

/// One decoy: where it lies below the decoy home, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Canary {
    /// Relative to the decoy home.
    pub path: &'static str,
    /// The text that must not be seen.
    pub secret: &'static str,
}

const fn canary(path: &'static str, secret: &'static str) -> Canary {
    Canary { path, secret }
}

/// Every decoy that a fixture plants.
pub const CANARIES: &[Canary] = &[
    canary(".ssh/id_rsa", "CANARY-ssh-7f3a9c51"),
    canary(".ssh/config", "CANARY-sshconfig-8d20b1e6"),
    canary(".aws/credentials", "CANARY-aws-5b81f2d4"),
    canary(".config/gh/hosts.yml", "CANARY-gh-c94e07aa"),
    canary(".config/gcloud/credentials.db", "CANARY-gcloud-14f6e3b0"),
    canary(".kube/config", "CANARY-kube-a7705c2e"),
    canary(".docker/config.json", "CANARY-docker-60cd9f13"),
    canary(".mozilla/firefox/x.default/logins.json", "CANARY-firefox-b2e85d07"),
    canary(".config/google-chrome/Default/Cookies", "CANARY-chrome-3390e1fc"),
    canary(".gnupg/private-keys-v1.d/key", "CANARY-gnupg-e54b7d81"),
    canary(".netrc", "CANARY-netrc-29ac61f8"),
    canary(".git-credentials", "CANARY-gitcred-d07b3ea5"),
    canary(".npmrc", "CANARY-npmrc-88f1c3b2"),
    canary(".bash_history", "CANARY-history-4e6d0a97"),
    canary(".claude/.credentials.json", "CANARY-claude-f1b8a643"),
    canary(".env", "CANARY-dotenv-6c2f98e0"),
    canary("notes/token.txt", "CANARY-notes-0a5de7c4"),
    canary("work/sibling/secret.txt", "CANARY-sibling-91b3f60d"),
    canary("work/sibling/.env", "CANARY-siblingenv-57e8ca12"),
];

/// The decoys whose secret is in `text`.
#[must_use]
pub fn expose(text: &str) -> Vec<&'static str> {
    CANARIES.iter().filter(|c| text.contains(c.secret)).map(|c| c.path).collect()
}
