//! Tests of the redactor: every shape goes, ordinary text stays.

use super::*;

const ANTHROPIC: &str = "sk-ant-api03-AbCdEf0123456789_-xyz";

fn text(input: &str) -> String {
    Redactor::default().text(input).into_owned()
}

#[test]
fn c14_tokens_are_masked_by_shape() {
    let long = "0123456789abcdefABCDEF0123456789abcdef";
    let cases = [
        (ANTHROPIC.to_owned(), "anthropic-key"),
        (format!("sk-proj-{long}"), "api-key"),
        (format!("ghp_{long}"), "github-token"),
        (format!("gho_{long}"), "github-token"),
        (format!("github_pat_11ABC_{long}"), "github-token"),
        ("AKIAIOSFODNN7EXAMPLE".to_owned(), "aws-key-id"),
        (format!("AIza{long}"), "google-key"),
        ("xoxb-1234567890-abcdefghij".to_owned(), "slack-token"),
        ("glpat-abcdefghij0123456789".to_owned(), "gitlab-token"),
        (format!("npm_{long}"), "npm-token"),
        (format!("pypi-AgEIcHlwaS5vcmc{long}"), "pypi-token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl".to_owned(), "jwt"),
    ];
    for (secret, kind) in cases {
        for around in [("", ""), ("x=", " y"), ("(", ")"), ("https://h/p?k=", "&z=1"), ("é", "é")]
        {
            let masked = text(&format!("{}{secret}{}", around.0, around.1));
            assert_eq!(masked, format!("{}[redacted:{kind}]{}", around.0, around.1));
        }
    }
}

#[test]
fn c14_credentials_are_masked_by_place() {
    let cases = [
        (
            "curl -H 'Authorization: Bearer abc.def-123' x",
            "curl -H 'Authorization: [redacted:header]' x",
        ),
        ("AUTHORIZATION:Basic dXNlcjpwYXNz\nHost: a", "AUTHORIZATION:[redacted:header]\nHost: a"),
        ("sent Bearer abcdefgh12345", "sent Bearer [redacted:credential]"),
        ("https://user:pa@ss@h.example/x?a=b", "https://[redacted:userinfo]@h.example/x?a=b"),
        (
            "postgres://u:p@db/x redis://:p@r",
            "postgres://[redacted:userinfo]@db/x redis://[redacted:userinfo]@r",
        ),
        ("FOO_TOKEN=hunter2 cmd", "FOO_TOKEN=[redacted:value] cmd"),
        ("--token=abc", "--token=[redacted:value]"),
        ("mysql --password hunter2 db", "mysql --password [redacted:value] db"),
        ("https://h/?access_token=abc&b=1", "https://h/?access_token=[redacted:value]&b=1"),
        ("{\"password\": \"a b\", \"x\": 1}", "{\"password\": \"[redacted:value]\", \"x\": 1}"),
        ("export API_KEY='a b c'", "export API_KEY='[redacted:value]'"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nrest",
            "[redacted:pem]\nrest",
        ),
        ("x -----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "x [redacted:pem]"),
    ];
    for (input, want) in cases {
        assert_eq!(text(input), want);
    }
}

#[test]
fn c14_ordinary_text_stays() {
    for input in [
        "task-runner sk-1 disk-abcdefghijklmnopqrstuvwxyz",
        "npm_config_registry=https://r.example/",
        "https://example.com/a@b",
        "PWD=/home/x",
        "max_tokens=100",
        "git@example.com:a/b.git",
        "--token --x",
        "3b4a0d1f9c8e7d6c5b4a39281706f5e4d3c2b1a0918273645546372819a0b1c2",
        "basic usage",
        "a: b",
        "ünïcödé",
    ] {
        assert_eq!(text(input), input);
    }
}

#[test]
fn sp3_known_values_go_in_every_encoding() {
    let redactor = Redactor::new(["p@ss/wörd+1".to_owned(), "short".to_owned()]);
    for input in [
        "a p@ss/wörd+1 b",
        "a p%40ss%2Fw%C3%B6rd%2B1 b",
        "a p%40ss%2fw%c3%b6rd%2b1 b",
        "a cEBzcy93w7ZyZCsx b",
    ] {
        assert_eq!(redactor.text(input), "a [redacted:known] b", "{input}");
    }
    assert_eq!(redactor.text("short"), "short");
    assert_eq!(
        format!("{redactor:?}"),
        "Redactor(5 known values)".replace('5', &redactor.known.len().to_string())
    );
    assert!(!format!("{redactor:?}").contains("p@ss"));
    let host = Redactor::new(["s3cretvalue".to_owned()]);
    assert_eq!(host.text("s3cretvalue.evil.example"), "redacted-known.evil.example");
}

#[test]
fn c14_arguments_after_secret_options_go() {
    let argv: Vec<String> =
        ["curl", "-u", "me:pw", "--password", "hunter2", "--token", "--next", "-X", "GET"]
            .map(str::to_owned)
            .to_vec();
    let masked = Redactor::default().arguments(&argv);
    assert_eq!(
        masked,
        [
            "curl",
            "-u",
            "[redacted:argument]",
            "--password",
            "[redacted:argument]",
            "--token",
            "--next",
            "-X",
            "GET"
        ]
    );
    assert_eq!(Redactor::default().named("GH_TOKEN", "abc"), "[redacted:value]");
    assert_eq!(Redactor::default().named("HOME", "/home/x"), "/home/x");
}

/// C14: the shapes in which programs are given secrets, as arguments and inside a shell's command.
#[test]
fn c14_argument_shapes_of_common_programs() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["curl", "-ume:pw", "x"], &["curl", "-u[redacted:argument]", "x"]),
        (&["curl", "--user=me:pw"], &["curl", "--user=[redacted:argument]"]),
        (&["curl", "-U", "me:pw"], &["curl", "-U", "[redacted:argument]"]),
        (&["curl", "-b", "sid=abc"], &["curl", "-b", "[redacted:argument]"]),
        (
            &["/usr/bin/mysql", "-phunter2", "db"],
            &["/usr/bin/mysql", "-p[redacted:argument]", "db"],
        ),
        (
            &["sshpass", "-p", "hunter2", "ssh", "h"],
            &["sshpass", "-p", "[redacted:argument]", "ssh", "h"],
        ),
        (&["redis-cli", "-a", "-hunter2"], &["redis-cli", "-a", "[redacted:argument]"]),
        (
            &["openssl", "rsa", "-passin", "pass:hunter2"],
            &["openssl", "rsa", "-passin", "pass:[redacted:argument]"],
        ),
        (
            &["smbclient", "-U", "me%pw", "//h/s"],
            &["smbclient", "-U", "[redacted:argument]", "//h/s"],
        ),
        (
            &["aws", "configure", "set", "aws_secret_access_key", "wJalr"],
            &["aws", "configure", "set", "aws_secret_access_key", "[redacted:argument]"],
        ),
        (
            &[
                "sh",
                "-c",
                "curl -u me:pw https://h/ && mysql -phunter2 <x; docker login -u me -p 'hunter2'",
            ],
            &[
                "sh",
                "-c",
                "curl -u [redacted:argument] https://h/ && mysql -p[redacted:argument] <x; docker login -u me -p '[redacted:argument]'",
            ],
        ),
        (
            &["bash", "-c", r#"curl -d "{\"password\":\"hunter2\",\"x\":1}" h"#],
            &["bash", "-c", r#"curl -d "{\"password\":\"[redacted:value]\",\"x\":1}" h"#],
        ),
    ];
    for (argv, want) in cases {
        let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
        assert_eq!(Redactor::default().arguments(&argv), *want);
    }
}

