//! The reasons for which a response is not stored.

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// The method is none whose responses are stored, or a POST whose response does not stand for its target.
    Method,
    /// The status speaks of its own request alone.
    Status,
    /// The response has `must-understand`, and the cache does not understand the status.
    NotUnderstood,
    /// The response is a part that the caller does not combine.
    Partial,
    /// The request has `no-store`.
    RequestNoStore,
    /// The response has `no-store`.
    NoStore,
    /// The response has `private`.
    Private,
    /// The request has `Authorization` or an identity, and the response does not permit to share it.
    Authorization,
    /// The response has `Set-Cookie`.
    SetCookie,
    /// `Vary` is `*`, is malformed, or names a field that the settings take for uncacheable.
    Vary,
    /// The fields that select the variant are too many or too long.
    VariantTooLong,
    /// The body is larger than the settings permit.
    TooLarge,
    /// The response is a 4xx, and the head of the request was near the bounds of what backends accept.
    NearBounds,
    /// Nothing says that a response of this status may be stored: no lifetime and no `public`.
    NoLifetime,
    /// The response is stale at once and can neither be validated nor be served stale.
    Useless,
    /// The response has more tags than an entry may have, so that it could not be purged by all of them.
    TooManyTags,
    /// The store has no room.
    NoRoom,
}

impl NotStored {
    /// All reasons.
    pub const ALL: [NotStored; 17] = [
        NotStored::Method,
        NotStored::Status,
        NotStored::NotUnderstood,
        NotStored::Partial,
        NotStored::RequestNoStore,
        NotStored::NoStore,
        NotStored::Private,
        NotStored::Authorization,
        NotStored::SetCookie,
        NotStored::Vary,
        NotStored::VariantTooLong,
        NotStored::TooLarge,
        NotStored::NearBounds,
        NotStored::NoLifetime,
        NotStored::Useless,
        NotStored::TooManyTags,
        NotStored::NoRoom,
    ];

    /// Whether the reason lies in the request, so that the response to another request for the same key may be stored.
    pub const fn is_of_request(self) -> bool {
        matches!(
            self,
            NotStored::Method
                | NotStored::Status
                | NotStored::Partial
                | NotStored::RequestNoStore
                | NotStored::Authorization
                | NotStored::NearBounds
                | NotStored::NoRoom
        )
    }

    /// The label for `Cache-Status`, metrics and `palantir explain`.
    pub const fn label(self) -> &'static str {
        match self {
            NotStored::Method => "method",
            NotStored::Status => "status",
            NotStored::NotUnderstood => "not_understood",
            NotStored::Partial => "partial",
            NotStored::RequestNoStore => "request_no_store",
            NotStored::NoStore => "no_store",
            NotStored::Private => "private",
            NotStored::Authorization => "authorization",
            NotStored::SetCookie => "set_cookie",
            NotStored::Vary => "vary",
            NotStored::VariantTooLong => "variant_too_long",
            NotStored::TooLarge => "too_large",
            NotStored::NearBounds => "near_bounds",
            NotStored::NoLifetime => "no_lifetime",
            NotStored::Useless => "useless",
            NotStored::TooManyTags => "too_many_tags",
            NotStored::NoRoom => "no_room",
        }
    }
}
