//! Small package registries on the loopback: plain HTTP, files from memory, and a record of what
//! was asked. They must never serve anything that a test did not put there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::tcp::{Server, read_until};

/// `HOST` in a body stands for the `Host` that the client named.
const HOST: &str = "@HOST@";

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A running registry.
pub struct Registry {
    server: Server,
    files: Files,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    /// A registry without packages.
    pub fn start() -> Self {
        let files = Files::default();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (own, seen) = (Arc::clone(&files), Arc::clone(&asked));
        let server = Server::try_start("127.0.0.1:0", move |mut stream| {
            let head =
                read_until(&mut stream, |all| all.windows(4).any(|four| four == b"\r\n\r\n"));
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let host = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
            });
            seen.lock().unwrap().push(path.clone());
            let found = own.lock().unwrap().get(&path).cloned();
            let (status, body) = match found {
                Some(body) => ("200 OK", with_host(body, &host.unwrap_or_default())),
                None => ("404 Not Found", Vec::new()),
            };
            let kind = if path.ends_with('/') { "text/html" } else { "application/octet-stream" };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&body));
        });
        Self { server: server.unwrap(), files, asked }
    }

    /// Its address as a host's tool is told of it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Serves a file.
    pub fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path.to_owned(), body.into());
    }

    /// How often it was asked for something.
    pub fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// A package of npm that exports a text.
    pub fn npm(&self, work: &Path, name: &str) {
        let package = work.join("package");
        fs::create_dir_all(&package).unwrap();
        let manifest =
            format!("{{\"name\":\"{name}\",\"version\":\"1.0.0\",\"main\":\"index.js\"}}");
        fs::write(package.join("package.json"), &manifest).unwrap();
        fs::write(package.join("index.js"), "module.exports = 'installed';\n").unwrap();
        let tarball = format!("/{name}/-/tiny-1.0.0.tgz");
        self.put(&tarball, packed(work, "package"));
        let document = format!(
            "{{\"name\":\"{name}\",\"dist-tags\":{{\"latest\":\"1.0.0\"}},\"versions\":{{\"1.0.0\":{{\"name\":\"{name}\",\"version\":\"1.0.0\",\"dist\":{{\"tarball\":\"{}{tarball}\"}}}}}}}}",
            self.url()
        );
        self.put(&format!("/{}", name.replace('/', "%2f")), document);
    }

    /// A wheel with one module.
    pub fn pypi(&self, work: &Path) {
        let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\nd = 'tiny_thing-1.0.dist-info/'\nz.writestr('tiny_thing.py', 'word = \"installed\"\\n')\nz.writestr(d + 'METADATA', 'Metadata-Version: 2.1\\nName: tiny-thing\\nVersion: 1.0\\n')\nz.writestr(d + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\nz.writestr(d + 'RECORD', '')\nz.close()\n";
        let file = "tiny_thing-1.0-py3-none-any.whl";
        self.put(&format!("/files/{file}"), zipped(work, script, file));
        let page = format!(
            "<!DOCTYPE html><html><body><a href=\"/files/{file}\">{file}</a></body></html>"
        );
        self.put("/simple/tiny-thing/", page);
    }

    /// A crate in a sparse index below `/index/`.
    pub fn cargo(&self, work: &Path) {
        let package = work.join("tiny-thing-1.0.0");
        fs::create_dir_all(package.join("src")).unwrap();
        let manifest =
            "[package]\nname = \"tiny-thing\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
        fs::write(package.join("Cargo.toml"), manifest).unwrap();
        fs::write(package.join("src/lib.rs"), "//! Tiny.\n").unwrap();
        let packed = packed(work, "tiny-thing-1.0.0");
        let archive = work.join("tiny.crate");
        fs::write(&archive, &packed).unwrap();
        let sum = Command::new("sha256sum").arg(&archive).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        let sum = sum.split(' ').next().unwrap();
        self.put("/dl/tiny-thing/1.0.0/download", packed);
        self.put("/index/config.json", format!("{{\"dl\":\"http://{HOST}/dl\"}}"));
        let line = format!(
            "{{\"name\":\"tiny-thing\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{sum}\",\"features\":{{}},\"yanked\":false}}\n"
        );
        self.put("/index/ti/ny/tiny-thing", line);
    }

    /// A module of Go.
    pub fn go(&self, work: &Path) {
        let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\np = 'tiny.test/thing@v1.0.0/'\nz.writestr(p + 'go.mod', 'module tiny.test/thing\\n')\nz.writestr(p + 'thing.go', 'package thing\\n')\nz.close()\n";
        let at = "/tiny.test/thing/@v";
        self.put(&format!("{at}/v1.0.0.zip"), zipped(work, script, "thing.zip"));
        self.put(&format!("{at}/v1.0.0.mod"), "module tiny.test/thing\n");
        self.put(
            &format!("{at}/v1.0.0.info"),
            "{\"Version\":\"v1.0.0\",\"Time\":\"2024-01-01T00:00:00Z\"}",
        );
        self.put(&format!("{at}/list"), "v1.0.0\n");
    }
}

fn with_host(body: Vec<u8>, host: &str) -> Vec<u8> {
    match String::from_utf8(body) {
        Ok(text) => text.replace(HOST, host).into_bytes(),
        Err(binary) => binary.into_bytes(),
    }
}

fn packed(work: &Path, name: &str) -> Vec<u8> {
    let done =
        Command::new("tar").arg("-czf").arg("-").arg("-C").arg(work).arg(name).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    done.stdout
}

fn zipped(work: &Path, script: &str, name: &str) -> Vec<u8> {
    let file = work.join(name);
    let done = Command::new("/usr/bin/python3").args(["-c", script]).arg(&file).status().unwrap();
    assert!(done.success());
    fs::read(file).unwrap()
}
