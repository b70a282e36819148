//! The graph of imports between files: which file names items of which other file, and where that goes round in a
//! circle. An import through `pub use` counts as an import of the file that the name comes from.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// The modules on the way to an item, and the item: `["worker", "route", "RouteTable"]`.
type ModulePath = Vec<String>;

/// Files by their modules, and what each of them passes on by `pub use`.
struct Files<'a> {
    sources: &'a [Source],
    by_module: BTreeMap<ModulePath, usize>,
    /// Of each file: the path that a name stands for.
    passed_on: Vec<BTreeMap<String, ModulePath>>,
}

/// The circles of files that import each other, each as the list of its imports (`a.rs → b.rs`). A module may name the
/// modules within it and be named by them; that is no circle.
pub fn cycles(sources: &[Source]) -> Vec<Vec<String>> {
    let files = Files::new(sources);
    let imports: Vec<BTreeSet<usize>> = (0..sources.len()).map(|at| files.imports(at)).collect();
    let named = |circle: Vec<usize>| {
        let pairs = circle
            .iter()
            .flat_map(|from| circle.iter().map(move |to| (*from, *to)));
        let pairs = pairs.filter(|(from, to)| imports[*from].contains(to));
        let pairs =
            pairs.map(|(from, to)| format!("{} → {}", sources[from].path, sources[to].path));
        pairs.collect()
    };
    circles(&imports).into_iter().map(named).collect()
}

impl<'a> Files<'a> {
    fn new(sources: &'a [Source]) -> Files<'a> {
        let modules = sources.iter().map(|source| owned(&source.module()));
        let mut files = Files {
            sources,
            by_module: modules.zip(0..).collect(),
            passed_on: Vec::new(),
        };
        let passed_on = sources.iter().map(|source| {
            let names = source.passed_on().into_iter();
            let names = names.map(|(name, path)| (name, files.absolute(source, path)));
            names.collect()
        });
        files.passed_on = passed_on.collect();
        files
    }

    /// A path from the crate's root, where the first name of a relative one may be a child module of the file.
    fn absolute(&self, source: &Source, path: ModulePath) -> ModulePath {
        let own = owned(&source.module());
        match self.child(&own, &path[0]) {
            Some(_) => [own, path].concat(),
            None => path,
        }
    }

    fn child(&self, module: &[String], name: &str) -> Option<usize> {
        let path = [module, &[name.to_owned()]].concat();
        self.by_module.get(&path).copied()
    }

    /// The other files that a file names, without the modules that it is within.
    fn imports(&self, at: usize) -> BTreeSet<usize> {
        let source = &self.sources[at];
        let own = owned(&source.module());
        let paths = source.imports().into_iter().map(|(_, path)| path);
        let mut paths: Vec<ModulePath> = paths.collect();
        for place in 0..source.tokens.len() {
            let begins = place == 0 || source.token(place - 1) != "::";
            let name = source.token(place);
            if begins && source.token(place + 1) == "::" && self.child(&own, name).is_some() {
                paths.push([own.clone(), vec![name.to_owned()]].concat());
            }
        }
        let files = paths.into_iter().filter_map(|path| self.file_of(path));
        let is_ancestor = |file: usize| own.starts_with(&owned(&self.sources[file].module()));
        files.filter(|file| !is_ancestor(*file)).collect()
    }

    /// The file that defines what a path names.
    fn file_of(&self, mut path: ModulePath) -> Option<usize> {
        // A name may be passed on several times; nothing is passed on in a circle.
        for _ in 0..8 {
            let known = |length: &usize| self.by_module.contains_key(&path[..*length]);
            let length = (1..=path.len()).rev().find(known)?;
            let file = self.by_module[&path[..length]];
            let name = path.get(length);
            match name.and_then(|name| self.passed_on[file].get(name)) {
                Some(target) => path = [target.clone(), path[length + 1..].to_vec()].concat(),
                None => return Some(file),
            }
        }
        None
    }
}

fn owned(path: &[&str]) -> ModulePath {
    path.iter().map(|name| (*name).to_owned()).collect()
}

/// The strongly connected components with more than one node.
fn circles(edges: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let reach: Vec<BTreeSet<usize>> = (0..edges.len()).map(|from| reached(edges, from)).collect();
    let mut circles = Vec::new();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    for at in 0..edges.len() {
        if !reach[at].contains(&at) || seen.contains(&at) {
            continue;
        }
        let members = reach[at].iter().copied();
        let circle: Vec<usize> = members
            .filter(|other| reach[*other].contains(&at))
            .collect();
        seen.extend(&circle);
        circles.push(circle);
    }
    circles
}

/// Everything that is reached from a node by one step or more.
fn reached(edges: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(at) = next.pop() {
        next.extend(edges[at].iter().filter(|to| reached.insert(**to)));
    }
    reached
}

/// The circles of files with these paths and texts.
#[cfg(test)]
fn cycles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let sources = files.iter().map(|(path, text)| Source::new(path, text));
    cycles(&sources.collect::<Vec<_>>())
}

#[test]
fn circles_are_found() {
    let two = cycles_of(&[
        ("net/a.rs", "use super::b::B;\n"),
        ("net/b.rs", "fn f() { crate::net::a::g() }\n"),
    ]);
    assert_eq!(two, [["net/a.rs → net/b.rs", "net/b.rs → net/a.rs"]]);
    let passed_on = cycles_of(&[
        (
            "net/mod.rs",
            "mod a;\nmod b;\npub use self::{a::A, b::{B, C}};\n",
        ),
        ("net/a.rs", "use super::C;\n"),
        ("net/b.rs", "use crate::net::A;\n"),
    ]);
    assert_eq!(passed_on, [["net/a.rs → net/b.rs", "net/b.rs → net/a.rs"]]);
    let through_a_folder = cycles_of(&[
        ("net/tls/mod.rs", "mod step;\nfn f() { step::g() }\n"),
        ("net/tls/step.rs", "use crate::net::socket;\n"),
        ("net/socket.rs", "use crate::net::tls::f;\n"),
    ]);
    assert_eq!(through_a_folder[0].len(), 3);
    let of_three = cycles_of(&[
        ("a.rs", "use crate::b;\n"),
        ("b.rs", "use crate::{c::D, d};\n"),
        ("c.rs", "use crate::a::*;\n"),
        ("d.rs", "use std::fmt;\n"),
    ]);
    assert_eq!(of_three, [["a.rs → b.rs", "b.rs → c.rs", "c.rs → a.rs"]]);
}

#[test]
fn a_folder_is_no_circle() {
    let files = [
        (
            "net/mod.rs",
            "mod a;\nmod deep;\npub use a::A;\nfn f() { deep::g() }\n",
        ),
        ("net/a.rs", "use super::f;\n"),
        ("net/deep/mod.rs", "mod b;\nuse super::A;\n"),
        ("net/deep/b.rs", "use crate::net::{self, A, deep};\n"),
        ("net/deep/tests.rs", "use crate::worker::w;\n"),
        ("worker/mod.rs", "use crate::net::{A, deep::b};\n"),
    ];
    assert_eq!(cycles_of(&files), [[""; 0]; 0]);
}
