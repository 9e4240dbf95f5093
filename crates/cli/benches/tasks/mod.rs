//! The work that is measured: what it needs, and one turn of it.
//!
//! It must never reach for the network or for the caller's own files.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::Place;

/// Variable with the Rust toolchain's directory.
pub const TOOLCHAIN: &str = "RINGFENCE_BENCH_TOOLCHAIN";
/// Files of the git repository.
const REPOSITORY_FILES: usize = 5_000;
/// Files in one directory of it.
const FILES_A_DIRECTORY: usize = 50;
/// Packages that `npm ci` unpacks, and files of each.
const PACKAGES: usize = 20;
const FILES_A_PACKAGE: usize = 30;
/// Repetitions of a file operation in one turn.
const FILE_OPERATIONS: usize = 100_000;
/// The same for what the disk has to note.
const CREATIONS: usize = 20_000;
/// Programs that one shell starts in one turn.
const SPAWNS: usize = 500;

/// One kind of work.
pub struct Task {
    /// Its name.
    pub name: &'static str,
    /// Operations of one turn; the figure is the time of one.
    pub operations: usize,
    /// Turns in one start, after one that is not counted.
    turns: usize,
    /// Needs a Rust toolchain.
    pub toolchain: bool,
    before: fn(),
    once: fn(),
}

const fn task(name: &'static str, operations: usize, turns: usize, once: fn()) -> Task {
    Task { name, operations, turns, toolchain: false, before: || (), once }
}

/// All of it.
pub const TASKS: &[Task] = &[
    task("git-status", 1, 10, git_status),
    task("python-start", 1, 20, python),
    Task {
        toolchain: true,
        before: || remove("crate/target"),
        ..task("cargo-build", 1, 2, cargo_build)
    },
    Task { before: || remove("package/node_modules"), ..task("npm-ci", 1, 2, npm_ci) },
    task("open-close", FILE_OPERATIONS, 3, open_close),
    task("stat", FILE_OPERATIONS, 3, stat),
    task("create-unlink", CREATIONS, 3, create_unlink),
    task("spawn", SPAWNS, 3, spawn),
];

/// `TASK`: prints the nanoseconds of each turn.
///
/// # Panics
/// If there is no such task, or it fails.
pub fn measure(arguments: &[String]) {
    let named = arguments.first().map_or("", String::as_str);
    let task = TASKS.iter().find(|task| task.name == named).expect("a task");
    for turn in 0..=task.turns {
        (task.before)();
        let start = Instant::now();
        (task.once)();
        let taken = start.elapsed();
        // The first turn fills caches, and in `review` copies up what all turns write.
        if turn > 0 {
            println!("{}", taken.as_nanos());
        }
    }
}

fn remove(directory: &str) {
    if fs::exists(directory).expect("a directory") {
        fs::remove_dir_all(directory).expect("removed");
    }
}

fn succeed(program: &str, arguments: &[&str], set: impl FnOnce(&mut Command)) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    set(&mut command);
    let output = command.output().expect("a start");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn git_status() {
    succeed("git", &["status", "--porcelain"], |_| ());
}

fn python() {
    succeed("/usr/bin/python3", &["-c", "pass"], |_| ());
}

fn cargo_build() {
    let toolchain = std::env::var(TOOLCHAIN).expect("a toolchain");
    let cargo = format!("{toolchain}/bin/cargo");
    succeed(&cargo, &["build", "--offline", "--quiet"], |command| {
        command
            .current_dir("crate")
            .env("RUSTC", format!("{toolchain}/bin/rustc"))
            .env("CARGO_HOME", Path::new(".cargo-home"));
    });
}

fn npm_ci() {
    let arguments = ["ci", "--offline", "--no-audit", "--no-fund", "--silent"];
    succeed("npm", &arguments, |command| {
        command.current_dir("package").env("npm_config_cache", ".npm-cache");
    });
}

fn open_close() {
    for _ in 0..FILE_OPERATIONS {
        File::open("files/0/0.txt").expect("opened");
    }
}

fn stat() {
    for _ in 0..FILE_OPERATIONS {
        fs::metadata("files/0/0.txt").expect("there");
    }
}

fn create_unlink() {
    for _ in 0..CREATIONS {
        File::create("files/new").expect("created");
        fs::remove_file("files/new").expect("removed");
    }
}

fn spawn() {
    let script = format!("i=0; while [ $i -lt {SPAWNS} ]; do /bin/true; i=$((i+1)); done");
    succeed("/bin/sh", &["-c", &script], |_| ());
}

/// Fills a project with everything that the tasks work on.
///
/// # Panics
/// If a program is missing or fails.
pub fn prepare(place: &Place, project: &Path) {
    write(&project.join(".gitignore"), "/crate\n/package\n");
    for number in 0..REPOSITORY_FILES {
        let (directory, file) = (number / FILES_A_DIRECTORY, number % FILES_A_DIRECTORY);
        let path = project.join(format!("files/{directory}/{file}.txt"));
        write(&path, &format!("file {number}\n").repeat(20));
    }
    let run = |program: &str, arguments: &[&str], directory: &Path| {
        let output = place.outside(directory, program).args(arguments).output();
        let output = output.expect("a start");
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    };
    run("git", &["init", "--quiet"], project);
    run("git", &["add", "."], project);
    let name = ["-c", "user.name=Bench", "-c", "user.email=bench@example.test"];
    let commit = [&name[..], &["commit", "--quiet", "--message=start"]].concat();
    run("git", &commit, project);
    prepare_crate(&project.join("crate"));
    let package = project.join("package");
    prepare_packages(&package, run);
    run(
        "npm",
        &["install", "--offline", "--no-audit", "--no-fund", "--silent", "--cache=.npm-cache"],
        &package,
    );
}

fn prepare_crate(directory: &Path) {
    let manifest =
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n";
    write(&directory.join("Cargo.toml"), manifest);
    let mut main = String::new();
    let mut calls = String::new();
    for number in 0..20 {
        main.push_str(&format!("mod part{number};\n"));
        calls.push_str(&format!("    println!(\"{{:?}}\", part{number}::Value::new({number}));\n"));
        let part = "#[derive(Debug, Clone, PartialEq)]\npub struct Value(Vec<u64>);\n\nimpl Value {\n    \
             pub fn new(n: u64) -> Self {\n        Self((0..n).map(|x| x * x).collect())\n    }\n}\n";
        write(&directory.join(format!("src/part{number}.rs")), part);
    }
    write(&directory.join("src/main.rs"), &format!("{main}\nfn main() {{\n{calls}}}\n"));
}

fn prepare_packages(directory: &Path, run: impl Fn(&str, &[&str], &Path)) {
    let mut needed = Vec::new();
    for number in 0..PACKAGES {
        let contents = directory.join(format!("contents{number}"));
        let manifest = format!("{{\"name\": \"part{number}\", \"version\": \"1.0.0\"}}\n");
        write(&contents.join("package/package.json"), &manifest);
        for file in 0..FILES_A_PACKAGE {
            let path = contents.join(format!("package/lib/{file}.js"));
            write(&path, &format!("module.exports = {file};\n").repeat(50));
        }
        let archive = format!("../part{number}.tgz");
        run("tar", &["-czf", &archive, "package"], &contents);
        fs::remove_dir_all(&contents).expect("removed");
        needed.push(format!("\"part{number}\": \"file:part{number}.tgz\""));
    }
    let manifest = format!(
        "{{\"name\": \"whole\", \"version\": \"1.0.0\", \"dependencies\": {{{}}}}}\n",
        needed.join(", ")
    );
    write(&directory.join("package.json"), &manifest);
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, text).expect("written");
}
