//! The agents, each as a row of data.

use super::Kind;

/// Claude Code.
pub static CLAUDE: Kind = Kind {
    profile: "claude-code",
    program: "node_modules/.bin/claude",
    arguments: &["-p", "{prompt}", "--dangerously-skip-permissions"],
    variables: &[("ANTHROPIC_BASE_URL", "{url}"), ("ANTHROPIC_API_KEY", "{key}")],
    unprotected: &[
        ("IS_SANDBOX", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ],
    unprotected_arguments: &[],
    files: &[],
    leaves: &[],
    closed: &[],
};

/// Codex. Its own sandbox is off by the profile; the control group switches it off by its option.
pub static CODEX: Kind = Kind {
    profile: "codex",
    program: "node_modules/.bin/codex",
    arguments: &[
        "exec",
        "--skip-git-repo-check",
        "-c",
        "model_provider=\"scripted\"",
        "-c",
        "model_providers.scripted={name=\"scripted\",base_url=\"{url}/v1\",env_key=\"SCRIPTED_KEY\",wire_api=\"responses\",request_max_retries=0,stream_max_retries=0}",
        "{prompt}",
    ],
    variables: &[("SCRIPTED_KEY", "{key}")],
    unprotected: &[],
    unprotected_arguments: &["--dangerously-bypass-approvals-and-sandbox"],
    files: &[],
    leaves: &[],
    // Its plugins, its experiments, its news.
    closed: &["github.com", "api.github.com", "ab.chatgpt.com", "raw.githubusercontent.com"],
};

/// OpenCode.
pub static OPENCODE: Kind = Kind {
    profile: "opencode",
    program: "node_modules/.bin/opencode",
    arguments: &["run", "{prompt}"],
    variables: &[(
        "OPENCODE_CONFIG_CONTENT",
        "{\"permission\":\"allow\",\"model\":\"scripted/scripted\",\"provider\":{\"scripted\":{\"npm\":\"@ai-sdk/openai-compatible\",\"options\":{\"baseURL\":\"{url}/v1\",\"apiKey\":\"{key}\"},\"models\":{\"scripted\":{}}}}}",
    )],
    unprotected: &[
        ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
        ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
        ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
    ],
    unprotected_arguments: &[],
    files: &[],
    leaves: &[".git/opencode"],
    // It looks for plugins in its package registry.
    closed: &[REGISTRY],
};

/// The registry that Node programs ask, put together: no host of a registry stands in this repository.
const REGISTRY: &str = concat!("registry.", "npmjs", ".org");

/// Gemini CLI.
pub static GEMINI: Kind = Kind {
    profile: "gemini-cli",
    program: "node_modules/.bin/gemini",
    arguments: &["--yolo", "-p", "{prompt}"],
    variables: &[("GOOGLE_GEMINI_BASE_URL", "{url}"), ("GEMINI_API_KEY", "{key}")],
    unprotected: &[("GEMINI_CLI_TRUST_WORKSPACE", "true"), ("GEMINI_TELEMETRY_ENABLED", "false")],
    // With another base URL it does not see by itself that there is a key.
    unprotected_arguments: &[],
    files: &[(
        ".gemini/settings.json",
        "{\"security\":{\"auth\":{\"selectedType\":\"gemini-api-key\"}}}",
    )],
    leaves: &[],
    // Its usage statistics.
    closed: &["play.googleapis.com"],
};

/// Copilot CLI, with a model provider of one's own.
pub static COPILOT: Kind = Kind {
    profile: "copilot-cli",
    program: "node_modules/.bin/copilot",
    arguments: &["--allow-all", "-p", "{prompt}"],
    variables: &[
        ("COPILOT_PROVIDER_BASE_URL", "{url}/v1"),
        ("COPILOT_PROVIDER_API_KEY", "{key}"),
        ("COPILOT_MODEL", "scripted"),
        ("COPILOT_OFFLINE", "true"),
    ],
    unprotected: &[("COPILOT_AUTO_UPDATE", "false")],
    unprotected_arguments: &[],
    files: &[],
    leaves: &[],
    closed: &[],
};

/// A service that calls tools, written in Python with nothing but its standard library.
pub static SERVICE: Kind = Kind {
    profile: "service",
    program: "service_agent.py",
    arguments: &["{prompt}"],
    variables: &[("MODEL_URL", "{url}/v1"), ("MODEL_KEY", "{key}")],
    unprotected: &[],
    unprotected_arguments: &[],
    files: &[],
    leaves: &[],
    closed: &[],
};

/// aider, which has no tools: it takes edits from the model's text and runs the tests by itself.
pub static AIDER: Kind = Kind {
    profile: "aider",
    program: "aider/bin/aider",
    arguments: &[
        "--model",
        "openai/scripted",
        "--no-show-model-warnings",
        "--edit-format",
        "diff",
        "--no-auto-commits",
        "--no-gitignore",
        "--yes-always",
        "--auto-test",
        "--test-cmd",
        "python3 -B test_calc.py",
        "--message",
        "{prompt}",
        "calc.py",
    ],
    variables: &[("OPENAI_API_BASE", "{url}/v1"), ("OPENAI_API_KEY", "{key}")],
    unprotected: &[],
    unprotected_arguments: &[],
    files: &[],
    leaves: &[],
    // A list of models.
    closed: &["raw.githubusercontent.com"],
};
