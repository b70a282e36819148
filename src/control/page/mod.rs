//! The live page: one document without outside assets, put together from the files beside this one. It is fed by
//! `/events` and changes things through the same API as everybody else.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");
/// One classic script, in the order in which its parts build on each other.
const SCRIPT: &str = concat!(
    "'use strict';\n",
    include_str!("script/words.js"),
    include_str!("script/admin.js"),
    include_str!("script/charts.js"),
    include_str!("script/backends.js"),
    include_str!("script/panels.js"),
    include_str!("script/cache.js"),
    include_str!("script/actions.js"),
    include_str!("script/start.js"),
);
const BODY: &str = include_str!("index.html");
/// An eye in a stone, so that a tab is found among many.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E\
%3Ccircle cx='12' cy='12' r='11' fill='%231d4ed8'/%3E\
%3Cpath d='M4 12C6.4 8 9 6.2 12 6.2s5.6 1.8 8 5.8c-2.4 4-5 5.8-8 5.8S6.4 16 4 12Z' fill='%23fff'/%3E\
%3Ccircle cx='12' cy='12' r='3.2' fill='%231d4ed8'/%3E%3C/svg%3E";

static PAGE: LazyLock<(String, String)> = LazyLock::new(|| (document(), policy()));

/// The page, as `text/html; charset=utf-8`, and the `Content-Security-Policy` to send with it: nothing but the page's
/// own style and script runs, named by their hashes (Content Security Policy Level 3, section 2.3.1), and nothing but
/// palantir itself is spoken to.
pub fn page() -> (&'static str, &'static str) {
    let (html, policy) = &*PAGE;
    (html, policy)
}

fn document() -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>palantir</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"{ICON}\">\n<style>{STYLE}</style>\n</head>\n{BODY}\
         <script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

fn policy() -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

fn hash(text: &str) -> String {
    format!(
        "sha256-{}",
        BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text between two marks, each of which stands there once.
    fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
        assert_eq!(text.matches(begin).count(), 1, "{begin}");
        let (_, rest) = text.split_once(begin).unwrap();
        rest.split_once(end).unwrap().0
    }

    #[test]
    fn the_policy_allows_exactly_what_the_page_holds() {
        let (html, policy) = page();
        for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
            let text = between(html, &format!("<{element}>"), &format!("</{element}>"));
            let allowed = format!("{directive} '{}';", hash(text));
            assert!(policy.contains(&allowed), "{allowed} is not in {policy}");
        }
    }

    /// FIPS 180-4 via RFC 6234, section 8.5: the digest of "abc".
    #[test]
    fn hashes_are_sha256_in_base64() {
        assert_eq!(
            hash("abc"),
            "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
        );
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_is_set_as_markup() {
        let (html, _) = page();
        let unwanted = [
            "<script src",
            "<link rel=\"stylesheet\"",
            "@import",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=\"",
            " onclick",
        ];
        for text in unwanted {
            assert!(!html.contains(text), "{text}");
        }
        let names_of_vocabularies = html.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(html.matches("http://").count(), names_of_vocabularies);
        assert_eq!(html.matches("https://").count(), 0);
    }
}
