//! What no compiler checks: which file may import which, how long files and functions are, what README,
//! crate page and manifest say about features, and words that do not belong into the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules of the crate, and what each may import of it. `cli` is outside: it uses the crate as any user does.
const MODULES: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("contain", &[]),
    ("durability", &[]),
    ("generation", &[]),
    ("journal", &["buffer", "store", "clock", "durability"]),
    ("tier", &["clock", "durability", "generation"]),
    (
        "write_behind",
        &["journal", "buffer", "store", "tier", "clock", "durability"],
    ),
    (
        "chain",
        &[
            "write_behind",
            "tier",
            "clock",
            "contain",
            "durability",
            "generation",
        ],
    ),
    (
        "dogpile",
        &["tier", "lease", "clock", "contain", "generation"],
    ),
    ("lease", &["clock"]),
    (
        "auto_refresh",
        &["tier", "clock", "contain", "durability", "generation"],
    ),
    ("store", &[]),
    ("buffer", &["store"]),
    ("cli", &[]),
    ("bin", &[]),
];

/// The files of `src/buffer`, from the top down: imports go down only, never up and never sideways.
const BUFFER: &[&[&str]] = &[
    &["segment"],
    &["open", "write", "take", "walk", "close"],
    &["salvage", "image"],
    &["recover"],
    &["search", "backward"],
    &["forward", "deque", "options"],
    &["block"],
    &["check", "header"],
    &["format", "io", "random"],
    &["error", "control"],
    &["report", "crc"],
];

/// Further files of the handle in `mod.rs`: they import what it defines.
const HANDLE: &[&[&str]] = &[BUFFER[0], BUFFER[1]];

/// The files of `src/journal`, likewise.
const JOURNAL: &[&[&str]] = &[
    &["json", "open", "asynchronous", "reader"],
    &["state", "publish"],
    &["events"],
    &["follow"],
    &["verify", "replay"],
    &["committer"],
    &["queue"],
    &["group"],
    &["recover"],
    &["writer"],
    &["mark"],
    &["cursor"],
    &["read"],
    &["chain"],
    &["files"],
    &["trace", "untraced"],
    &["options", "stats", "sync"],
    &["error"],
    &["snapshot"],
];

/// Those of them that stand on the journal's handle in `mod.rs`.
const ON_THE_JOURNAL: &[&str] = &["open", "asynchronous", "state", "publish", "events"];

/// The files of `src/write_behind`, likewise.
const WRITE_BEHIND: &[&[&str]] = &[
    &["worker", "behind"],
    &["engine"],
    &["inventory", "options", "redb"],
    &["ledger"],
    &["log", "place", "stripes", "stats"],
    &["debts"],
    &["error"],
    &["record", "sink"],
    &["batch", "json"],
];

/// The files of `src/store`, likewise. All of them may import `mod.rs`, which holds the trait.
const STORE: &[&[&str]] = &[
    &["conformance"],
    &["fault"],
    &["directory"],
    &["file", "string", "mmap"],
];

/// The files of `src/tier`, likewise: layers and leaves stand beside each other, on the trait in `mod.rs`.
const TIER: &[&[&str]] = &[
    &["conformance", "facade"],
    &[
        "bounded", "guarded", "metered", "timeout", "logged", "memory", "file", "redb",
    ],
    &["judge", "turns", "boxed"],
    &["entry"],
    &["key"],
    &["error"],
];

/// The files of `src/chain`, likewise.
const CHAIN: &[&[&str]] = &[
    &["options"],
    &["write", "fill", "end"],
    &["state"],
    &["level", "report", "version", "contain"],
];

/// The files of `src/lease`, likewise.
const LEASE: &[&[&str]] = &[
    &["conformance"],
    &["memory", "file"],
    &["boxed"],
    &["held", "fence", "lock"],
    &["error"],
];

/// The files of `src/dogpile`, likewise.
const DOGPILE: &[&[&str]] = &[
    &["cached", "swap"],
    &["create"],
    &["asynchronous", "blocking"],
    &["shelf", "enter"],
    &["elected"],
    &["shared"],
    &["options", "stats"],
    &["flight"],
    &["answer"],
    &["error", "decide", "pool", "registry"],
    &["readers"],
];

