//! A source file as the rules see it: its tokens without comments, literals and tests, and the paths that it imports.

use std::fs;
use std::path::Path;

/// The steps of a request that only decide. Each has a module of its own, which imports no other step.
pub const STEPS: [&str; 4] = ["guard", "route", "cache", "balance"];

/// A source file with what the rules look at.
pub struct Source {
    /// Below `src/`.
    pub path: String,
    pub text: String,
    /// Names and signs, each with its line, without those of comments, of literals and of what is compiled for tests
    /// only.
    pub tokens: Vec<(usize, String)>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let is_test =
            path.ends_with("tests.rs") || path.contains("tests/") || path.starts_with("simulated/");
        let code = if is_test {
            String::new()
        } else {
            without_tests(&without_comments_and_literals(text))
        };
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens: tokens(&code),
        }
    }

    /// The modules on the way to the file: `["worker", "route", "tree"]`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').collect()
    }

    pub fn is_below(&self, folders: &[&str]) -> bool {
        folders
            .iter()
            .any(|folder| self.path.starts_with(&format!("{folder}/")))
    }

    pub fn is_decision(&self) -> bool {
        let module = self.module();
        module[0] == "http" || STEPS.contains(&module[0])
    }

    pub fn token(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |(_, token)| token)
    }

    /// Every path within the crate that the file names, from the crate's root.
    pub fn imports(&self) -> Vec<(usize, Vec<String>)> {
        let mut imports = Vec::new();
        for at in 0..self.tokens.len() {
            let begins = at == 0 || self.token(at - 1) != "::";
            let root = match self.token(at) {
                "crate" if self.token(at + 1) == "::" => Vec::new(),
                "super" if begins && self.token(at + 1) == "::" => {
                    let module = self.module();
                    module[..module.len() - 1]
                        .iter()
                        .map(|name| (*name).to_owned())
                        .collect()
                }
                _ => continue,
            };
            let mut paths = Vec::new();
            self.expand(at + 2, root, &mut paths);
            imports.extend(paths.into_iter().map(|path| (self.tokens[at].0, path)));
        }
        imports
    }

    /// The names that `pub use` passes on, each with the path that it stands for.
    pub fn passed_on(&self) -> Vec<(String, Vec<String>)> {
        let mut passed_on = Vec::new();
        for at in (0..self.tokens.len()).filter(|at| self.token(*at) == "use") {
            if at == 0 || !matches!(self.token(at - 1), "pub" | ")") {
                continue;
            }
            let module = self.module();
            let (start, root) = match self.token(at + 1) {
                "crate" => (at + 3, Vec::new()),
                "self" => (at + 3, module),
                "super" => (at + 3, module[..module.len() - 1].to_vec()),
                _ => (at + 1, Vec::new()),
            };
            let root = root.iter().map(|name| (*name).to_owned()).collect();
            let mut paths = Vec::new();
            self.expand(start, root, &mut paths);
            let named = paths
                .into_iter()
                .map(|path| (path.last().unwrap().clone(), path));
            passed_on.extend(named);
        }
        passed_on
    }

    /// Reads a path or a tree of paths; gives the place behind it.
    fn expand(&self, mut at: usize, mut path: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
        loop {
            match self.token(at) {
                "{" => {
                    at += 1;
                    while !matches!(self.token(at), "}" | "") {
                        at = self.expand(at, path.clone(), paths).max(at + 1);
                        while !matches!(self.token(at), "," | "}" | "") {
                            at += 1;
                        }
                        at += usize::from(self.token(at) == ",");
                    }
                    return at + 1;
                }
                "super" => drop(path.pop()),
                name => path.push(name.to_owned()),
            }
            if self.token(at + 1) != "::" {
                paths.push(path);
                return at + 1;
            }
            at += 2;
        }
    }
}

/// Every source file below a folder, named from `root`.
pub fn sources_below(folder: &Path, root: &Path) -> Vec<Source> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut sources = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources.extend(sources_below(&path, root));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            sources.push(Source::new(name, &fs::read_to_string(&path).unwrap()));
        }
    }
    sources
}

/// Blanks comments and what stands between quotes.
pub fn without_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = match &bytes[at..] {
            [b'/', b'/', ..] => until(bytes, at, b"\n"),
            [b'/', b'*', ..] => until(bytes, at, b"*/") + 2,
            [b'r', b'"' | b'#', ..]
                if at == 0 || !is_name_byte(bytes[at - 1]) || bytes[at - 1] == b'b' =>
            {
                raw_string(bytes, at)
            }
            [b'"', ..] => quoted(bytes, at, b'"'),
            [b'\'', b'\\', ..] | [b'\'', _, b'\'', ..] => quoted(bytes, at, b'\''),
            [b'\'', first, ..] if !first.is_ascii() => quoted(bytes, at, b'\''),
            _ => 0,
        };
        if length == 0 {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let end = (at + length).min(bytes.len());
        out.extend(
            bytes[at..end]
                .iter()
                .map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }),
        );
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How many bytes there are before the next `end`.
fn until(bytes: &[u8], at: usize, end: &[u8]) -> usize {
    let found = bytes[at..]
        .windows(end.len())
        .position(|window| window == end);
    found.unwrap_or(bytes.len() - at)
}

/// The length of a raw string, 0 if it is a raw identifier.
fn raw_string(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let start = at + 2 + hashes;
    2 + hashes + until(bytes, start, &end) + end.len()
}

/// The length of a literal in quotes, escapes minded.
fn quoted(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut length = 1;
    while at + length < bytes.len() && bytes[at + length] != quote {
        length += if bytes[at + length] == b'\\' { 2 } else { 1 };
    }
    length + 1
}

/// Blanks the items, fields and arms behind `#[cfg(test)]`. What rustfmt wrote ends with the first line on its own
/// indentation that ends with a brace, a comma or a semicolon.
pub fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut skipping: Option<usize> = None;
    for line in code.lines() {
        let text = line.trim();
        let indentation = line.len() - line.trim_start().len();
        match skipping {
            Some(own) => {
                let ends = text.ends_with(['}', ',', ';']) && !text.starts_with("#[");
                if indentation == own && ends {
                    skipping = None;
                }
            }
            None if text.starts_with("#[cfg(test)]") => skipping = Some(indentation),
            None => out += line,
        }
        out += "\n";
    }
    out
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub fn is_name(token: &str) -> bool {
    token
        .bytes()
        .next()
        .is_some_and(|byte| is_name_byte(byte) && !byte.is_ascii_digit())
}

fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if rest.starts_with("::") => 2,
                _ if first.is_ascii_alphanumeric() || first == '_' => {
                    rest.bytes().take_while(|byte| is_name_byte(*byte)).count()
                }
                _ => first.len_utf8(),
            };
            tokens.push((index + 1, rest[..length].to_owned()));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}
