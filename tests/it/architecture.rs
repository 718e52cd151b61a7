//! The map at the top of `src/lib.rs` is true: what stands there is what the modules import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![project().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(project()).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The top-level module of a file below `src/`; `None` for `lib.rs` and `main.rs`.
fn module_of(path: &Path) -> Option<String> {
    let first = path.components().nth(1)?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib" && name != "main").then(|| name.to_owned())
}

/// The floor of each module, from the table in `src/lib.rs`.
fn floors() -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(project().join("src/lib.rs")).unwrap();
    let mut floors = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_start_matches("//!").split('|').map(str::trim).collect();
        if let [_, floor, modules, _] = cells.as_slice()
            && let Ok(floor) = floor.parse()
        {
            for module in modules.split(',') {
                let name = module.trim().trim_matches('`').to_owned();
                assert!(floors.insert(name.clone(), floor).is_none(), "{name} stands twice");
            }
        }
    }
    floors
}

/// Code without comments, strings and characters, so that only paths the compiler sees are found.
fn bare(code: &str) -> String {
    let bytes = code.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let end = if bytes[i..].starts_with(b"//") {
            bytes[i..]
                .iter()
                .position(|b| *b == b'\n')
                .map_or(bytes.len(), |n| i + n)
        } else if bytes[i..].starts_with(b"/*") {
            let mut depth = 0;
            let mut j = i;
            loop {
                if bytes[j..].starts_with(b"/*") {
                    (depth, j) = (depth + 1, j + 2);
                } else if bytes[j..].starts_with(b"*/") {
                    (depth, j) = (depth - 1, j + 2);
                } else {
                    j += 1;
                }
                if depth == 0 || j >= bytes.len() {
                    break j.min(bytes.len());
                }
            }
        } else if let Some(hashes) =
            raw_string(&bytes[i..]).filter(|_| i == 0 || !is_word(at(i - 1)) || at(i - 1) == b'b')
        {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = i + 2 + hashes;
            code.get(open..)
                .and_then(|rest| rest.find(&close))
                .map_or(bytes.len(), |n| open + n + close.len())
        } else if at(i) == b'"' {
            let mut j = i + 1;
            while j < bytes.len() && at(j) != b'"' {
                j += if at(j) == b'\\' { 2 } else { 1 };
            }
            j + 1
        } else if at(i) == b'\'' && (at(i + 1) == b'\\' || at(i + 2) == b'\'') {
            let mut j = i + 1;
            while j < bytes.len() && at(j) != b'\'' {
                j += if at(j) == b'\\' { 2 } else { 1 };
            }
            j + 1
        } else {
            out.push(at(i));
            i += 1;
            continue;
        };
        out.push(b' ');
        i = end;
    }
    String::from_utf8(out).unwrap()
}

fn raw_string(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(b"r")?;
    let hashes = rest.iter().take_while(|b| **b == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The first name of every path that begins with `prefix`, groups in braces included.
fn named_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, _) in code.match_indices(prefix) {
        if index > 0 && is_word(code.as_bytes()[index - 1]) {
            continue;
        }
        let rest = code[index + prefix.len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            names.extend(word(rest));
            continue;
        };
        let mut depth = 1;
        let mut start = true;
        for (offset, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => start = true,
                c if c.is_whitespace() => {}
                _ if start && depth == 1 => {
                    start = false;
                    names.extend(word(&group[offset..]));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

fn word(text: &str) -> Option<String> {
    let end = text.bytes().position(|b| !is_word(b)).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

#[test]
fn every_module_has_a_floor_and_every_floor_its_modules() {
    let text = bare(&std::fs::read_to_string(project().join("src/lib.rs")).unwrap());
    let declared = named_after(&text, "pub mod ");
    let mapped: BTreeSet<String> = floors().into_keys().collect();
    assert_eq!(declared, mapped);
}

#[test]
fn a_module_imports_only_from_floors_below_its_own() {
    let floors = floors();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(module) = module_of(&path) else { continue };
        let own = floors[&module];
        for other in named_after(&bare(&text), "crate::") {
            let Some(floor) = floors.get(&other) else {
                wrong.push(format!(
                    "{}: `crate::{other}` is not a module of the map",
                    path.display()
                ));
                continue;
            };
            if other != module && *floor >= own {
                wrong.push(format!(
                    "{}: `{module}` (floor {own}) imports `{other}` (floor {floor})",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_step_does_not_import_another_step() {
    let table = std::fs::read_to_string(project().join("src/steps/mod.rs")).unwrap();
    let steps: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.split_once("=> ")?.1.split_once('(')?.1.split_once("::"))
        .map(|(module, _)| module.to_owned())
        .collect();
    assert!(steps.contains("snapshot") && steps.contains("swap"), "{steps:?}");
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !path.starts_with("src/steps") || !steps.contains(&name) {
            continue;
        }
        let code = bare(&text);
        let mut others = named_after(&code, "crate::steps::");
        others.extend(named_after(&code, "super::"));
        others.remove(&name);
        wrong.extend(
            others
                .intersection(&steps)
                .map(|other| format!("{name} imports {other}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_its_responsibility() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not open with `//!`", path.display());
    }
}

#[test]
fn only_the_command_line_reads_the_environment_and_ends_the_process() {
    for (path, text) in sources() {
        if module_of(&path).is_none_or(|module| module == "cli") {
            continue;
        }
        let code = bare(&text);
        for name in [
            "env::var",
            "env::vars",
            "env::var_os",
            "env::vars_os",
            "env::args",
            "process::exit",
        ] {
            let found = code.match_indices(name).any(|(index, _)| {
                let after = code.as_bytes().get(index + name.len()).copied().unwrap_or(b' ');
                !is_word(after)
            });
            assert!(!found, "{} uses `{name}`", path.display());
        }
    }
}

#[test]
fn paths_are_found_in_groups_and_not_in_comments_or_strings() {
    let code = "// crate::a\nuse crate::{b::{self, c}, d};\nlet x = \"crate::e\"; crate::f::g(); r#\"crate::h\"#; \
                pub(crate) fn i<'a>(x: &'a str) { mycrate::j(); let k = '\"'; crate::l } /* crate::m */";
    let names: Vec<String> = named_after(&bare(code), "crate::").into_iter().collect();
    assert_eq!(names, ["b", "d", "f", "l"]);
}