/// The files of `src/auto_refresh`, likewise.
const AUTO_REFRESH: &[&[&str]] = &[
    &["facade", "options"],
    &["save", "worker"],
    &["shared"],
    &["items"],
    &["batch", "owed", "shelf", "report"],
    &["contain", "counts", "error", "rate", "signal"],
];

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

/// The files of the project, by their paths from its root: those git knows or would add, or all there are.
fn files() -> Vec<String> {
    let git = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard"])
        .current_dir(root())
        .output();
    let listed = git.ok().filter(|git| git.status.success());
    let listed = listed.and_then(|git| String::from_utf8(git.stdout).ok());
    let mut files: Vec<String> = match listed {
        Some(list) if !list.is_empty() => list.lines().map(str::to_owned).collect(),
        _ => {
            let mut found = Vec::new();
            walk(root(), &mut found);
            found
        }
    };
    files.retain(|path| root().join(path).is_file());
    files.sort();
    files
}

fn walk(dir: &Path, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        match name.unwrap_or_default() {
            ".git" | "target" | "corpus" | "artifacts" | "Cargo.lock" => {}
            _ if path.is_dir() => walk(&path, found),
            _ => found.extend(relative(&path)),
        }
    }
}

fn relative(path: &Path) -> Option<String> {
    let path = path.strip_prefix(root()).ok()?;
    let parts: Option<Vec<_>> = path.iter().map(|part| part.to_str()).collect();
    Some(parts?.join("/"))
}

/// Every Rust file under `src`, without the tests at its foot.
fn sources() -> BTreeMap<String, String> {
    let sources: BTreeMap<_, _> = files()
        .into_iter()
        .filter(|path| path.starts_with("src/") && path.ends_with(".rs"))
        .map(|path| {
            let text = read(&path);
            let code = text.split("\n#[cfg(test)]\nmod ").next();
            let code = code.unwrap_or_default().to_owned();
            (path, code)
        })
        .collect();
    assert!(sources.contains_key("src/lib.rs"), "the sources are there");
    sources
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Lines of code with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !is_comment(line))
        .map(|(at, line)| (at + 1, line))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The first names behind `prefix` in every `use` of it and in every path in the code.
fn names_behind<'t>(text: &'t str, prefix: &str) -> BTreeSet<&'t str> {
    let mut names = BTreeSet::new();
    let starts = text.match_indices(prefix).map(|(at, _)| at);
    for at in starts {
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        if is_comment(&text[line..]) {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => names.extend(heads(list)),
            None => names.extend(words(rest).next()),
        }
    }
    names.retain(|name| !name.is_empty() && *name != "self");
    names
}

/// The first name of each part of a list in braces.
fn heads(list: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut heads) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(words(list[begin..at].trim_start()).next());
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

/// `src/a/b/c.rs` is in module `a`, in its file `b`.
fn place(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts = path.split('/');
    let module = parts.next().unwrap_or_default();
    (module, parts.next().unwrap_or("mod"))
}

#[test]
fn modules_import_only_what_lies_below() {
    for (path, text) in sources() {
        let (module, _) = place(&path);
        if path == "src/lib.rs" {
            continue;
        }
        let known = MODULES.iter().find(|(name, _)| *name == module);
        let (_, below) = known.unwrap_or_else(|| panic!("{path}: give it a place in MODULES"));
        for name in names_behind(&text, "crate::") {
            let other = MODULES.iter().any(|(known, _)| *known == name);
            let fine = !other || name == module || below.contains(&name);
            assert!(fine, "{path} imports {name}, which is not below {module}");
        }
    }
}

fn check_order(module: &str, order: &[&[&str]], may_use_mod: &dyn Fn(&str) -> bool) {
    let level = |file: &str| order.iter().position(|files| files.contains(&file));
    let mut seen = BTreeSet::new();
    for (path, text) in sources() {
        let (own, file) = place(&path);
        // What is deeper belongs to its file, and minds its own order.
        if own != module || file == "mod" || path.matches('/').count() > 2 {
            continue;
        }
        seen.insert(file.to_owned());
        let from = level(file).unwrap_or_else(|| panic!("{path}: give it a place in the order"));
        for name in names_behind(&text, "super::") {
            match level(name) {
                Some(to) => assert!(from < to, "{path} imports {name}: not below it"),
                None => assert!(may_use_mod(file), "{path} imports {name} from mod.rs"),
            }
        }
    }
    for file in order.iter().copied().flatten() {
        assert!(seen.contains(*file), "{module}/{file}.rs is gone");
    }
}

