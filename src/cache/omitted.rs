//! The fields of a response that are not stored, beside those of the connection.

use httparse::Header;

use crate::cache::freshness::replaces;
use crate::cache::policy::{Policy, Replaces, SetCookie};
use crate::cache::targeted::{Control, control_of};
use crate::http::cache_control::Scope;

/// The fields of one response that are not stored.
#[derive(Clone, Copy, Debug)]
pub struct Omitted<'f> {
    fields: &'f [Header<'f>],
    control: Control<'f>,
    has_no_cookies: bool,
}

impl<'f> Omitted<'f> {
    /// The fields of this response that are not stored under a policy.
    pub fn new(policy: &'f Policy, status: u16, fields: &'f [Header<'f>]) -> Omitted<'f> {
        // Cookies that are refused can only be there because a rule for the status replaces everything: the response is
        // for all, its cookies are not.
        let is_replaced = replaces(policy, status) == Replaces::Everything;
        Omitted {
            fields,
            control: control_of(policy, fields),
            has_no_cookies: match policy.set_cookie {
                SetCookie::Strip => true,
                SetCookie::Refuse => is_replaced,
                SetCookie::Store => false,
            },
        }
    }

    /// Whether the field of this name is not stored.
    pub fn contains(&self, name: &str) -> bool {
        if self.has_no_cookies && name.eq_ignore_ascii_case("set-cookie") {
            return true;
        }
        let directives = &self.control.directives;
        // RFC 9111 sections 5.2.2.4 and 5.2.2.7 (MUST NOT): fields that `no-cache` names are not reused without a
        // validation, and those that `private` names are not stored.
        let are_named = directives.no_cache == Scope::Fields || directives.private == Scope::Fields;
        are_named && self.control.names_field(self.fields, name)
    }
}
