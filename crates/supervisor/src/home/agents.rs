//! What each agent keeps in a home: data, one row per built-in profile.
//!
//! `shown` is read-only inside and scrubbed of secrets; `settings` become a first copy that the
//! agent may change, named members only; `logins` are kept per agent between runs. What is in no
//! row does not come in: histories, caches, the login that is used outside.

/// One agent.
#[derive(Debug)]
pub struct Agent {
    /// Its built-in profile.
    pub profile: &'static str,
    /// Files and directories of the home with instructions, commands and skills.
    pub shown: &'static [&'static str],
    /// Its settings files.
    pub settings: &'static [Settings],
    /// Where it keeps its login.
    pub logins: &'static [Login],
}

/// How a settings file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON; comments are understood.
    Json,
    /// TOML.
    Toml,
}

/// One settings file.
#[derive(Debug)]
pub struct Settings {
    /// Relative to the home.
    pub path: &'static str,
    /// How it is written.
    pub format: Format,
    /// Members that come in, dots between levels. No member may start a program, open a permission
    /// or hold a secret.
    pub kept: &'static [&'static str],
    /// What in it starts programs or talks to servers: asked about, entry by entry.
    pub entries: &'static [Entries],
}

/// What a group of entries is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table of MCP servers by name.
    Server,
    /// A table of lists: commands by the event that starts them.
    Hook,
}

/// A group of entries of a settings file.
#[derive(Debug)]
pub struct Entries {
    /// The member that holds them.
    pub at: &'static str,
    /// What they are.
    pub kind: Kind,
}

/// One file with a login.
#[derive(Debug)]
pub struct Login {
    /// Relative to the home; always JSON.
    pub path: &'static str,
    /// The members that are the login; empty for the whole file.
    pub members: &'static [&'static str],
}

const fn json(
    path: &'static str,
    kept: &'static [&'static str],
    entries: &'static [Entries],
) -> Settings {
    Settings { path, format: Format::Json, kept, entries }
}

const fn login(path: &'static str, members: &'static [&'static str]) -> Login {
    Login { path, members }
}

const fn servers(at: &'static str) -> Entries {
    Entries { at, kind: Kind::Server }
}

const fn hooks(at: &'static str) -> Entries {
    Entries { at, kind: Kind::Hook }
}

/// Every agent that has something in a home.
pub const AGENTS: &[Agent] = &[
    Agent {
        profile: "claude-code",
        shown: &[
            ".claude/CLAUDE.md",
            ".claude/commands",
            ".claude/skills",
            ".claude/agents",
            ".claude/output-styles",
            ".claude/rules",
        ],
        settings: &[
            json(
                ".claude/settings.json",
                &[
                    "model",
                    "outputStyle",
                    "language",
                    "theme",
                    "editorMode",
                    "includeCoAuthoredBy",
                    "alwaysThinkingEnabled",
                    "effortLevel",
                    "spinnerTipsEnabled",
                    "prefersReducedMotion",
                    "cleanupPeriodDays",
                    "autoCompactEnabled",
                ],
                &[hooks("hooks")],
            ),
            json(
                ".claude.json",
                &[
                    "theme",
                    "editorMode",
                    "verbose",
                    "autoCompactEnabled",
                    "diffTool",
                    "hasCompletedOnboarding",
                    "lastOnboardingVersion",
                    "preferredNotifChannel",
                ],
                &[servers("mcpServers")],
            ),
        ],
        logins: &[
            login(".claude/.credentials.json", &[]),
            login(".claude.json", &["oauthAccount", "hasCompletedOnboarding"]),
        ],
    },
    Agent {
        profile: "codex",
        shown: &[".codex/AGENTS.md", ".codex/prompts", ".codex/skills", ".agents/skills"],
        settings: &[Settings {
            path: ".codex/config.toml",
            format: Format::Toml,
            kept: &[
                "model",
                "model_reasoning_effort",
                "model_reasoning_summary",
                "model_verbosity",
                "personality",
                "hide_agent_reasoning",
                "show_raw_agent_reasoning",
                "file_opener",
                "tui.theme",
                "tui.animations",
                "tui.notifications",
                "tui.show_tooltips",
            ],
            entries: &[servers("mcp_servers")],
        }],
        logins: &[login(".codex/auth.json", &[])],
    },
    Agent {
        profile: "opencode",
        shown: &[
            ".config/opencode/AGENTS.md",
            ".config/opencode/command",
            ".config/opencode/commands",
            ".config/opencode/agent",
            ".config/opencode/agents",
            ".config/opencode/skill",
            ".config/opencode/skills",
        ],
        settings: &[json(
            ".config/opencode/opencode.json",
            &["theme", "model", "small_model", "username", "default_agent", "tui.scroll_speed"],
            &[servers("mcp")],
        )],
        logins: &[login(".local/share/opencode/auth.json", &[])],
    },
    Agent {
        profile: "gemini-cli",
        shown: &[".gemini/GEMINI.md", ".gemini/commands", ".gemini/skills", ".gemini/agents"],
        settings: &[json(
            ".gemini/settings.json",
            &[
                "theme",
                "vimMode",
                "selectedAuthType",
                "ui.theme",
                "ui.hideBanner",
                "ui.hideTips",
                "general.vimMode",
                "model.name",
                "security.auth.selectedType",
            ],
            &[servers("mcpServers"), hooks("hooks")],
        )],
        logins: &[
            login(".gemini/oauth_creds.json", &[]),
            login(".gemini/google_accounts.json", &[]),
        ],
    },
    Agent {
        profile: "copilot-cli",
        shown: &[".copilot/copilot-instructions.md", ".copilot/agents", ".copilot/skills"],
        settings: &[
            json(
                ".copilot/config.json",
                &["theme", "model", "banner", "beep", "render_markdown"],
                &[],
            ),
            json(".copilot/mcp-config.json", &[], &[servers("mcpServers")]),
        ],
        logins: &[login(
            ".copilot/config.json",
            &["logged_in_users", "last_logged_in_user", "copilot_tokens"],
        )],
    },
];

/// The row of a profile.
#[must_use]
pub fn of(profile: &str) -> Option<&'static Agent> {
    AGENTS.iter().find(|agent| agent.profile == profile)
}

/// Whether a path of the home (relative) is shown by some row: instructions are shared by links.
#[must_use]
pub fn is_shown(relative: &std::path::Path) -> bool {
    AGENTS.iter().flat_map(|agent| agent.shown).any(|shown| relative.starts_with(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No row shows or copies what another row keeps as a login.
    #[test]
    fn c14_logins_are_neither_shown_nor_settings() {
        for agent in AGENTS {
            for login in agent.logins {
                assert!(!is_shown(std::path::Path::new(login.path)), "{}", login.path);
                for settings in agent.settings.iter().filter(|row| row.path == login.path) {
                    assert!(!login.members.is_empty(), "{}: a whole file is a login", login.path);
                    assert_eq!(settings.format, Format::Json);
                }
            }
            for settings in agent.settings {
                for word in ["apiKeyHelper", "env", "hooks", "permissions", "mcp", "statusLine"] {
                    let fits = |kept: &&str| kept.split('.').any(|part| part == word);
                    assert!(!settings.kept.iter().any(fits), "{}: {word}", settings.path);
                }
            }
        }
    }
}
