//! The form of the pages: short lines, a short README, links that lead somewhere.

use std::fs;

use super::pages::{all, root};

/// Columns of a line of text; a line of a table, or with a link, may be longer.
const COLUMNS: usize = 120;

#[test]
fn the_readme_is_read_in_one_sitting() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.lines().count() <= 150, "{}", text.lines().count());
}

#[test]
fn lines_are_short() {
    for page in all() {
        for (number, line) in page.prose() {
            let may_be_long = line.starts_with('|') || line.contains("](");
            let columns = line.chars().count();
            assert!(
                may_be_long || columns <= COLUMNS,
                "{}: {columns}",
                page.at(number)
            );
        }
    }
}

#[test]
fn links_lead_to_files_and_headings() {
    let pages = all();
    let mut count = 0;
    for page in &pages {
        let folder = page.path.parent().unwrap();
        for (number, link) in page.links() {
            if link.starts_with("https://") {
                continue;
            }
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&page.path),
                file => root().join(folder).join(file),
            };
            let target = target.canonicalize();
            let target =
                target.unwrap_or_else(|error| panic!("{}: {link}: {error}", page.at(number)));
            let linked = pages.iter().find(|other| target.ends_with(&other.path));
            let has_anchor =
                |name: &str| linked.unwrap().anchors().iter().any(|known| known == name);
            assert!(
                anchor.is_empty() || has_anchor(anchor),
                "{}: {link}",
                page.at(number)
            );
        }
    }
    assert!(count > 30, "the links are found: {count}");
}

#[test]
fn the_readme_leads_to_every_page_of_docs() {
    let pages = all();
    let readme = pages.iter().find(|page| {
        page.path.ends_with("README.md") && page.path.parent().unwrap().as_os_str().is_empty()
    });
    let links = readme.unwrap().links();
    for page in pages.iter().filter(|page| page.path.starts_with("docs")) {
        let path = page.path.to_str().unwrap();
        assert!(links.iter().any(|(_, link)| *link == path), "{path}");
    }
}
