//! The pages, taken apart: fenced blocks, headings, links and words in code.

use std::fs;
use std::path::{Path, PathBuf};

/// A page of documentation.
pub struct Page {
    /// The path below the root of the repository.
    pub path: PathBuf,
    pub text: String,
}

/// A fenced block.
pub struct Block {
    /// The words behind the opening fence, such as `sh checked`.
    pub kind: String,
    /// The line of the opening fence, counted from 1.
    pub line: usize,
    pub text: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page in the root, in `docs` and in `bench-scripts`.
pub fn all() -> Vec<Page> {
    let folders = ["", "docs", "bench-scripts"];
    let mut paths: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    assert!(paths.len() > 10, "the pages are found: {paths:?}");
    paths.iter().map(|path| Page::read(path)).collect()
}

impl Page {
    fn read(path: &Path) -> Page {
        Page {
            path: path.strip_prefix(root()).unwrap().to_owned(),
            text: fs::read_to_string(path).unwrap(),
        }
    }

    /// The name of a line of the page in messages.
    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut is_open = false;
        for (index, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), is_open) {
                (Some(kind), false) => blocks.push(Block {
                    kind: kind.to_owned(),
                    line: index + 1,
                    text: String::new(),
                }),
                (None, true) => {
                    let block = blocks.last_mut().expect("an open block is the last one");
                    block.text.push_str(line);
                    block.text.push('\n');
                    continue;
                }
                (Some(_), true) => {}
                (None, false) => continue,
            }
            is_open = !is_open;
        }
        assert!(!is_open, "{}: every block is closed", self.path.display());
        blocks
    }

    /// The lines outside fenced blocks, with their numbers.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_open = false;
        let lines = self.text.lines().enumerate();
        lines
            .filter_map(|(index, line)| {
                let is_fence = line.starts_with("```");
                is_open ^= is_fence;
                (!is_fence && !is_open).then_some((index + 1, line))
            })
            .collect()
    }

    /// Words in backticks that begin and end on one line, with the numbers of their lines.
    pub fn code(&self) -> Vec<(usize, &str)> {
        let prose = self.prose().into_iter();
        let is_whole = |line: &str| line.matches('`').count().is_multiple_of(2);
        prose
            .filter(|(_, line)| is_whole(line))
            .flat_map(|(number, line)| {
                let parts = line.split('`').skip(1).step_by(2);
                parts.map(move |part| (number, part))
            })
            .collect()
    }

    /// The targets of links, with the numbers of their lines.
    pub fn links(&self) -> Vec<(usize, &str)> {
        let prose = self.prose().into_iter();
        prose
            .flat_map(|(number, line)| {
                let targets = line.split("](").skip(1);
                targets.map(move |rest| (number, rest.split(')').next().unwrap_or_default()))
            })
            .collect()
    }

    /// The anchors that a link may name behind `#`: the headings, as the hosting sites write them.
    pub fn anchors(&self) -> Vec<String> {
        let prose = self.prose().into_iter();
        let headings = prose.filter(|(_, line)| line.starts_with('#'));
        headings
            .map(|(_, line)| anchor(line.trim_start_matches('#').trim()))
            .collect()
    }
}

/// A heading's anchor: letters in lower case, digits, `-` and `_` stay, blanks become `-`, and all else goes.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        letter if letter.is_alphanumeric() || "-_".contains(letter) => Some(letter),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

#[test]
fn blocks_links_and_anchors_are_found() {
    let page = Page {
        path: "x.md".into(),
        text: "# A page's `title`, a\n[b](c.md#d) `e`\n```sh checked\n# f\ng\n```\n[h](i)\n".into(),
    };
    let blocks = page.blocks();
    let [block] = &blocks[..] else {
        panic!("one block")
    };
    assert_eq!((&block.kind[..], block.line), ("sh checked", 3));
    assert_eq!(block.text, "# f\ng\n");
    assert_eq!(page.links(), [(2, "c.md#d"), (7, "i")]);
    assert_eq!(page.code(), [(1, "title"), (2, "e")]);
    assert_eq!(page.anchors(), ["a-pages-title-a"]);
}
