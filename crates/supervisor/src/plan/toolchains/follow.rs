//! From a directory of tools to what its programs need: the tree around it, the places that its
//! links lead to, the programs that its scripts start.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::judge::{in_base, in_system};
use super::{Search, Setting};
use crate::limits::{LINK_HOPS, PATH_DIRECTORY_ENTRIES, SHIM_BYTES, TOOL_DIRECTORIES};
use crate::program::{links, normal};

/// What a program finds beside its `bin`.
const BESIDE: [&str; 5] = ["lib", "lib64", "libexec", "share", "include"];

/// Settings that a tool keeps in its own tree.
const SETTINGS: [&str; 7] = [
    "etc/npmrc",
    "conf/settings.xml",
    "pip.conf",
    ".condarc",
    "envs/*/pip.conf",
    "lib/node_modules/npm/npmrc",
    "gradle.properties",
];

/// Whether a directory is the tree of one toolchain and nothing else.
pub(super) fn is_whole(prefix: &Path) -> bool {
    let has = |name: &str| prefix.join(name).symlink_metadata().is_ok();
    let go = has("bin/go") && has("src/runtime");
    let java = has("bin/java") && has("release");
    let flutter = has("bin/flutter") && has("bin/cache");
    let maven = has("bin/mvn") && has("boot");
    go || java || flutter || maven || has("conda-meta") || has("pyvenv.cfg")
}

impl Search<'_> {
    /// Brings in a directory of programs, which was judged, and what they need.
    pub(super) fn directory(&mut self, directory: &Path) {
        if self.family(directory) {
            return;
        }
        let prefix = directory.parent().filter(|_| directory.ends_with("bin"));
        match prefix.filter(|prefix| self.judge.admit(prefix).is_ok()) {
            Some(prefix) => self.prefix(prefix, directory),
            None => {
                self.found.parts.insert(directory.to_owned());
            }
        }
        self.follow_directory(directory);
    }

    /// A tree with a `bin`: whole where it is known to be a toolchain's own, else what programs are
    /// known to look for, so that whatever else lies there stays outside.
    fn prefix(&mut self, prefix: &Path, bin: &Path) {
        if is_whole(prefix) {
            self.found.parts.insert(prefix.to_owned());
        } else {
            self.found.parts.insert(bin.to_owned());
            for name in BESIDE {
                let beside = prefix.join(name);
                let canonical = fs::canonicalize(&beside);
                if canonical.is_ok_and(|at| at.is_dir() && self.judge.admit(&at).is_ok()) {
                    self.found.parts.insert(beside);
                }
            }
        }
        for name in SETTINGS {
            self.secrets(&prefix.join(name));
        }
    }

    /// The active environment of the project is links to an interpreter elsewhere. An agent may have
    /// left others there, so they lead to tools of a known family and nowhere else.
    pub(super) fn interpreter(&mut self, directory: &Path) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten().take(PATH_DIRECTORY_ENTRIES) {
            let mut at = entry.path();
            for _hop in 0..LINK_HOPS {
                let Ok(link) = fs::read_link(&at) else { break };
                at = at.parent().map_or_else(|| link.clone(), |parent| parent.join(&link));
                let Ok(here) = normal(&at) else { break };
                if here.starts_with(self.judge.workspace) || self.family(&here) || in_base(&here) {
                    at = here;
                } else {
                    break;
                }
            }
        }
    }

    /// Follows the links and the short scripts of a directory.
    pub(super) fn follow_directory(&mut self, directory: &Path) {
        if self.looked.len() >= TOOL_DIRECTORIES || !self.looked.insert(directory.to_owned()) {
            return;
        }
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten().take(PATH_DIRECTORY_ENTRIES) {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_symlink() {
                self.reach(&entry.path(), true);
            } else if kind.is_file() {
                for program in started_by(&entry) {
                    self.reach(&program, true);
                }
            }
        }
    }

    /// The program that was named on the command line is meant to be seen: the file itself, every
    /// link on the way to it, and the package of a Node program. Never the directory around it,
    /// unless that is a known toolchain, and never through a link in the workspace: an agent may
    /// have left that.
    pub(super) fn program(&mut self, setting: &Setting<'_>, path: &[PathBuf]) {
        let Some(program) = setting.argv.first() else { return };
        if program.contains('/') {
            self.reach(&setting.cwd.join(program), false);
        } else if let Some(at) = path.iter().map(|entry| entry.join(program)).find(|p| p.exists()) {
            self.reach(&at, false);
        }
    }

    /// Brings in a program and every link on the way to it; with `around`, what lies around it too.
    fn reach(&mut self, program: &Path, around: bool) {
        for here in links(program.to_owned()) {
            if here.starts_with(self.judge.workspace) {
                return;
            }
            self.take_file(&here, around);
        }
    }

    fn take_file(&mut self, program: &Path, around: bool) {
        let secret = ringfence_policy::is_sensitive(program, self.judge.home);
        let covered = self.found.parts.iter().any(|part| program.starts_with(part));
        if in_base(program) || secret || in_system(program) || covered {
            return;
        }
        let package = program
            .ancestors()
            .filter(|ancestor| ancestor.file_name().is_some_and(|name| name == "node_modules"))
            .last();
        if let Some(package) = package {
            if !around || self.judge.admit(package).is_ok() {
                self.found.parts.insert(package.to_owned());
            }
        } else if program.is_symlink() {
            self.found.links.insert(program.to_owned());
        } else if program.is_file()
            && !self.surroundings(program, around)
            && self.owned(program, around)
        {
            self.found.parts.insert(program.to_owned());
        }
    }

    /// A file that a link or script leads to must be a program, and as safe as a directory of
    /// `PATH`; the one that the user has just typed is taken as it is.
    fn owned(&self, program: &Path, around: bool) -> bool {
        !around || is_program(program) && self.judge.admit(program).is_ok()
    }

    /// Brings in the directory of tools that a program lies in, if it is one.
    fn surroundings(&mut self, program: &Path, around: bool) -> bool {
        let Some(directory) = program.parent() else { return false };
        let bin = directory.ends_with("bin");
        let whole = bin && directory.parent().is_some_and(is_whole);
        if !(whole || around && (bin || self.is_known(directory))) {
            return false;
        }
        if self.judge.admit(directory).is_err() {
            return false;
        }
        self.directory(directory);
        true
    }
}

/// Whether a path leads to a file that can be started.
fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The programs that a short script names by absolute path, its interpreter first.
fn started_by(entry: &fs::DirEntry) -> Vec<PathBuf> {
    let short = entry.metadata().is_ok_and(|metadata| {
        metadata.len() <= SHIM_BYTES && metadata.permissions().mode() & 0o111 != 0
    });
    let mut text = String::new();
    let read = short
        && fs::File::open(entry.path())
            .is_ok_and(|file| file.take(SHIM_BYTES).read_to_string(&mut text).is_ok());
    if !read || !text.starts_with("#!") {
        return Vec::new();
    }
    let words = text.split(|c: char| c.is_whitespace() || "\"'`;()|&<>!=".contains(c));
    let mut programs: Vec<PathBuf> = words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .filter(|path| !in_base(path) && !in_system(path))
        .filter(|path| is_program(path))
        .collect();
    programs.dedup();
    programs
}
