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
            // RFC 9111 section 5.4 (SHOULD of RFC 7234): `Pragma: no-cache` counts as `Cache-Control: no-cache`.
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
        // RFC 9111 section 4.2.1 (SHOULD): of conflicting directives the most restrictive one is honoured.
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
    /// The directive of this name. `None`: one that the cache does not know, and ignores (RFC 9111 section 5.2.3).
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
        // RFC 9111 section 5.2 (MUST for recipients): both a token and a quoted string are accepted.
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
    match is_quoted {
        true => text
            .iter()
            .position(|&byte| byte == b',')
            .unwrap_or(text.len()),
        false => text.len(),
    }
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
