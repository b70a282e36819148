//! `Cache-Control` (RFC 9111 section 5.2): the directives that a cache knows, read as tolerantly as the RFC asks for,
//! and otherwise on the side of not reusing.

use crate::base::limits::CACHE_DELTA_SECONDS;
use crate::http::fields::{is_token, list, trim};
use crate::http::structured::MemberValue;

/// How far a directive reaches that may name fields (`no-cache`, `private`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The directive is absent.
    #[default]
    Absent,
    /// The directive concerns the fields alone that it names.
    Fields,
    /// The directive concerns the whole response.
    Whole,
}

/// The directives of a response or a request. Times are seconds, at most [`CACHE_DELTA_SECONDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// `max-age`.
    pub max_age: Option<u32>,
    /// `s-maxage`.
    pub s_maxage: Option<u32>,
    /// `stale-while-revalidate` (RFC 5861 section 3).
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error` (RFC 5861 section 4).
    pub stale_if_error: Option<u32>,
    /// `max-stale` of a request; without an argument the largest number.
    pub max_stale: Option<u32>,
    /// `min-fresh` of a request.
    pub min_fresh: Option<u32>,
    /// `no-cache`.
    pub no_cache: Scope,
    /// `private`.
    pub private: Scope,
    /// `no-store`.
    pub is_no_store: bool,
    /// `public`.
    pub is_public: bool,
    /// `must-revalidate`.
    pub is_must_revalidate: bool,
    /// `proxy-revalidate`.
    pub is_proxy_revalidate: bool,
    /// `must-understand`.
    pub is_must_understand: bool,
    /// `immutable` (RFC 8246).
    pub is_immutable: bool,
    /// `only-if-cached` of a request.
    pub is_only_if_cached: bool,
    /// Whether quotes do not close, so that readers may disagree on what the directives are.
    pub has_open_quotes: bool,
}

impl CacheControl {
    /// The directives in all lines of `Cache-Control` of a response.
    pub fn of_response<'v>(lines: impl Iterator<Item = &'v [u8]>) -> CacheControl {
        let mut control = CacheControl::default();
        for directive in lines.flat_map(directives) {
            // RFC 9111 section 4.2.1 (encouraged): invalid freshness makes the response stale.
            control.note(&directive, Some(0));
        }
        control
    }

    /// The directives in all lines of `Cache-Control` of a request, or what `Pragma` says where there is no such line.
    /// A time that is no number is as if absent.
    pub fn of_request<'v>(
        lines: impl Iterator<Item = &'v [u8]>,
        pragma: impl Iterator<Item = &'v [u8]>,
    ) -> CacheControl {
        let mut control = CacheControl::default();
        let mut lines = lines.peekable();
        if lines.peek().is_none() {
            // RFC 9111 section 5.4: `Pragma: no-cache` counts as `Cache-Control: no-cache`.
            let mut members = pragma.flat_map(list);
            if members.any(|member| member.eq_ignore_ascii_case(b"no-cache")) {
                control.no_cache = Scope::Whole;
            }
        }
        for directive in lines.flat_map(directives) {
            control.note(&directive, None);
        }
        control
    }

    /// Adds a directive. `invalid` stands for a time that is no number.
    fn note(&mut self, directive: &Directive<'_>, invalid: Option<u32>) {
        let argument = directive.argument.unwrap_or_default();
        self.has_open_quotes |= argument.starts_with(b"\"");
        let Some(name) = Name::recognise(directive.name) else {
            return;
        };
        let delta = match directive.argument {
            // RFC 9111 section 5.2.1.2: without an argument the client accepts any staleness.
            None if name == Name::MaxStale => Some(CACHE_DELTA_SECONDS),
            Some(text) if !directive.is_malformed => delta_seconds(text),
            _ => None,
        };
        match (self.time(name), name) {
            // RFC 9111 section 4.2.1: of several values the first one is used.
            (Some(time), _) => *time = time.or(delta).or(invalid),
            (None, Name::NoCache | Name::Private) => {
                self.widen(name, directive.scope());
            }
            (None, _) => {
                self.set_flag(name);
            }
        }
    }

    /// Adds a directive of a dictionary (RFC 9213 section 2.1). Returns whether the value has the right type.
    pub fn note_typed(&mut self, name: &str, value: MemberValue<'_>) -> bool {
        let Some(name) = Name::recognise(name.as_bytes()) else {
            return true;
        };
        if let Some(time) = self.time(name) {
            let MemberValue::Integer(secs) = value else {
                return false;
            };
            // RFC 9651 section 4.2.2: of equal keys the last one counts.
            *time = Some(secs.clamp(0, i64::from(CACHE_DELTA_SECONDS)) as u32);
            return true;
        }
        match (name, value) {
            (_, MemberValue::Boolean(false)) => true,
            (_, MemberValue::Boolean(true)) => self.set_flag(name),
            (Name::NoCache | Name::Private, MemberValue::Text(names)) => {
                self.widen(name, scope_of(names.as_bytes()))
            }
            (Name::NoCache | Name::Private, _) => self.widen(name, Scope::Whole),
            _ => false,
        }
    }

    /// Where the time of a directive is kept; `None` for a directive that is no time.
    fn time(&mut self, name: Name) -> Option<&mut Option<u32>> {
        match name {
            Name::MaxAge => Some(&mut self.max_age),
            Name::SMaxage => Some(&mut self.s_maxage),
            Name::StaleWhileRevalidate => Some(&mut self.stale_while_revalidate),
            Name::StaleIfError => Some(&mut self.stale_if_error),
            Name::MaxStale => Some(&mut self.max_stale),
            Name::MinFresh => Some(&mut self.min_fresh),
            _ => None,
        }
    }

    /// Notes a directive that is no time, for the whole message. Returns true.
    fn set_flag(&mut self, name: Name) -> bool {
        match name {
            Name::NoCache => self.no_cache = Scope::Whole,
            Name::Private => self.private = Scope::Whole,
            Name::NoStore => self.is_no_store = true,
            Name::Public => self.is_public = true,
            Name::MustRevalidate => self.is_must_revalidate = true,
            Name::ProxyRevalidate => self.is_proxy_revalidate = true,
            Name::MustUnderstand => self.is_must_understand = true,
            Name::Immutable => self.is_immutable = true,
            Name::OnlyIfCached => self.is_only_if_cached = true,
            _ => {}
        }
        true
    }

    /// Notes how far `no-cache` or `private` reaches. Returns true.
    fn widen(&mut self, name: Name, scope: Scope) -> bool {
        // RFC 9111 section 4.2.1: of conflicting directives the most restrictive one is honoured.
        match name {
            Name::NoCache => self.no_cache = self.no_cache.max(scope),
            _ => self.private = self.private.max(scope),
        }
        true
    }
}

/// The names of the directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `immutable`
    Immutable,
    /// `max-age`
    MaxAge,
    /// `max-stale`
    MaxStale,
    /// `min-fresh`
    MinFresh,
    /// `must-revalidate`
    MustRevalidate,
    /// `must-understand`
    MustUnderstand,
    /// `no-cache`
    NoCache,
    /// `no-store`
    NoStore,
    /// `only-if-cached`
    OnlyIfCached,
    /// `private`
    Private,
    /// `proxy-revalidate`
    ProxyRevalidate,
    /// `public`
    Public,
    /// `s-maxage`
    SMaxage,
    /// `stale-if-error`
    StaleIfError,
    /// `stale-while-revalidate`
    StaleWhileRevalidate,
}

impl Name {
    /// The directive of this name. RFC 9111 section 5.2.3 (MUST): one that the cache does not know is ignored (`None`).
    pub fn recognise(name: &[u8]) -> Option<Name> {
        const NAMES: [(&[u8], Name); 15] = [
            (b"immutable", Name::Immutable),
            (b"max-age", Name::MaxAge),
            (b"max-stale", Name::MaxStale),
            (b"min-fresh", Name::MinFresh),
            (b"must-revalidate", Name::MustRevalidate),
            (b"must-understand", Name::MustUnderstand),
            (b"no-cache", Name::NoCache),
            (b"no-store", Name::NoStore),
            (b"only-if-cached", Name::OnlyIfCached),
            (b"private", Name::Private),
            (b"proxy-revalidate", Name::ProxyRevalidate),
            (b"public", Name::Public),
            (b"s-maxage", Name::SMaxage),
            (b"stale-if-error", Name::StaleIfError),
            (b"stale-while-revalidate", Name::StaleWhileRevalidate),
        ];
        // RFC 9111 section 5.2: names are compared without regard to case.
        let mut names = NAMES.iter();
        names
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, directive)| *directive)
    }
}

/// One directive as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directive<'v> {
    /// The name, in the case in which it was written.
    pub name: &'v [u8],
    /// The argument, without the quotes around it.
    pub argument: Option<&'v [u8]>,
    /// Whether the directive breaks the grammar: blanks around `=`, or quotes that do not close.
    pub is_malformed: bool,
}

impl<'v> Directive<'v> {
    /// How far a `no-cache` or `private` of this form reaches.
    pub fn scope(&self) -> Scope {
        match self.argument {
            Some(argument) if !self.is_malformed => scope_of(argument),
            _ => Scope::Whole,
        }
    }

    /// The names of fields in the argument. None, if the argument is not wholly a list of such names.
    pub fn field_names(&self) -> impl Iterator<Item = &'v [u8]> + use<'v> {
        let argument = self.argument.filter(|_| self.scope() == Scope::Fields);
        list(argument.unwrap_or_default())
    }

    fn read(member: &'v [u8]) -> Directive<'v> {
        let Some(equals) = member.iter().position(|&byte| byte == b'=') else {
            return Directive {
                name: member,
                argument: None,
                is_malformed: !is_token(member),
            };
        };
        let (name, written) = (&member[..equals], &member[equals + 1..]);
        let argument = trim(written);
        let quoted = argument
            .strip_prefix(b"\"")
            .and_then(|text| text.strip_suffix(b"\""));
        // RFC 9111 section 5.2: both a token and a quoted string are accepted.
        let is_whole = quoted.is_some() || is_token(argument);
        Directive {
            name: trim(name),
            argument: Some(quoted.unwrap_or(argument)),
            is_malformed: !is_token(name) || argument.len() != written.len() || !is_whole,
        }
    }
}

/// How far a directive reaches that has this argument: where the argument is not wholly a list of names, it reaches
/// over the whole response.
fn scope_of(argument: &[u8]) -> Scope {
    let mut names = list(argument).peekable();
    if names.peek().is_some() && names.all(is_token) {
        Scope::Fields
    } else {
        Scope::Whole
    }
}

/// The directives in one line of a field; empty members are left out.
pub fn directives(line: &[u8]) -> impl Iterator<Item = Directive<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let end = member_end(rest);
            let member = trim(&rest[..end]);
            rest = rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(Directive::read(member));
            }
        }
    })
}

/// The position of the comma behind the first member, or the end. Commas in a quoted string do not count. Where quotes
/// do not close, the next comma ends the member: what stands behind them may be `no-store`.
fn member_end(text: &[u8]) -> usize {
    let mut is_quoted = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' if is_quoted => is_quoted = false,
            // A quoted string begins behind `=`; elsewhere the sign means nothing.
            b'"' => is_quoted = trim(&text[..at]).ends_with(b"="),
            b'\\' if is_quoted => at += 1,
            b',' if !is_quoted => return at,
            _ => {}
        }
        at += 1;
    }
    let next = || text.iter().position(|&byte| byte == b',');
    let end = if is_quoted { next() } else { None };
    end.unwrap_or(text.len())
}

/// Reads a number of seconds. `None`: the text is not wholly of digits.
pub fn delta_seconds(text: &[u8]) -> Option<u32> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    // RFC 9111 section 1.2.2 (MUST): a number that is too large counts as the largest one.
    is_number.then(|| {
        text.iter().fold(0u32, |number, digit| {
            let number = number
                .saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'));
            number.min(CACHE_DELTA_SECONDS)
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[&str]) -> CacheControl {
        CacheControl::of_response(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn lifetimes_table() {
        // RFC 9111 sections 1.2.2 (MUST), 4.2.1 and 5.2: numbers saturate, names have no case, quotes are accepted, of
        // several values the first counts, and an invalid one makes the response stale.
        let rows: [(&[&str], Option<u32>); 22] = [
            (&[], None),
            // RFC 9111 section 5.2.3 (MUST): unknown directives are ignored.
            (&["foo, no-transform"], None),
            (&["max-age=60"], Some(60)),
            (&["MaX-aGe=60"], Some(60)),
            (&["foo, max-age=60"], Some(60)),
            (&["max-age=\"60\""], Some(60)),
            (&["max-age=003600"], Some(3_600)),
            (&["max-age=2147483647"], Some(CACHE_DELTA_SECONDS - 1)),
            (&["max-age=2147483649"], Some(CACHE_DELTA_SECONDS)),
            (
                &["max-age=99999999999999999999999"],
                Some(CACHE_DELTA_SECONDS),
            ),
            (&["max-age=1800, max-age=1"], Some(1_800)),
            (&["max-age=1", "max-age=1800"], Some(1)),
            (&["max-age=x, max-age=1800"], Some(0)),
            (&["extension=\"max-age=3600\", max-age=1"], Some(1)),
            (&["max-age=1, extension=\"max-age=3600\""], Some(1)),
            (&["max-age=-1"], Some(0)),
            (&["max-age"], Some(0)),
            (&["max-age="], Some(0)),
            (&["max-age='60'"], Some(0)),
            (&["max-age=60.0"], Some(0)),
            (&["max-age =60"], Some(0)),
            (&["max-age= 60"], Some(0)),
        ];
        for (lines, expected) in rows {
            assert_eq!(of(lines).max_age, expected, "{lines:?}");
        }
    }

    #[test]
    fn scopes_table() {
        let rows = [
            ("max-age=1", Scope::Absent),
            ("no-cache", Scope::Whole),
            ("No-CaChE", Scope::Whole),
            ("no-cache=\"a, b\"", Scope::Fields),
            ("no-cache=a", Scope::Fields),
            ("no-cache=\"\"", Scope::Whole),
            ("no-cache=", Scope::Whole),
            ("no-cache=\"a b\"", Scope::Whole),
            ("no-cache=\"a\\b\"", Scope::Whole),
            ("no-cache=\"a", Scope::Whole),
            ("no-cache=\"a\", no-cache", Scope::Whole),
            ("no-cache, no-cache=\"a\"", Scope::Whole),
        ];
        for (line, expected) in rows {
            assert_eq!(of(&[line]).no_cache, expected, "{line}");
            let private = line.to_lowercase().replace("no-cache", "private");
            assert_eq!(of(&[&private]).private, expected, "{private}");
        }
    }

    #[test]
    fn flags_are_read_whatever_stands_beside_them() {
        let line = "a;b, no-store=x, ,must-revalidate,\tproxy-revalidate , public, immutable, \
                    must-understand, stale-while-revalidate=5, stale-if-error=x, s-maxage=7";
        let read = of(&[line]);
        let flags = [
            read.is_no_store,
            read.is_must_revalidate,
            read.is_proxy_revalidate,
            read.is_public,
            read.is_immutable,
            read.is_must_understand,
        ];
        assert_eq!(flags, [true; 6]);
        let times = [
            read.stale_while_revalidate,
            read.stale_if_error,
            read.s_maxage,
        ];
        assert_eq!(times, [Some(5), Some(0), Some(7)]);
        assert!(!read.has_open_quotes);
    }

    #[test]
    fn open_quotes_hide_no_directive() {
        let read = of(&["foo=\"a, no-store, max-age=5"]);
        assert!(read.is_no_store && read.has_open_quotes);
        let closed = of(&["foo=\"a, no-store\", max-age=5"]);
        assert!(!closed.is_no_store && !closed.has_open_quotes);
        let literal = of(&["foo=\"a\\\", no-store\", a\"b, private"]);
        assert!(!literal.is_no_store && literal.private == Scope::Whole);
    }

    #[test]
    fn requests_table() {
        let of = |control: &[&'static str], pragma: &[&'static str]| {
            let lines = control.iter().map(|line| line.as_bytes());
            CacheControl::of_request(lines, pragma.iter().map(|line| line.as_bytes()))
        };
        assert_eq!(of(&["max-age=x, min-fresh=5"], &[]).max_age, None);
        assert_eq!(of(&["min-fresh=5"], &[]).min_fresh, Some(5));
        assert_eq!(of(&["max-stale"], &[]).max_stale, Some(CACHE_DELTA_SECONDS));
        assert_eq!(of(&["max-stale=5"], &[]).max_stale, Some(5));
        assert_eq!(of(&["max-stale=x"], &[]).max_stale, None);
        assert!(of(&["only-if-cached"], &[]).is_only_if_cached);
        // RFC 9111 section 5.4: Pragma counts only where there is no Cache-Control.
        assert_eq!(of(&[], &["x", "y, No-Cache"]).no_cache, Scope::Whole);
        assert_eq!(of(&["max-age=5"], &["no-cache"]).no_cache, Scope::Absent);
        assert_eq!(of(&[], &["no-store"]), CacheControl::default());
    }

    proptest! {
        #[test]
        fn numbers_saturate(number in any::<u128>()) {
            let expected = number.min(u128::from(CACHE_DELTA_SECONDS)) as u32;
            prop_assert_eq!(delta_seconds(number.to_string().as_bytes()), Some(expected));
        }

        #[test]
        fn no_store_is_never_overlooked(before in "[ -~]{0,30}", after in "[ -~]{0,30}") {
            // A closed quoted string alone may hide the directive.
            prop_assume!(!before.contains('"'));
            let line = format!("{before},no-store,{after}");
            prop_assert!(of(&[&line]).is_no_store);
        }

        #[test]
        fn any_bytes_are_read(line in prop::collection::vec(any::<u8>(), 0..64)) {
            let count = directives(&line).count();
            prop_assert!(count <= line.len());
        }
    }
}