/// C14, RM1: what was run stays readable: an option is no hiding place for a program's name.
#[test]
fn c14_rm1_ordinary_arguments_stay() {
    for argv in [
        &["python3", "-u", "evil.py"][..],
        &["bash", "-u", "evil.sh", "-p", "x"],
        &["sudo", "-u", "root", "id"],
        &["docker", "run", "-p", "8080:80", "x"],
        &["mysql", "-p", "db"],
        &["grep", "password", "file.txt"],
        &["git", "add", "-u", "src"],
        &["mkdir", "-p", "a/b"],
        &["curl", "-u", "me"],
    ] {
        let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
        assert_eq!(Redactor::default().arguments(&argv), argv);
    }
}

proptest::proptest! {
    #[test]
    fn c14_no_text_makes_it_panic_or_leaves_a_known_value(
        before in ".{0,40}", after in "[ -~]{0,40}", secret in "[A-Za-z0-9]{8,40}"
    ) {
        let redactor = Redactor::new([secret.clone()]);
        let masked = redactor.text(&format!("{before}{secret}{after}")).into_owned();
        proptest::prop_assert!(!masked.contains(&secret) || before.contains(&secret) || "[redacted:known]".contains(&secret));
        let again = redactor.text(&masked).into_owned();
        proptest::prop_assert_eq!(&redactor.text(&again), &again);
    }
}

#[test]
fn c14_a_document_loses_its_secrets_and_keeps_what_stands_for_them() {
    let redactor = Redactor::default();
    for secret in [
        "use ghp_0123456789abcdefghijABCDEFGHIJ012345 to push",
        "export API_KEY=4f9a8b7c6d5e4f3a2b1c",
        "password = \"correct-horse\"",
        "curl -H 'Authorization: Bearer abcd1234efgh5678'",
        "postgres://app:hunter2@db.test/x",
        "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----",
    ] {
        assert!(redactor.document(secret).contains("[redacted:"), "{secret}");
    }
    for plain in [
        "api_key = os.environ[\"API_KEY\"]",
        "def login(token: str, password: str = None):",
        "token = get_token(client1)",
        "Authorization: Bearer $GITHUB_TOKEN",
        "set API_KEY=<your key, 32 signs>",
        "The password: ask the team.",
        "PASSWORD=${DB_PASSWORD_1}",
    ] {
        assert_eq!(redactor.document(plain), plain);
    }
}
