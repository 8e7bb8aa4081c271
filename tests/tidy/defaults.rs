//! `config/default.toml` is the only place of defaults: what `src/config` reads from it has no other in the code.

use std::collections::BTreeSet;

use super::NONE;
use super::sources::{Source, offences, sources};

/// The structs that `src/config` fills with what it has read: `SlotLimits { idle_ms: r.ms("slots.idle_ms"), ... }`.
fn sections() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for Source { code, .. } in sources("src/config") {
        for read in [": r.ms(", ": r.size(", ": r.number(", ": r.text(", ": r.blocks("] {
            found.extend(code.match_indices(read).filter_map(|(at, _)| filled(&code[..at])));
        }
    }
    assert!(found.contains("SlotLimits") && found.contains("PostgresSettings"), "the reader was read: {found:?}");
    found
}

/// The struct whose braces are still open at the end of `before`.
fn filled(before: &str) -> Option<String> {
    let mut closed = 0_usize;
    let open = before.char_indices().rev().find(|(_, sign)| match sign {
        '}' => {
            closed += 1;
            false
        }
        '{' if closed > 0 => {
            closed -= 1;
            false
        }
        sign => *sign == '{',
    });
    let name = before[..open?.0].trim_end();
    let name = &name[name.rfind(|sign: char| !sign.is_alphanumeric()).map_or(0, |at| at + 1)..];
    Some(name.to_owned()).filter(|name| !name.is_empty())
}

#[test]
fn no_section_of_the_settings_has_a_default_in_the_code() {
    let made_of_sections = ["Policy", "RuntimeConfig", "Tuning", "EmbeddedOptions", "PostgresOptions", "RedisOptions"];
    let mut offenders = Vec::new();
    for name in sections().iter().map(String::as_str).chain(made_of_sections) {
        offenders.extend(offences(&sources("src"), &[&format!("impl Default for {name} ")]));
        for Source { name: file, code } in sources("src") {
            let Some((before, _)) = code.split_once(&format!("pub struct {name} {{")) else { continue };
            let attributes = before.lines().rev().take_while(|line| line.starts_with(['#', '/']));
            offenders.extend(attributes.filter(|line| line.contains("Default")).map(|_| format!("{file}: {name}")));
        }
    }
    assert_eq!(offenders, NONE);
}

/// Numbers that stand elsewhere make no section. (What is made of a section with a change, `..settings`, may be.)
#[test]
fn a_section_is_filled_by_the_reader_alone() {
    let (config, mut elsewhere) = (sources("src/config"), sources("src"));
    elsewhere.retain(|source| !source.name.starts_with("src/config/"));
    // A type that stands in `config` itself may have a namesake elsewhere, which is something else.
    let stands_in =
        |room: &[Source], name: &str| room.iter().any(|source| source.code.contains(&format!("pub struct {name} {{")));
    let sections = sections();
    let mut offenders = Vec::new();
    let mut judged = 0;
    for name in sections.iter().filter(|name| !stands_in(&config, name) && stands_in(&elsewhere, name)) {
        judged += 1;
        for Source { name: file, code } in &elsewhere {
            for (at, found) in code.match_indices(&format!("{name} {{")) {
                let (before, inside) = (&code[..at], &code[at + found.len()..]);
                let is_changed = inside.split('}').next().is_some_and(|inside| inside.contains(".."));
                let is_name = before.ends_with(|sign: char| sign.is_alphanumeric());
                let is_literal = !["struct ", "impl ", "let ", "for ", "-> "].iter().any(|word| before.ends_with(word));
                if is_literal && !is_name && !is_changed {
                    offenders.push(format!("{file}:{}: {name}", before.matches('\n').count() + 1));
                }
            }
        }
    }
    assert_eq!(offenders, NONE);
    assert!(judged > 5, "sections were judged: {sections:?}");
}

#[test]
fn the_struct_that_is_filled_is_found() {
    assert_eq!(filled("fn read() -> A {\n    A { b: B { c: 1 }, d").as_deref(), Some("A"));
    assert_eq!(filled("A { b: B { c").as_deref(), Some("B"));
    assert_eq!(filled("nothing"), None);
}
