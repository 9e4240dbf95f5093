//! Which settings of the user's git come inside: data, one row each.
//!
//! No row may run a program, name a secret or a place outside. `*` at the end of a row stands for
//! any rest; keys are lower case, as git compares them.

use super::parse::Setting;

/// The rows.
const ALLOWED: &[&str] = &[
    "user.name",
    "user.email",
    "user.useconfigonly",
    "author.name",
    "author.email",
    "committer.name",
    "committer.email",
    "advice.*",
    "apply.whitespace",
    "blame.date",
    "branch.autosetupmerge",
    "branch.autosetuprebase",
    "branch.sort",
    "color.*",
    "column.*",
    "commit.cleanup",
    "commit.status",
    "commit.verbose",
    "core.abbrev",
    "core.autocrlf",
    "core.commentchar",
    "core.eol",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.quotepath",
    "core.safecrlf",
    "core.whitespace",
    "diff.algorithm",
    "diff.colormoved",
    "diff.colormovedws",
    "diff.context",
    "diff.indentheuristic",
    "diff.mnemonicprefix",
    "diff.noprefix",
    "diff.renamelimit",
    "diff.renames",
    "diff.submodule",
    "diff.wserrorhighlight",
    "fetch.prune",
    "fetch.prunetags",
    "format.pretty",
    "grep.extendedregexp",
    "grep.linenumber",
    "grep.patterntype",
    "help.autocorrect",
    "i18n.*",
    "init.defaultbranch",
    "log.abbrevcommit",
    "log.date",
    "log.decorate",
    "log.follow",
    "log.showsignature",
    "merge.conflictstyle",
    "merge.ff",
    "merge.log",
    "merge.renamelimit",
    "merge.renames",
    "merge.stat",
    "pretty.*",
    "pull.ff",
    "pull.rebase",
    "pull.twohead",
    "push.autosetupremote",
    "push.default",
    "push.followtags",
    "push.useforceifincludes",
    "rebase.abbreviatecommands",
    "rebase.autosquash",
    "rebase.autostash",
    "rebase.missingcommitscheck",
    "rebase.stat",
    "rebase.updaterefs",
    "rerere.*",
    "stash.showpatch",
    "stash.showstat",
    "status.*",
    "submodule.recurse",
    "tag.sort",
    "versionsort.*",
];

/// Longest value that comes in, in bytes.
const VALUE_BYTES: usize = 2048;

/// Whether a setting comes inside.
#[must_use]
pub fn allowed(setting: &Setting) -> bool {
    let value = setting.value.as_deref().unwrap_or_default();
    if value.len() > VALUE_BYTES || value.contains('\0') {
        return false;
    }
    match (setting.section.as_str(), setting.subsection.as_deref()) {
        // `!` begins a shell command.
        ("alias", _) => !value.trim_start().starts_with('!'),
        ("url", Some(base)) => {
            matches!(setting.key.as_str(), "insteadof" | "pushinsteadof")
                && plain_url(base)
                && plain_url(value)
        }
        _ => {
            let name = setting.name();
            ALLOWED.iter().any(|row| match row.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == *row,
            })
        }
    }
}

/// A url without a login, and not by ssh: no key is inside, so that way leads nowhere.
fn plain_url(url: &str) -> bool {
    let ssh = ["ssh:", "git+ssh:", "ssh+git:", "ext:", "fd:"];
    let scheme = url.find("://");
    let scp = url.contains('@') && scheme.is_none();
    let login = scheme.is_some_and(|at| {
        let rest = url.get(at + 3..).unwrap_or_default();
        rest.split('/').next().unwrap_or_default().contains('@')
    });
    let helper = url.contains("::");
    !scp && !login && !helper && !ssh.iter().any(|prefix| url.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn c14_nothing_that_runs_or_holds_a_secret_comes_in() {
        let out = "[core]\nfsmonitor = /x\npager = x\neditor = x\nsshCommand = x\nhooksPath = /x\naskPass = x\nattributesFile = /x\ngitProxy = x\n\
            [credential]\nhelper = store\n[credential \"https://h\"]\nusername = u\n[http]\nextraHeader = Authorization: x\nproxy = http://u:p@h\ncookieFile = /x\n\
            [diff]\nexternal = x\n[diff \"d\"]\ncommand = x\ntextconv = x\n[merge \"m\"]\ndriver = x\n[filter \"f\"]\nclean = x\nsmudge = x\nprocess = x\n\
            [alias]\nx = !sh\ny = \" !sh\"\n[gpg]\nprogram = x\n[user]\nsigningKey = k\n[commit]\ngpgSign = true\n[sequence]\neditor = x\n\
            [url \"https://user:pw@h/\"]\ninsteadOf = a\n[url \"https://tok@h/\"]\ninsteadOf = a\n[url \"git@h:\"]\ninsteadOf = https://h/\n[url \"ext::sh -c x\"]\ninsteadOf = a\n\
            [url \"https://h/\"]\nproxy = x\n[include]\npath = /x\n[includeIf \"gitdir:/\"]\npath = /x\n[remote \"o\"]\nurl = x\nuploadpack = x\n[safe]\ndirectory = *\n\
            [pager]\nlog = x\n[difftool \"d\"]\ncmd = x\n[man \"m\"]\ncmd = x\n[browser \"b\"]\ncmd = x\n[sendemail]\nsmtpPass = x\n[init]\ntemplateDir = /x\n[trailer \"t\"]\ncommand = x\n\
            [submodule \"s\"]\nupdate = !x\n[uploadpack]\npackObjectsHook = x\n[protocol]\nallow = always\n[interactive]\ndiffFilter = x\n[instaweb]\nbrowser = x\n[web]\nbrowser = x\n";
        for setting in parse(out).unwrap() {
            assert!(!allowed(&setting), "{setting:?}");
        }
        let in_ = "[user]\nname = A\n[alias]\nst = status\n[url \"https://mirror.test/\"]\ninsteadOf = https://h/\n[color \"diff\"]\nmeta = blue\n\
            [rerere]\nenabled\n[pull]\nrebase = true\n[init]\ndefaultBranch = main\n[column]\nui = auto\n";
        for setting in parse(in_).unwrap() {
            assert!(allowed(&setting), "{setting:?}");
        }
    }
}
