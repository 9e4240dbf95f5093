//! The parser of git's configuration format (git-config(1), "Syntax"): text in, settings out.
//!
//! It reads files of the user's own and runs nothing. What git refuses is refused here, too; a test
//! compares it with git itself.

use std::ops::Range;

/// One setting as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The section, lower case.
    pub section: String,
    /// The subsection as written, if there is one.
    pub subsection: Option<String>,
    /// The key, lower case.
    pub key: String,
    /// The value; `None` stands for true.
    pub value: Option<String>,
}

impl Setting {
    /// `section.key` or `section.SUBSECTION.key`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.subsection {
            Some(subsection) => format!("{}.{subsection}.{}", self.section, self.key),
            None if self.section.is_empty() => self.key.clone(),
            None => format!("{}.{}", self.section, self.key),
        }
    }
}

/// The line that is not understood, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not understood")]
pub struct SyntaxError(pub usize);

/// Reads a whole file.
///
/// # Errors
/// [`SyntaxError`]: nothing of the file counts then, as in git.
pub fn parse(text: &str) -> Result<Vec<Setting>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    Ok(items(&text)?.into_iter().filter_map(|item| item.setting).collect())
}

/// A header or a setting, and which bytes of the text it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// `None`: a header.
    pub setting: Option<Setting>,
    /// From its first byte to behind its last; of a setting to the end of its line.
    pub span: Range<usize>,
}

/// The headers and settings of a text whose lines end in `\n` alone, in order.
///
/// # Errors
/// As [`parse`].
pub fn items(text: &str) -> Result<Vec<Item>, SyntaxError> {
    let mut cursor = Cursor { rest: text.chars().peekable(), line: 1, at: 0 };
    // git takes settings before the first section, too; none of them means anything.
    let mut section: (String, Option<String>) = (String::new(), None);
    let mut items = Vec::new();
    while let Some(&next) = cursor.rest.peek() {
        let start = cursor.at;
        match next {
            '\n' | ' ' | '\t' => {
                cursor.take();
            }
            '#' | ';' => cursor.skip_line(),
            '[' => {
                section = cursor.header()?;
                items.push(Item { setting: None, span: start..cursor.at });
            }
            c if c.is_ascii_alphabetic() => {
                let (name, subsection) = section.clone();
                let (key, value) = cursor.setting()?;
                let setting = Setting { section: name, subsection, key, value };
                items.push(Item { setting: Some(setting), span: start..cursor.at });
            }
            _ => return Err(SyntaxError(cursor.line)),
        }
    }
    Ok(items)
}

struct Cursor<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    /// Bytes taken.
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.at += next.map_or(0, char::len_utf8);
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    fn bad<T>(&self) -> Result<T, SyntaxError> {
        Err(SyntaxError(self.line))
    }

    fn skip_line(&mut self) {
        while let Some(next) = self.take() {
            if next == '\n' {
                return;
            }
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.rest.peek(), Some(' ' | '\t')) {
            self.take();
        }
    }

    /// `[section]`, `[section "subsection"]` or the old `[section.subsection]`.
    fn header(&mut self) -> Result<(String, Option<String>), SyntaxError> {
        self.take();
        let mut name = String::new();
        loop {
            match self.take() {
                Some(']') if !name.is_empty() => return Ok(old_style(&name)),
                Some(' ' | '\t') => break,
                Some(c) if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') => {
                    name.push(c.to_ascii_lowercase());
                }
                _ => return self.bad(),
            }
        }
        self.skip_blanks();
        if self.take() != Some('"') {
            return self.bad();
        }
        let mut subsection = String::new();
        loop {
            match self.take() {
                Some('"') => break,
                Some('\\') => match self.take() {
                    None | Some('\n') => return self.bad(),
                    Some(c) => subsection.push(c),
                },
                None | Some('\n') => return self.bad(),
                Some(c) => subsection.push(c),
            }
        }
        if self.take() != Some(']') {
            return self.bad();
        }
        // `[a.b "c"]` is the subsection `b.c` of `a`.
        Ok(match old_style(&name) {
            (name, None) => (name, Some(subsection)),
            (name, Some(first)) => (name, Some(format!("{first}.{subsection}"))),
        })
    }

    /// `key`, `key = value`.
    fn setting(&mut self) -> Result<(String, Option<String>), SyntaxError> {
        let mut key = String::new();
        while let Some(&c) = self.rest.peek() {
            if !c.is_ascii_alphanumeric() && c != '-' {
                break;
            }
            key.push(c.to_ascii_lowercase());
            self.take();
        }
        self.skip_blanks();
        match self.take() {
            None | Some('\n') => Ok((key, None)),
            Some('=') => Ok((key, Some(self.value()?))),
            _ => Err(SyntaxError(self.line)),
        }
    }

    fn value(&mut self) -> Result<String, SyntaxError> {
        self.skip_blanks();
        let mut value = String::new();
        // Blanks at the end do not count unless they stand in quotes.
        let mut kept = 0;
        let mut quoted = false;
        loop {
            match self.take() {
                Some('\n') if quoted => return Err(SyntaxError(self.line - 1)),
                None if quoted => return self.bad(),
                None | Some('\n') => break,
                Some('#' | ';') if !quoted => {
                    self.skip_line();
                    break;
                }
                Some('"') => {
                    quoted = !quoted;
                    kept = value.len();
                }
                Some('\\') => {
                    match self.take() {
                        // Blanks before it count.
                        None | Some('\n') => {}
                        Some('n') => value.push('\n'),
                        Some('t') => value.push('\t'),
                        Some('b') => value.push('\u{8}'),
                        Some(c @ ('"' | '\\')) => value.push(c),
                        _ => return self.bad(),
                    }
                    kept = value.len();
                }
                // Blanks before the first character do not count, wherever that stands.
                Some(' ' | '\t') if !quoted && value.is_empty() => {}
                Some(c) => {
                    value.push(c);
                    if quoted || !matches!(c, ' ' | '\t') {
                        kept = value.len();
                    }
                }
            }
        }
        value.truncate(kept);
        Ok(value)
    }
}

