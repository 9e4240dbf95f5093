//! What of git will not work inside, said at the start where the project uses it.

use std::path::Path;

use ringfence_model::boundary::WorkspaceMode;

use super::parse::Setting;

/// What is known of the project and its git.
pub struct Uses<'a> {
    /// The project.
    pub workspace: &'a Path,
    /// What may happen to it.
    pub mode: WorkspaceMode,
    /// Whether it is a linked worktree whose repository lies elsewhere.
    pub linked: bool,
    /// Whether the person's commits are signed.
    pub signs: bool,
}

/// One line for each.
#[must_use]
pub fn refusals(uses: &Uses<'_>) -> Vec<String> {
    let in_place = uses.mode.writes_in_place();
    let repository = uses.linked || uses.workspace.join(".git").exists();
    let lines = [
        (uses.signs, "git: commits inside are not signed, since no key of yours enters"),
        (
            uses.linked && uses.mode == WorkspaceMode::Review,
            "git: no commits in this linked worktree, whose repository lies elsewhere; `--workspace pair` has them",
        ),
        (
            uses.mode == WorkspaceMode::Direct && repository,
            "git: the repository's settings are held (`push -u`, `checkout --track`); `--workspace pair` writes the harmless ones",
        ),
        (
            in_place && uses.workspace.join(".gitmodules").is_file(),
            "git: submodules cannot be updated or committed to, since their repositories are held; `--workspace review` can",
        ),
        (
            in_place && repository && uses_husky(uses.workspace),
            "git: husky's `prepare` will fail, since hooks are held; `HUSKY=0 npm ci` leaves it out",
        ),
    ];
    lines.into_iter().filter(|(holds, _)| *holds).map(|(_, line)| line.to_owned()).collect()
}

/// Whether installing packages runs husky. It writes its hooks anew each time, not only the first.
fn uses_husky(workspace: &Path) -> bool {
    prepare_script(workspace).is_some_and(|script| script.contains("husky"))
}

fn prepare_script(workspace: &Path) -> Option<String> {
    let bytes = crate::load::read_bounded(&workspace.join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    Some(package.get("scripts")?.get("prepare")?.as_str()?.to_owned())
}

/// Whether commits or tags are to be signed: the last word of each setting counts.
#[must_use]
pub fn signs<'a>(settings: impl Iterator<Item = &'a Setting> + Clone) -> bool {
    ["commit.gpgsign", "tag.gpgsign"].iter().any(|name| {
        let last = settings.clone().filter(|setting| setting.name() == *name).last();
        last.is_some_and(|setting| match setting.value.as_deref() {
            None => true,
            Some(value) => {
                ["true", "yes", "on", "1"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn said(files: &[(&str, &str)], mode: WorkspaceMode, linked: bool) -> Vec<String> {
        let project = tempfile::tempdir().unwrap();
        std::fs::create_dir(project.path().join(".git")).unwrap();
        for (name, text) in files {
            std::fs::write(project.path().join(name), text).unwrap();
        }
        let local = parse(files.iter().find(|file| file.0 == "local").map_or("", |file| file.1));
        let local = local.unwrap();
        refusals(&Uses { workspace: project.path(), mode, linked, signs: signs(local.iter()) })
    }

    #[test]
    fn it_is_said_where_it_matters_and_nowhere_else() {
        use WorkspaceMode::{Direct, Pair, Review};
        let husky = ("package.json", r#"{"scripts":{"prepare":"husky"}}"#);
        assert!(said(&[], Pair, false).is_empty() && said(&[], Review, false).is_empty());
        assert!(said(&[], Pair, true).is_empty());
        assert!(said(&[], Review, true)[0].contains("linked worktree"));
        assert!(said(&[], Direct, false)[0].contains("settings are held"));
        assert!(said(&[husky], Pair, false)[0].contains("husky"));
        assert!(said(&[husky], Review, false).is_empty());
        let set = ("local", "[core]\nhooksPath = .git\n");
        assert!(said(&[husky, set], Pair, false)[0].contains("husky"), "not only the first time");
        assert!(said(&[("package.json", "{")], Pair, false).is_empty());
        assert!(said(&[(".gitmodules", "")], Pair, false)[0].contains("submodules"));
        assert!(said(&[("local", "[commit]\ngpgSign\n")], Pair, false)[0].contains("not signed"));
        let off = ("local", "[commit]\ngpgSign = true\n[commit]\ngpgSign = false\n");
        assert!(said(&[off], Pair, false).is_empty());
    }
}
