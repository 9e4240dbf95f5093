//! Tests of the terminal filter (P15, F34): tables of what is removed and what passes, and
//! properties over generated output, judged by a second, independent and much simpler parser.

use super::*;
use crate::terminal::limits;
use proptest::prelude::*;

fn run(input: &[u8]) -> (Vec<u8>, Removed) {
    let mut filter = TerminalFilter::new();
    let mut out = Vec::new();
    let mut removed = filter.filter(input, &mut out);
    removed += filter.finish(&mut out);
    (out, removed)
}

/// Each of these vanishes from between two letters, and is counted once.
const REMOVED: &[&[u8]] = &[
    // titles
    b"\x1b]0;title\x07",
    b"\x1b]1;icon\x1b\\",
    b"\x1b]2;title\x07",
    b"\x1b]0;\xe2\x9c\xb3 title\x07",
    b"\x1b]ltitle\x1b\\",
    b"\x1bktitle\x1b\\",
    b"\x1b[>1t",
    // clipboard, font, directory, links, notifications, inline files, unknown
    b"\x1b]52;c;aGVsbG8=\x07",
    b"\x1b]52;c;?\x1b\\",
    b"\x1b]5522;type=read\x1b\\",
    b"\x1b]50;fixed\x07",
    b"\x1b]7;file:///etc\x07",
    b"\x1b]8;;http://example.com\x1b\\",
    b"\x1b]8;id=1;\x07",
    b"\x1b]9;hello\x07",
    b"\x1b]777;notify;a;b\x07",
    b"\x1b]99;;hello\x1b\\",
    b"\x1b]1337;File=:AAAA\x07",
    b"\x1b]633;E;cmd\x07",
    b"\x1b]\x07",
    b"\x1b];;\x07",
    // colours: queries and malformed sets
    b"\x1b]4;1;?\x07",
    b"\x1b]4;1\x07",
    b"\x1b]4;1;red;2;?\x07",
    b"\x1b]10;?;?\x07",
    b"\x1b]11;red;blue\x07",
    b"\x1b]11;re\xc3\xa9d\x07",
    b"\x1b]11;r\x01ed\x07",
    b"\x1b]13;red\x07",
    b"\x1b]17;red\x07",
    b"\x1b]011;?\x07",
    b"\x1b]133;C;cmdline_url=a%20b\x07",
    b"\x1b]133\x07",
    // Linux console palette, which has no terminator
    b"\x1b]P1aabbcc",
    b"\x1b]R",
    // strings
    b"\x1bP$qm\x1b\\",
    b"\x1bP+q544e\x1b\\",
    b"\x1bPq#0;2;0;0;0~-\x1b\\",
    b"\x1bP1$tx\x1b\\",
    b"\x1b_Ga=q;AAAA\x1b\\",
    b"\x1b^private\x1b\\",
    b"\x1bXsos\x1b\\",
    b"\x1b!message\x1b\\",
    // window and printer
    b"\x1b[20t",
    b"\x1b[21t",
    b"\x1b[8;1;1t",
    b"\x1b[14t",
    b"\x1b[22;0;0t",
    b"\x1b[1;2;3;4;5$t",
    b"\x1b[i",
    b"\x1b[5i",
    b"\x1b[?5i",
    b"\x1b[132$|",
    b"\x1b[24*|",
    // queries
    b"\x05",
    b"\x1bZ",
    b"\x1b[=c",
    b"\x1b[1c",
    b"\x1b[?15n",
    b"\x1b[?63;1n",
    b"\x1b[x",
    b"\x1b[1;1;1;1;1;1*y",
    b"\x1b[1$w",
    b"\x1b[1$u",
    b"\x1b[#R",
    b"\x1b[#|",
    b"\x1b['|",
    b"\x1b[?1;1;1S",
    // parsers and the keyboard
    b"\x1b%@",
    b"\x1b%G",
    b"\x1b G",
    b"\x1b$B",
    b"\x1b[62;0\"p",
    b"\x1b[2h",
    b"\x1b[4;2h",
    b"\x1b[?2l",
    b"\x1b[?38h",
    b"\x1b[?1049;038h",
    b"\x1b[?25:38h",
    b"\x1b[?65574h",
    b"\x1b[?4294967334h",
    b"\x1b[?4294968296h",
    b"\x1b[?40h",
    b"\x1b[?3h",
    b"\x1b[?46h",
    b"\x1b[?38r",
    // Linux console: virtual console switch, swallowing
    b"\x1b[12;2]",
    b"\x1b[[",
    // not well formed
    b"\x1b[1?m",
    b"\x1b[ 1m",
    b"\x1b[1;2<m",
    b"\x1b((((((B",
    // C1 controls, raw and in UTF-8
    b"\x84",
    b"\x9f",
    b"\xc2\x85",
    b"\xc2\x9d",
];

