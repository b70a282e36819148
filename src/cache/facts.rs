//! The facts of a stored response that decide when it may be reused, in a form that is copied and kept beside the
//! entry.

use std::ops::{BitOr, BitOrAssign};

/// Where the freshness lifetime of a response comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LifetimeSource {
    /// Nothing tells a lifetime.
    #[default]
    None,
    /// `max-age` or `s-maxage` of a field that is meant for caches of this kind (RFC 9213).
    Targeted,
    /// `s-maxage` of `Cache-Control`.
    SMaxage,
    /// `max-age` of `Cache-Control`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// The operator's lifetime for the status.
    Configured,
    /// The time since `Last-Modified` (RFC 9111 section 4.2.2).
    Heuristic,
}

impl LifetimeSource {
    /// The sources that a stored response itself may have, by the number under which it is kept.
    const KEPT: [LifetimeSource; 5] = [
        LifetimeSource::None,
        LifetimeSource::Targeted,
        LifetimeSource::SMaxage,
        LifetimeSource::MaxAge,
        LifetimeSource::Expires,
    ];

    /// The label for `Cache-Status`, metrics and `palantir explain`.
    pub const fn label(self) -> &'static str {
        match self {
            LifetimeSource::None => "none",
            LifetimeSource::Targeted => "targeted",
            LifetimeSource::SMaxage => "s_maxage",
            LifetimeSource::MaxAge => "max_age",
            LifetimeSource::Expires => "expires",
            LifetimeSource::Configured => "configured",
            LifetimeSource::Heuristic => "heuristic",
        }
    }
}

/// A set of properties of a stored response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// `no-cache` for the whole response.
    pub const NO_CACHE: Flags = Flags(1);
    /// `must-revalidate` or `proxy-revalidate`.
    pub const REVALIDATE: Flags = Flags(1 << 1);
    /// `must-revalidate`, which permits storing in spite of `Authorization`.
    pub const MUST_REVALIDATE: Flags = Flags(1 << 2);
    /// `s-maxage`.
    pub const S_MAXAGE: Flags = Flags(1 << 3);
    /// `public`.
    pub const PUBLIC: Flags = Flags(1 << 4);
    /// `immutable` (RFC 8246).
    pub const IMMUTABLE: Flags = Flags(1 << 5);
    /// `private` for the whole response.
    pub const PRIVATE: Flags = Flags(1 << 6);
    /// `no-store` that counts: there is no `must-understand`, or the status is not understood.
    pub const NO_STORE: Flags = Flags(1 << 7);
    /// `Set-Cookie`.
    pub const SET_COOKIE: Flags = Flags(1 << 8);
    /// An entity tag or a date of the last change, by which the response can be validated.
    pub const VALIDATOR: Flags = Flags(1 << 9);
    /// The request had a cookie, `Authorization` or an identity.
    pub const PERSONAL: Flags = Flags(1 << 10);
    /// The request had `Authorization` or an identity.
    pub const AUTHORIZED: Flags = Flags(1 << 11);
    /// The body is a part of the representation, and the head has a `Content-Range` (RFC 9111 section 3.3).
    pub const PARTIAL: Flags = Flags(1 << 12);

    /// Whether all of these properties are there.
    pub const fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The properties if `is_so`, else none.
    pub fn when(self, is_so: bool) -> Flags {
        if is_so { self } else { Flags::default() }
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

/// The facts of a stored response that decide when it may be reused. Settings are not part of them, so that a change of
/// settings is in force at the next look-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryFacts {
    /// When the response arrived, in milliseconds since 1970.
    pub received: u64,
    /// The age that the response had when it arrived (`corrected_initial_age` of RFC 9111 section 4.2.3), in
    /// milliseconds.
    pub initial_age: u64,
    /// When the backend made the response by its own clock (`Date`), in seconds since 1970; the time of arrival where
    /// there is no date.
    pub date: i64,
    /// The lifetime that the response names, in seconds; `source` tells whether it names one.
    pub explicit: u32,
    /// Where `explicit` comes from.
    pub source: LifetimeSource,
    /// The time from `Last-Modified` to `Date`, in seconds; 0 where there is none.
    pub unmodified: u32,
    /// `stale-while-revalidate` of the response, in seconds.
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error` of the response, in seconds.
    pub stale_if_error: Option<u32>,
    /// The status code.
    pub status: u16,
    /// The properties.
    pub flags: Flags,
}

impl EntryFacts {
    /// The size of the form in which facts are kept.
    pub const BYTES: usize = 48;

    const FORMAT: u8 = 1;

    /// The lifetime that the response itself names, in seconds.
    pub fn explicit(&self) -> Option<u32> {
        (self.source != LifetimeSource::None).then_some(self.explicit)
    }

    /// Whether the response can be validated.
    pub fn has_validator(&self) -> bool {
        self.flags.has(Flags::VALIDATOR)
    }

    /// Whether the response permits reuse although a request with `Authorization` or an identity got it.
    pub fn permits_sharing(&self) -> bool {
        // RFC 9111 section 3.5: must-revalidate, public and s-maxage permit it.
        let permissions = [Flags::MUST_REVALIDATE, Flags::PUBLIC, Flags::S_MAXAGE];
        permissions.into_iter().any(|flag| self.flags.has(flag))
    }

    /// The facts in the form in which they are kept.
    pub fn to_bytes(&self) -> [u8; EntryFacts::BYTES] {
        let mut bytes = [0; EntryFacts::BYTES];
        bytes[0..8].copy_from_slice(&self.received.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.initial_age.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.date.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.explicit.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.unmodified.to_le_bytes());
        let window = |seconds: Option<u32>| seconds.unwrap_or(u32::MAX).to_le_bytes();
        bytes[32..36].copy_from_slice(&window(self.stale_while_revalidate));
        bytes[36..40].copy_from_slice(&window(self.stale_if_error));
        bytes[40..42].copy_from_slice(&self.status.to_le_bytes());
        bytes[42..44].copy_from_slice(&self.flags.0.to_le_bytes());
        let mut sources = LifetimeSource::KEPT.iter();
        let source = sources.position(|source| *source == self.source);
        bytes[44] = source.unwrap_or_default() as u8;
        bytes[45] = EntryFacts::FORMAT;
        bytes
    }

    /// The facts that were kept. `None`: the bytes are none of this format.
    pub fn from_bytes(bytes: &[u8; EntryFacts::BYTES]) -> Option<EntryFacts> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let window = |at: usize| Some(word(at)).filter(|&seconds| seconds != u32::MAX);
        let source = *LifetimeSource::KEPT.get(usize::from(bytes[44]))?;
        (bytes[45] == EntryFacts::FORMAT).then(|| EntryFacts {
            received: long(0),
            initial_age: long(8),
            date: long(16) as i64,
            explicit: word(24),
            unmodified: word(28),
            stale_while_revalidate: window(32),
            stale_if_error: window(36),
            status: short(40),
            flags: Flags(short(42)),
            source,
        })
    }
}
