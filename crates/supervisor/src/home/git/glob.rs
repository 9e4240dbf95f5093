//! The patterns of git's `gitdir:` conditions: `*`, `?` and `[…]` within a name, `**` across names.

/// Whether the whole text matches. The work is bounded by pattern times text.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let text: Vec<&str> = text.split('/').collect();
    // `reached[i]`: the first i parts of the text match the parts of the pattern so far.
    let mut reached = vec![false; text.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for (index, part) in pattern.iter().enumerate() {
        let mut next = vec![false; text.len() + 1];
        let last = index + 1 == pattern.len();
        for at in 0..=text.len() {
            if !reached.get(at).copied().unwrap_or(false) {
                continue;
            }
            if *part == "**" {
                // At the end it stands for at least one name, elsewhere for any number.
                let least = usize::from(last);
                next.iter_mut().skip(at + least).for_each(|slot| *slot = true);
            } else if text.get(at).is_some_and(|name| name_matches(part, name))
                && let Some(slot) = next.get_mut(at + 1)
            {
                *slot = true;
            }
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

/// One name against one part of a pattern, by the same way of sets of positions.
fn name_matches(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut rest = pattern.chars().peekable();
    let mut reached = vec![false; name.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    while let Some(c) = rest.next() {
        let mut next = vec![false; name.len() + 1];
        if c == '*' {
            let from = reached.iter().position(|slot| *slot).unwrap_or(name.len() + 1);
            next.iter_mut().skip(from).for_each(|slot| *slot = true);
        } else {
            let test = one(c, &mut rest);
            for (at, &letter) in name.iter().enumerate() {
                if reached.get(at).copied().unwrap_or(false)
                    && test(letter)
                    && let Some(slot) = next.get_mut(at + 1)
                {
                    *slot = true;
                }
            }
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

/// What one element other than `*` accepts.
fn one(c: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Box<dyn Fn(char) -> bool> {
    match c {
        '?' => Box::new(|_| true),
        '\\' => {
            let literal = rest.next();
            Box::new(move |letter| Some(letter) == literal)
        }
        '[' => class(rest),
        literal => Box::new(move |letter| letter == literal),
    }
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Box<dyn Fn(char) -> bool> {
    let negated = rest.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    let mut first = true;
    while let Some(c) = rest.next() {
        if c == ']' && !first {
            return Box::new(move |letter| {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter)) != negated
            });
        }
        first = false;
        if rest.peek() == Some(&'-') {
            let mut ahead = rest.clone();
            ahead.next();
            if let Some(to) = ahead.next().filter(|to| *to != ']') {
                *rest = ahead;
                ranges.push((c, to));
                continue;
            }
        }
        ranges.push((c, c));
    }
    // It is not closed: it accepts nothing.
    Box::new(|_| false)
}
