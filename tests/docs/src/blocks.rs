//! Fenced blocks of a Markdown file, with what the comment before each says about it.
//!
//! ```text
//! <!-- no-run: REASON -->      the block is shown, not run
//! <!-- setup: COMMANDS -->     run before the block, not shown
//! <!-- needs: PROGRAM … -->    skipped where one of them is not installed
//! <!-- layer: organisation --> a definition of another layer than the project
//! ```

/// One fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The word after the fence: `console`, `toml`, …; empty if there is none.
    pub kind: String,
    /// Line of the opening fence, counted from 1.
    pub line: usize,
    /// The lines within.
    pub text: String,
    /// Comments right before it: name and rest.
    pub notes: Vec<(String, String)>,
}

impl Block {
    /// What a comment says, if it is there.
    #[must_use]
    pub fn note(&self, name: &str) -> Option<&str> {
        self.notes.iter().find(|(own, _)| own == name).map(|(_, rest)| rest.as_str())
    }
}

fn note(line: &str) -> Option<(String, String)> {
    let inner = line.strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    let (name, rest) = inner.split_once(':')?;
    Some((name.trim().to_owned(), rest.trim().to_owned()))
}

/// Every block of a document, in order.
///
/// # Errors
/// The line of a fence that is not closed.
pub fn parse(document: &str) -> Result<Vec<Block>, usize> {
    let mut blocks = Vec::new();
    let mut notes = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in document.lines().enumerate() {
        if let Some(mut block) = open.take() {
            if line.trim_end() == "```" {
                blocks.push(block);
            } else {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
        } else if let Some(kind) = line.strip_prefix("```") {
            let kind = kind.split_whitespace().next().unwrap_or_default().to_owned();
            let notes = std::mem::take(&mut notes);
            open = Some(Block { kind, line: index + 1, text: String::new(), notes });
        } else if let Some(found) = note(line.trim()) {
            notes.push(found);
        } else if !line.trim().is_empty() {
            notes.clear();
        }
    }
    open.map_or(Ok(blocks), |block| Err(block.line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_notes() {
        let document = "a\n<!-- needs: curl -->\n```console\n$ a\nb\n```\n\n```\nc\n```\n";
        let blocks = parse(document).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].kind.as_str(), blocks[0].line), ("console", 3));
        assert_eq!(blocks[0].note("needs"), Some("curl"));
        assert_eq!(blocks[0].text, "$ a\nb\n");
        assert_eq!((blocks[1].kind.as_str(), blocks[1].notes.len()), ("", 0));
        assert_eq!(parse("x\n```sh\n"), Err(2));
    }
}