#[test]
fn files_of_the_buffer_import_downwards() {
    check_order("buffer", BUFFER, &|file| {
        HANDLE.iter().any(|files| files.contains(&file))
    });
}

#[test]
fn files_of_the_journal_import_downwards() {
    check_order("journal", JOURNAL, &|file| ON_THE_JOURNAL.contains(&file));
}

#[test]
fn files_of_write_behind_import_downwards() {
    check_order("write_behind", WRITE_BEHIND, &|_| false);
}

#[test]
fn files_of_the_store_import_downwards() {
    check_order("store", STORE, &|_| true);
}

#[test]
fn files_of_the_tier_import_downwards() {
    check_order("tier", TIER, &|_| true);
}

#[test]
fn files_of_a_chain_import_downwards() {
    check_order("chain", CHAIN, &|file| file == "options");
}

#[test]
fn files_of_a_lease_import_downwards() {
    check_order("lease", LEASE, &|_| true);
}

#[test]
fn files_of_a_dogpile_import_downwards() {
    check_order("dogpile", DOGPILE, &|file| file == "asynchronous");
}

#[test]
fn files_of_a_cache_that_refreshes_itself_import_downwards() {
    check_order("auto_refresh", AUTO_REFRESH, &|file| file == "options");
}

#[test]
fn files_of_the_tool_import_in_no_circle() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        if let ("cli", file) = place(&path)
            && file != "mod"
        {
            let names = names_behind(&text, "super::").into_iter();
            imports.insert(file.to_owned(), names.map(str::to_owned).collect());
        }
    }
    // Whoever imports nobody that is left goes, until nobody is left.
    while !imports.is_empty() {
        let left: BTreeSet<_> = imports.keys().cloned().collect();
        imports.retain(|_, names| names.iter().any(|name| left.contains(name)));
        assert!(imports.len() < left.len(), "a circle: {imports:?}");
    }
}

#[test]
fn the_tool_uses_the_crate_as_any_user_does() {
    for (path, text) in sources() {
        if let ("cli" | "bin", _) = place(&path) {
            let names = names_behind(&text, "crate::");
            assert!(names.iter().all(|name| *name == "cli"), "{path}: {names:?}");
        }
    }
}

#[test]
fn files_and_functions_stay_short() {
    for (path, text) in sources() {
        let lines = code(&text).filter(|(_, line)| !line.trim().is_empty());
        let lines = lines.count();
        assert!(lines <= MAX_FILE_LINES, "{path}: {lines} lines of code");
        let all: Vec<&str> = text.lines().collect();
        for (at, line) in all.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let function = !is_comment(line) && words(line.trim_start()).any(|word| word == "fn");
            if !function || line.trim_end().ends_with(['}', ';', ',']) {
                continue;
            }
            // As rustfmt sets it, a body ends at the first `}` that is no deeper than its `fn`.
            let end = all[at..].iter().position(|line| {
                line.trim_start().starts_with('}') && line.len() - line.trim_start().len() == indent
            });
            let length = end.map_or(0, |end| end + 1);
            let name = line.trim();
            assert!(
                length <= MAX_FUNCTION_LINES,
                "{path}: {name} has {length} lines"
            );
        }
    }
}

#[test]
fn words_that_do_not_belong() {
    let banned = ["TODO", "FIXME", "XXX"].map(str::to_owned);
    let calls = [".unwrap()", "dbg!", "todo!", "unimplemented!"];
    for (path, text) in sources() {
        for (at, line) in text.lines().enumerate() {
            let found = words(line).find(|word| banned.iter().any(|banned| banned == word));
            assert_eq!(found, None, "{path}:{}", at + 1);
        }
        for (at, line) in code(&text) {
            let found = calls.iter().find(|call| line.contains(**call));
            assert_eq!(found, None, "{path}:{at}");
        }
    }
}

#[test]
fn only_the_memory_map_is_unsafe() {
    for (path, text) in sources() {
        for (at, line) in code(&text) {
            let found = words(line).any(|word| word == "unsafe");
            assert!(!found || path == "src/store/mmap.rs", "{path}:{at}");
        }
    }
}