fn old_style(name: &str) -> (String, Option<String>) {
    match name.split_once('.') {
        Some((section, subsection)) => (section.to_owned(), Some(subsection.to_owned())),
        None => (name.to_owned(), None),
    }
}

/// Writes settings so that git reads back exactly these.
#[must_use]
pub fn render(settings: &[Setting]) -> String {
    let mut text = String::new();
    let mut section = None;
    for setting in settings {
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
        let own = Some((&setting.section, &setting.subsection));
        match &setting.subsection {
            _ if section == own => {}
            Some(sub) => text.push_str(&format!("[{} \"{}\"]\n", setting.section, quoted(sub))),
            None => text.push_str(&format!("[{}]\n", setting.section)),
        }
        section = own;
        match &setting.value {
            Some(value) => {
                let value = quoted(value).replace('\n', "\\n").replace('\t', "\\t");
                let value = value.replace('\u{8}', "\\b");
                text.push_str(&format!("\t{} = \"{value}\"\n", setting.key));
            }
            None => text.push_str(&format!("\t{}\n", setting.key)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What git itself reads from a text, or `None` where it refuses it.
    fn git(text: &str) -> Option<Vec<(String, Option<String>)>> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("git");
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent");
        let done = command
            .current_dir(directory.path())
            .args(["config", "--list", "-z", "--no-includes", "--file"])
            .arg(&file)
            .output()
            .unwrap();
        if !done.status.success() {
            return None;
        }
        let out = String::from_utf8(done.stdout).unwrap();
        let entries = out.split_terminator('\0').map(|entry| match entry.split_once('\n') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (entry.to_owned(), None),
        });
        Some(entries.collect())
    }

    fn ours(text: &str) -> Option<Vec<(String, Option<String>)>> {
        let settings = parse(text).ok()?;
        Some(settings.into_iter().map(|s| (s.name(), s.value)).collect())
    }

    #[test]
    fn what_git_reads_is_read() {
        for text in [
            "",
            "# c\n[user]\n\tname = Ann  Lee ; comment\n email=a@example.test\n",
            "[alias]\nlg = \"log --format='%h  %s' \" # x\n",
            "[a]\nb\n[a \"B c\"]d=1\n[A.Bc]e = \\\"x\\\\ \\\n  y\\t\n",
            "[url \"https://x/\"]\n\tinsteadOf = gh:\n[core]\r\n\tautocrlf = input\r\n",
            "\u{feff}[a]\nb = \"  q  \"  z  \n",
            "[a]\nb = \"open\n",
            "[a]\nb = \\q\n",
            "b = 1\n",
            "[a b]\n",
            "[a \"x]\n",
            "[a]\n1b = 2\n",
            "[a]\nb c\n",
            "[a]\nb = c\\",
            "[a.b \"c\"]\nd = e\n",
            "a=a \\",
            "[a]\nb = c  \\\n",
            "[a]\nb = \\\n  c\n",
            "[a]\nb = \"\"  c\n",
        ] {
            assert_eq!(ours(text), git(text), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 96,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]
        #[test]
        fn what_is_written_is_read_back(value in "[ -~\\n\\t]{0,40}", sub in "[ -~]{0,12}") {
            let setting = Setting {
                section: "alias".to_owned(),
                subsection: Some(sub),
                key: "x".to_owned(),
                value: Some(value),
            };
            let text = render(std::slice::from_ref(&setting));
            prop_assert_eq!(parse(&text).unwrap(), vec![setting.clone()]);
            prop_assert_eq!(git(&text).unwrap(), vec![(setting.name(), setting.value)]);
        }

        #[test]
        fn any_text_is_read_as_git_reads_it(text in "(\\[[a-b. \"\\\\]{0,5}\\]?|[a-b]{1,2} ?=? ?[\"\\\\ #;a-b]{0,6}|\\n){0,7}") {
            prop_assert_eq!(ours(&text), git(&text));
        }
    }
}