#[test]
fn p15_sequences_that_reach_beyond_the_screen_are_removed() {
    for sequence in REMOVED {
        let (out, removed) = run(&[b"a", *sequence, b"b"].concat());
        assert_eq!(out.escape_ascii().to_string(), "ab", "{}", sequence.escape_ascii());
        assert_eq!(removed.total(), 1, "{}: {removed:?}", sequence.escape_ascii());
    }
}

/// All of this passes as it is.
const KEPT: &[&[u8]] = &[
    b"plain text\r\n\ttab\x08\x07\x00\x0e\x0f\x7f",
    b"\x1b[0m\x1b[1;31m\x1b[38;2;1;2;3m\x1b[4:3m\x1b[58:2::1:2:3m\x1b[m",
    b"\x1b[H\x1b[2J\x1b[10;20H\x1b[5A\x1b[K\x1b[3P\x1b[2;5r\x1b[s\x1b[u\x1b[6b",
    b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1000;1002;1006h\x1b[?2026h\x1b[?1004h\x1b[?2031h",
    b"\x1b[?1049l\x1b[?25h\x1b[4h\x1b[20l\x1b[?1s\x1b[?1r\x1b[?7727h",
    b"\x1b7\x1b8\x1b=\x1b>\x1bc\x1bM\x1bD\x1bE\x1bH\x1b(B\x1b)0\x1b#8\x1b\\",
    b"\x1b[6n\x1b[5n\x1b[?6n\x1b[?996n\x1b[c\x1b[0c\x1b[>c\x1b[>0q\x1b[>q\x1b[?u\x1b[?2026$p\x1b[4$p",
    b"\x1b[>1u\x1b[<u\x1b[=5;1u\x1b[>4;2m\x1b[?4m\x1b[>4n",
    b"\x1b[2 q\x1b[!p\x1b['}\x1b[1;1;2;2$r\x1b[#p\x1b[#q\x1b[?1c",
    b"\x1b]4;1;rgb:ff/00/00\x07\x1b]4;1;red;2;#00ff00\x1b\\",
    b"\x1b]10;?\x07\x1b]11;?\x1b\\\x1b]12;?\x07\x1b]11;#000000\x07",
    b"\x1b]104\x07\x1b]104;1;2\x07\x1b]110\x07\x1b]111\x1b\\\x1b]112\x07",
    b"\x1b]133;A\x07\x1b]133;B\x07\x1b]133;C\x07\x1b]133;D;0\x07\x1b]133;A;aid=7;cl=m\x1b\\",
    "äöü €  \u{a0} 漢字 🦀 e\u{301} \u{2588}\u{2500}\u{1b}[m\u{fffd}".as_bytes(),
    // invalid UTF-8 outside the C1 range
    b"\xff\xfe\xa0\xc3(\xe2\xa0x\xf0\xb0\xb0\xc0\xaf\xed\xa0\n",
];

#[test]
fn p15_everything_a_terminal_program_needs_passes_unchanged() {
    for text in KEPT {
        let (out, removed) = run(text);
        assert_eq!(out.escape_ascii().to_string(), text.escape_ascii().to_string());
        assert_eq!(removed, Removed::default());
    }
}

#[test]
fn p15_removed_sequences_are_counted_by_what_they_do() {
    let (_, removed) = run(b"\x1b]0;t\x07\x1b]52;c;eA==\x07\x1b]8;;u\x07x\x1b]8;;\x07\x1b]9;n\x07\
        \x1b]4;1;?\x07\x1b[21t\x1b%@\x1bPq\x1b\\\x9b\x1b[\x18\x1b]50;x\x07");
    let expected = Removed {
        titles: 1,
        clipboard: 1,
        links: 2,
        notifications: 1,
        queries: 1,
        window: 1,
        modes: 1,
        strings: 1,
        controls: 1,
        malformed: 1,
        other: 1,
    };
    assert_eq!(removed, expected);
    assert_eq!(removed.total(), 12);
}

#[test]
fn p15_the_text_of_a_link_is_kept() {
    let (out, _) = run(b"see \x1b]8;;http://evil.example\x1b\\the docs\x1b]8;;\x1b\\.");
    assert_eq!(out, b"see the docs.");
}

#[test]
fn p15_c1_controls_open_no_sequence() {
    // Raw 8-bit and UTF-8 forms of OSC, CSI and DCS: the control goes, the rest is harmless text.
    for text in [&b"\x9d52;c;eA==\x07"[..], b"\xc2\x9d52;c;eA==\x07"] {
        assert_eq!(run(text).0, b"52;c;eA==\x07");
    }
    assert_eq!(run(b"\x9b21t\xc2\x9b21t\x90q\x9c").0, b"21t21tq");
    // As part of a character the same bytes stay.
    assert_eq!(run("\u{26c4}".as_bytes()).0, "\u{26c4}".as_bytes());
    // Overlong and broken characters do not smuggle them.
    for text in [&b"\xe0\x82\x9b21t"[..], b"\xc0\x9b21t", b"\xf0\x80\x82\x9b21t", b"\xe2\x9b21t"] {
        let (out, _) = run(text);
        assert!(!out.iter().any(|b| (0x80..=0x9f).contains(b)), "{}", out.escape_ascii());
        assert!(out.ends_with(b"21t"));
    }
    // A removed sequence between two bytes does not join them to a control.
    assert_eq!(run(b"\xc2\x1b]0;t\x07\x9b21t").0, b"\xc221t");
}

#[test]
fn p15_controls_inside_a_sequence_act_as_on_a_terminal() {
    assert_eq!(run(b"\x1b[3\n1m").0, b"\n\x1b[31m");
    assert_eq!(run(b"\x1b[2\n1t").0, b"\n");
    assert_eq!(run(b"\x1b[3\x0512\x7f0m").0, b"\x1b[3120m");
    assert_eq!(run(b"\x1b[31\x18m\x1b]0;x\x1amore").0, b"mmore");
    let (out, removed) = run(b"\x1b]0;x\x18more");
    assert_eq!((out.as_slice(), removed.titles), (&b"more"[..], 1));
    assert_eq!(run(b"\x1b\x1b]0;x\x07\x1b[\x1b[mA").0, b"\x1b[mA");
    assert_eq!(run(b"\x1b[3\xc3\xa9m").0, "ém".as_bytes());
}

#[test]
fn p15_an_escape_inside_a_string_ends_it() {
    let (out, removed) = run(b"\x1b]0;a\x1b[31mb");
    assert_eq!((out.as_slice(), removed.titles), (&b"\x1b[31mb"[..], 1));
    assert_eq!(run(b"\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\b").0, b"\x1b\\b");
    assert_eq!(run(b"\x1b]11;red\x1b]52;c;eA==\x07b").0, b"b");
}

#[test]
fn p15_an_endless_string_is_swallowed_and_its_tail_stays_text() {
    for opener in [&b"\x1b]52;c;"[..], b"\x1bP", b"\x1b]11;", b"\x1bk"] {
        let mut input = opener.to_vec();
        input.resize(limits::MAX_STRING_BYTES + opener.len() + 10, b'x');
        input.extend_from_slice(b"\x1b]52;c;eA==\x07\x9b21t\x1b[21t\x1b[1mend");
        let (out, removed) = run(&input);
        let text = out.strip_suffix(b"21t\x1b[1mend").unwrap();
        assert!(
            (1..=16).contains(&text.len()) && text.iter().all(|b| *b == b'x'),
            "{}",
            out.escape_ascii()
        );
        assert_eq!(removed.total(), 4);
        // Nothing of that size is kept in memory.
        let mut filter = TerminalFilter::new();
        filter.filter(&input[..limits::MAX_STRING_BYTES / 2], &mut Vec::new());
        assert!(filter.held.capacity() <= 2 * limits::MAX_OSC_BYTES);
    }
}

#[test]
fn p15_overlong_sequences_are_removed_whole() {
    let digits = vec![b'1'; limits::MAX_CSI_BYTES * 3];
    assert_eq!(run(&[b"a\x1b[", digits.as_slice(), b"mb"].concat()).0, b"ab");
    assert_eq!(run(&[b"a\x1b]11;", digits.as_slice(), b"\x07b"].concat()).0, b"ab");
}

#[test]
fn p15_an_unfinished_sequence_never_reaches_the_terminal() {
    for text in [&b"\x1b"[..], b"\x1b[31", b"\x1b]11;red", b"\x1b]11;red\x1b", b"\x1bP", b"\x1b("] {
        let (out, removed) = run(text);
        assert!(out.is_empty(), "{}", text.escape_ascii());
        assert_eq!(removed.total(), 1);
    }
    // A character that is cut off is invalid, and passes as such.
    assert_eq!(run(b"a\xe2\xa0").0, b"a\xe2\xa0");
}

#[test]
fn f34_names_with_escapes_and_broken_encoding_are_only_text() {
    let name = b"-rf\n\x1b]0;pwned\x07\x1b[2Jx\xff\x9b6n\xc2\x9b6n.txt";
    assert_eq!(run(name).0, b"-rf\n\x1b[2Jx\xff6n6n.txt");
}

/// A terminal as simple as it can be: finds what it must never be sent. It shares nothing with
/// the filter and looks at raw bytes, so it does not depend on any parser state.
fn forbidden(output: &[u8]) -> Option<String> {
    for chunk in output.utf8_chunks() {
        if chunk.valid().chars().any(|c| ('\u{80}'..='\u{9f}').contains(&c) || c == '\u{5}') {
            return Some("control character".to_owned());
        }
        if chunk.invalid().iter().any(|b| (0x80..=0x9f).contains(b)) {
            return Some("raw C1 byte".to_owned());
        }
    }
    let at = |i: usize| output.get(i).copied().unwrap_or(0);
    for start in (0..output.len()).filter(|i| output[*i] == 0x1b) {
        let rest = output.get(start + 2..).unwrap_or_default();
        let text = String::from_utf8_lossy(&output[start..(start + 40).min(output.len())]);
        let bad = match at(start + 1) {
            b'[' => {
                let Some(end) = rest.iter().position(|b| (0x40..0x7f).contains(b)) else {
                    return Some(format!("unfinished: {text:?}"));
                };
                let (body, last) = (std::str::from_utf8(&rest[..end]).unwrap(), rest[end]);
                let numbers: Vec<&str> = body.split([';', ':', '?']).collect();
                matches!(last, b't' | b'i' | b'y' | b']' | b'[')
                    || (last == b'x' && !body.contains(['$', '*']))
                    || (last == b'n'
                        && !["5", "6", "?6", "?996"].contains(&body)
                        && !body.starts_with('>'))
                    || (last == b'h' && numbers.iter().any(|n| n.trim_start_matches('0') == "38"))
                    || (last == b'h' && !body.starts_with('?') && numbers.contains(&"2"))
                    || (last == b'p' && body.contains('"'))
                    || body.bytes().any(|b| !(0x20..0x40).contains(&b))
            }
            b']' => {
                let end = rest.iter().position(|b| *b == 7 || *b == 0x1b);
                let body = end.map(|end| &rest[..end]).unwrap_or_default();
                let number = body.split(|b| *b == b';').next().unwrap_or_default();
                let known: [&[u8]; 9] =
                    [b"4", b"10", b"11", b"12", b"104", b"110", b"111", b"112", b"133"];
                let terminated =
                    end.is_some_and(|e| rest[e] == 7 || rest.get(e + 1) == Some(&b'\\'));
                !known.contains(&number)
                    || !terminated
                    || body.iter().any(|b| !(0x20..0x7f).contains(b))
                    || (body.contains(&b'?') && !matches!(body, b"10;?" | b"11;?" | b"12;?"))
            }
            0 | b'P' | b'X' | b'^' | b'_' | b'k' | b'!' | b'%' | b' ' | b'$' | b'Z' | 0x1b => true,
            _ => false,
        };
        if bad {
            return Some(format!("{text:?}"));
        }
    }
    None
}

#[test]
fn the_second_parser_finds_what_is_forbidden() {
    // Else the properties below would prove nothing. Malformed but harmless forms are not its
    // business, so it is asked about the dangerous ones only.
    for sequence in [
        &b"\x1b]0;t\x07"[..],
        b"\x1b]52;c;?\x07",
        b"\x1bPq\x1b\\",
        b"\x1b[21t",
        b"\x1b[5i",
        b"\x05",
        b"\x9b",
        b"\xc2\x9b",
        b"\x1b]4;1;?\x07",
        b"\x1b]11;red",
        b"\x1b[?38h",
        b"\x1b%@",
        b"\x1bkx\x1b\\",
        b"\x1b[31",
        b"\x1b",
        b"\x1b[2h",
        b"\x1b[1;1;1;1;1;1*y",
        b"\x1b[?15n",
    ] {
        assert!(forbidden(sequence).is_some(), "{}", sequence.escape_ascii());
    }
    for text in KEPT {
        assert_eq!(forbidden(text), None, "{}", text.escape_ascii());
    }
}

/// Output made of whole sequences, halves of them, and the bytes that matter to a parser.
fn hostile_output() -> impl Strategy<Value = Vec<u8>> {
    let sequence = prop_oneof![
        prop::sample::select(REMOVED).prop_map(<[u8]>::to_vec),
        prop::sample::select(KEPT).prop_map(<[u8]>::to_vec),
    ];
    let half = (sequence.clone(), any::<prop::sample::Index>()).prop_map(|(bytes, cut)| {
        let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
        if bytes.len() % 2 == 0 { head.to_vec() } else { tail.to_vec() }
    });
    let alphabet: Vec<u8> =
        b"\x1b\x1b\x1b[[]]PX^_k\\!%#(;:?>=<0123456789\x07\x05\x18\x1a\n\x7ftnhlmcqupxyi$ *\"'\
        \x80\x84\x90\x98\x9b\x9c\x9d\x9e\x9f\xa0\xc0\xc2\xc3\xe0\xe2\xed\xf0\xf4\xff"
            .to_vec();
    let noise = prop::collection::vec(prop::sample::select(alphabet), 1..12);
    let anything = prop::collection::vec(any::<u8>(), 1..6);
    prop::collection::vec(prop_oneof![3 => sequence, 3 => half, 4 => noise, 1 => anything], 0..24)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p15_no_forbidden_sequence_comes_out(input in hostile_output()) {
        let (out, _) = run(&input);
        prop_assert_eq!(forbidden(&out), None, "output {}", out.escape_ascii());
    }

    #[test]
    fn p15_filtering_twice_changes_nothing(input in hostile_output()) {
        let (once, _) = run(&input);
        let (twice, removed) = run(&once);
        prop_assert_eq!(removed.total(), 0);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn p15_cutting_the_input_changes_nothing(
        input in hostile_output(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let (whole, counted) = run(&input);
        let mut places: Vec<usize> = cuts.iter().map(|c| c.index(input.len() + 1)).collect();
        places.extend([0, input.len()]);
        places.sort_unstable();
        let pieces = places.windows(2).map(|w| &input[w[0]..w[1]]);
        let single = input.chunks(1);
        for pieces in [pieces.collect::<Vec<_>>(), single.collect()] {
            let (mut filter, mut out, mut removed) =
                (TerminalFilter::new(), Vec::new(), Removed::default());
            for piece in pieces {
                removed += filter.filter(piece, &mut out);
                prop_assert_eq!(forbidden(&out), None);
            }
            removed += filter.finish(&mut out);
            prop_assert_eq!(&out, &whole);
            prop_assert_eq!(removed, counted);
        }
    }

    #[test]
    fn p15_what_is_harmless_passes_byte_for_byte(
        parts in prop::collection::vec(
            prop_oneof![
                prop::sample::select(&KEPT[..KEPT.len() - 1]).prop_map(<[u8]>::to_vec),
                "[^\u{5}\u{1b}\u{80}-\u{9f}]{0,20}".prop_map(String::into_bytes),
            ],
            0..20,
        ),
    ) {
        let input = parts.concat();
        let (out, removed) = run(&input);
        prop_assert_eq!(removed.total(), 0);
        prop_assert_eq!(out, input);
    }
}

/// Every place to cut every table entry, one by one.
#[test]
fn p15_a_cut_at_every_byte_gives_the_same_output() {
    let all = [REMOVED.concat(), KEPT.concat()].concat();
    let (whole, counted) = run(&all);
    for cut in 0..=all.len() {
        let mut filter = TerminalFilter::new();
        let mut out = Vec::new();
        let mut removed = filter.filter(&all[..cut], &mut out);
        removed += filter.filter(&all[cut..], &mut out);
        removed += filter.finish(&mut out);
        assert!(out == whole && removed == counted, "cut at {cut}");
    }
}

/// P15: what is shown again asks the terminal nothing, and is the same otherwise.
#[test]
fn p15_the_past_asks_nothing() {
    let asking = [
        "\x1b[5n",
        "\x1b[6n",
        "\x1b[?6n",
        "\x1b[?996n",
        "\x1b[c",
        "\x1b[0c",
        "\x1b[>c",
        "\x1b[>0q",
        "\x1b[?u",
        "\x1b[?4m",
        "\x1b[4$p",
        "\x1b[?2026$p",
        "\x1b]11;?\x07",
        "\x1b]10;?\x1b\\",
    ];
    let telling = [
        "\x1b[2J",
        "\x1b[1;31m",
        "\x1b[>4;1m",
        "\x1b[>4n",
        "\x1b[?25h",
        "\x1b[!p",
        "\x1b[2 q",
        "\x1b[>1u",
        "\x1b[u",
        "\x1b]11;#102030\x07",
        "\x1b[?1c",
        "text\r\n",
    ];
    let shown = |mut filter: TerminalFilter, text: &str| {
        let mut out = Vec::new();
        let removed = filter.filter(text.as_bytes(), &mut out);
        (String::from_utf8(out).unwrap(), removed.queries)
    };
    for text in asking {
        assert_eq!(shown(TerminalFilter::new(), text), (text.to_owned(), 0), "control group");
        assert_eq!(shown(TerminalFilter::of_the_past(), text), (String::new(), 1), "{text:?}");
    }
    for text in telling {
        assert_eq!(shown(TerminalFilter::of_the_past(), text), (text.to_owned(), 0), "{text:?}");
    }
}