#[test]
fn features_gate_modules_only() {
    for (path, text) in sources() {
        assert!(!text.contains("cfg!(feature"), "{path}");
        let lines: Vec<_> = code(&text).collect();
        for (index, (at, line)) in lines.iter().enumerate() {
            if !line.contains("cfg(") || !line.contains("feature =") {
                continue;
            }
            let gated = lines[index + 1..].iter().map(|(_, line)| line.trim_start());
            let gated = gated.clone().find(|line| !line.starts_with("#["));
            let gated = gated.unwrap_or_default();
            let gated_by = ["mod ", "pub mod ", "pub(crate) mod "];
            let module = gated_by.iter().any(|start| gated.starts_with(start));
            assert!(module && gated.ends_with(';'), "{path}:{at}: {gated}");
        }
    }
}

#[test]
fn the_library_reads_no_clock() {
    for (path, text) in sources() {
        let outside = matches!(place(&path), ("cli" | "bin" | "clock", _));
        for (at, line) in code(&text) {
            let clock = words(line).any(|word| matches!(word, "Instant" | "SystemTime"));
            assert!(outside || !clock, "{path}:{at}");
        }
    }
}

#[test]
fn no_file_names_a_machine() {
    // Put together, so that this file does not hold them.
    let places = ["home", "root", "work", "tmp"].map(|dir| format!("/{dir}/"));
    let hosts = ["sparse+", "registry+"].map(|scheme| format!("{scheme}http"));
    for path in files() {
        // What is not text has no words.
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            continue;
        };
        for (at, line) in text.lines().enumerate() {
            let found = places
                .iter()
                .chain(&hosts)
                .find(|word| line.contains(*word));
            assert_eq!(found, None, "{path}:{}", at + 1);
        }
    }
}

/// The lines of the first block fenced as `language`, and the number of its first line.
fn block<'t>(text: &'t str, language: &str) -> (usize, Vec<&'t str>) {
    let fence = format!("```{language}");
    let begin = text
        .lines()
        .position(|line| line == fence)
        .expect("a block");
    let lines = text.lines().skip(begin + 1);
    (begin + 1, lines.take_while(|line| *line != "```").collect())
}

#[test]
fn the_readme_is_short_and_begins_with_what_matters() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 170);
    let (line, _) = block(&readme, "rust");
    assert!(line <= 20, "the first example begins at line {line}");
    let (_, commands) = block(&readme, "sh");
    // One for the main job, one for the tests: `.ci/run` runs both.
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(commands[1].starts_with("cargo test"), "{commands:?}");
}

/// The names in backquotes of a table's column, below the header that begins like this.
fn column(text: &str, header: &str, column: usize) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.trim_start_matches("//! "));
    let rows = lines.skip_while(|line| !line.starts_with(header)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(column + 1));
    cells
        .filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_feature_tables_are_those_of_the_manifest() {
    let manifest = read("Cargo.toml");
    let features = manifest.lines().skip_while(|line| *line != "[features]");
    let features: BTreeSet<String> = features
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = ["))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name != "default" && !name.starts_with('#'))
        .collect();
    assert!(!features.is_empty());
    assert_eq!(column(&read("README.md"), "| feature |", 0), features);
    assert_eq!(column(&read("src/lib.rs"), "| module |", 1), features);
}

/// The page on durability names a test for what it promises.
#[test]
fn every_test_that_is_named_is_there() {
    for page in ["src/durability.md", "tests/README.md"] {
        let text = read(page);
        let named = text.split('`').filter_map(|name| name.split_once("::"));
        for (file, test) in named.filter(|(file, _)| file.starts_with(char::is_lowercase)) {
            let path = format!("tests/{file}.rs");
            if root().join(&path).is_file() {
                let found = read(&path).contains(&format!("fn {test}("));
                assert!(found, "{page}: {file}::{test}");
            } else {
                assert_eq!(page, "tests/README.md", "{page}: {path}");
            }
        }
    }
}

#[test]
fn every_file_that_is_named_is_there() {
    for (path, text) in sources() {
        for name in text.split('`').filter(|name| name.ends_with(".md")) {
            let here = PathBuf::from(&path).with_file_name(name);
            let there = [root().join(name), root().join(here)];
            assert!(there.iter().any(|file| file.is_file()), "{path}: {name}");
        }
    }
}
