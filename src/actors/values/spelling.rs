//! How texts of people are spelt: one spelling for what looks the same, and no invisible characters.
//!
//! Unicode has several spellings of one letter (NFC takes one of them), and characters that show nothing and only
//! change how their neighbours are shown or ordered. With them two names look alike and are not, or a page shows
//! something else than what is stored.

use std::borrow::Cow;

use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// A text on one line as it is kept, see [`kept`]. `None` when it has a control character, or a line or paragraph
/// separator.
pub fn one_line(text: &str) -> Option<String> {
    let breaks = text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
    (!breaks).then(|| kept(text))
}

/// A text of several lines as it is kept, see [`kept`]. `None` when it has another control character than those that
/// part lines and columns.
pub fn lines(text: &str) -> Option<String> {
    let controls = text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    (!controls).then(|| kept(text))
}

/// NFC, trimmed, without characters that do not show.
fn kept(text: &str) -> String {
    if text.is_ascii() {
        return text.trim().to_owned();
    }
    // Flags of regions are spelt in tags behind a black flag. Elsewhere tags are hidden text.
    let has_flag = text.contains('\u{1f3f4}');
    let chars: Vec<char> = text.chars().collect();
    let neighbour_is_ascii = |n: Option<usize>| n.and_then(|n| chars.get(n)).is_none_or(char::is_ascii);
    let shows = |(n, c): &(usize, &char)| match **c {
        // Joiners belong to Persian and Indian writing and to emoji. Elsewhere they show nothing.
        '\u{200c}' | '\u{200d}' => !neighbour_is_ascii(n.checked_sub(1)) && !neighbour_is_ascii(Some(n + 1)),
        '\u{e0000}'..='\u{e0fff}' => has_flag,
        c => !is_hidden(c),
    };
    let shown: String = chars.iter().enumerate().filter(shows).map(|(_, c)| *c).collect();
    nfc(shown.trim()).into_owned()
}

/// Whether anything of a text can be seen.
pub fn shows(text: &str) -> bool {
    let blank = |c: char| {
        matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' | '\u{200c}' | '\u{200d}')
            || ('\u{fe00}'..='\u{fe0f}').contains(&c)
            || ('\u{e0000}'..='\u{e0fff}').contains(&c)
            || unicode_normalization::char::is_combining_mark(c)
    };
    text.chars().any(|c| !c.is_whitespace() && !c.is_control() && !is_hidden(c) && !blank(c))
}

/// Whether a text has characters that do not show.
pub fn has_hidden(text: &str) -> bool {
    text.chars().any(|c| is_hidden(c) || matches!(c, '\u{200c}' | '\u{200d}'))
}

/// Zero-width characters without a meaning of their own, and what turns the direction of writing.
fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

/// Canonical composition; most texts have it already.
pub fn nfc(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(text.nfc().collect()),
    }
}

/// A password as it is hashed: the profile OpaqueString of RFC 8265, 4.2.2. Spaces of all kinds are the plain one, and
/// letters are NFC, because keyboards and systems spell them differently. ASCII stays as it is.
pub fn password(text: &str) -> Cow<'_, str> {
    let is_space = |c: char| {
        let quads = '\u{2000}'..='\u{200a}';
        quads.contains(&c) || matches!(c, '\u{a0}' | '\u{1680}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
    };
    if !text.chars().any(is_space) {
        return nfc(text);
    }
    Cow::Owned(text.chars().map(|c| if is_space(c) { ' ' } else { c }).nfc().collect())
}

/// The domain of an email address in ASCII (UTS 46), in lower case. `None` for what is no name of a host, or has an
/// empty label.
pub fn domain(text: &str) -> Option<String> {
    let (deny, hyphens, length) = (idna::AsciiDenyList::URL, Hyphens::Allow, DnsLength::Verify);
    Uts46::new().to_ascii(text.as_bytes(), deny, hyphens, length).ok().map(Cow::into_owned)
}

/// A domain as people write it: `xn--mnchen-3ya.de` is `münchen.de`.
pub fn shown_domain(ascii: &str) -> String {
    Uts46::new().to_unicode(ascii.as_bytes(), idna::AsciiDenyList::URL, Hyphens::Allow).0.into_owned()
}

/// Canonical decomposition: the other spelling that systems write.
pub fn nfd(text: &str) -> String {
    text.nfd().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_kept_the_same() {
        let table = [
            ("  Ada  ", Some("Ada")),
            ("Rene\u{301}e", Some("Renée")),
            ("A\u{200b}da\u{feff}", Some("Ada")),
            ("\u{202e}adA\u{202c}", Some("adA")),
            ("A\u{200d}da", Some("Ada")),
            ("می\u{200c}خواهم", Some("می\u{200c}خواهم")),
            ("👩\u{200d}💻 mug", Some("👩\u{200d}💻 mug")),
            ("Ada\u{7}", None),
            ("Ada\nEve", None),
            ("Ada\u{2028}Eve", None),
            ("\u{200b}\u{200f}", Some("")),
            ("e\u{200b}\u{301}", Some("é")),
            ("Ada\u{e0041}", Some("Ada")),
            ("🏴\u{e0067}\u{e007f}", Some("🏴\u{e0067}\u{e007f}")),
        ];
        for (text, kept) in table {
            assert_eq!(one_line(text).as_deref(), kept, "{text:?}");
            let again = kept.and_then(one_line);
            assert_eq!(again.as_deref(), kept, "{text:?}");
        }
        assert_eq!(lines("a\r\n\tb\u{200b} "), Some("a\r\n\tb".into()));
        assert_eq!(lines("a\u{0}b"), None);
    }

    #[test]
    fn a_text_shows_when_something_in_it_can_be_seen() {
        for text in ["a", "é", "e\u{301}", "日本", "👩\u{200d}💻", "-", "٣"] {
            assert!(shows(text), "{text:?}");
        }
        for text in ["", "  ", "\u{a0}\u{3000}", "\u{200b}", "\u{3164}", "\u{2800}", "\u{301}", "\u{fe0f}", "\u{200d}"]
        {
            assert!(!shows(text), "{text:?}");
        }
    }

    #[test]
    fn a_password_is_one_in_every_spelling_and_ascii_is_left_alone() {
        assert!(matches!(password(" Correct  Horse "), Cow::Borrowed(" Correct  Horse ")));
        assert_eq!(password("Zu\u{308}rich\u{3000}2026"), "Zürich 2026");
        assert_eq!(password("Zürich\u{a0}2026"), "Zürich 2026");
        assert_eq!(password("ｐａｓｓ"), "ｐａｓｓ", "widths are not mapped");
        assert_ne!(password("Zürich"), password("zürich"));
    }

    #[test]
    fn a_domain_is_compared_in_ascii() {
        let table = [
            ("München.example", Some("xn--mnchen-3ya.example")),
            ("mu\u{308}nchen.example", Some("xn--mnchen-3ya.example")),
            ("xn--mnchen-3ya.example", Some("xn--mnchen-3ya.example")),
            ("localhost", Some("localhost")),
            ("例え。jp", Some("xn--r8jz45g.jp")),
            ("a..b", None),
            (".a", None),
            ("a.", None),
            ("a_b.example", Some("a_b.example")),
            ("a%b.example", None),
            ("a b.example", None),
            ("", None),
            (&"x".repeat(64), None),
        ];
        for (text, ascii) in table {
            assert_eq!(domain(text).as_deref(), ascii, "{text:?}");
        }
    }
}
