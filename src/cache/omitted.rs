//! The fields of a response that are not stored, beside those of the connection.

use httparse::Header;

use crate::cache::freshness::replaces;
use crate::cache::policy::{Policy, Replaces, SetCookie};
use crate::cache::targeted::Control;
use crate::http::cache_control::Scope;

/// The fields of one response that are not stored.
#[derive(Clone, Copy, Debug)]
pub struct Omitted<'f> {
    fields: &'f [Header<'f>],
    control: Control<'f>,
    has_no_cookies: bool,
}

impl<'f> Omitted<'f> {
    /// The fields of this response that are not stored under a policy. `control`: what the fields say, see
    /// [`control_of`](crate::cache::targeted::control_of).
    pub fn new(
        policy: &Policy,
        status: u16,
        fields: &'f [Header<'f>],
        control: Control<'f>,
    ) -> Omitted<'f> {
        // Cookies that are refused can only be there because a rule for the status replaces everything: the response is
        // for all, its cookies are not.
        let is_replaced = replaces(policy, status) == Replaces::Everything;
        Omitted {
            fields,
            control,
            has_no_cookies: match policy.set_cookie {
                SetCookie::Strip => true,
                SetCookie::Refuse => is_replaced,
                SetCookie::Store => false,
            },
        }
    }

    /// Whether the field of this name is not stored.
    pub fn contains(&self, name: &[u8]) -> bool {
        if self.has_no_cookies && name.eq_ignore_ascii_case(b"set-cookie") {
            return true;
        }
        let directives = &self.control.directives;
        // RFC 9111 sections 5.2.2.4 and 5.2.2.7 (MUST NOT, b): fields that `no-cache` names are not reused without a
        // validation, and those that `private` names are not stored.
        let are_named = directives.no_cache == Scope::Fields || directives.private == Scope::Fields;
        are_named && self.control.names_field(self.fields, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::sample::{fields, policy};
    use crate::cache::targeted::control_of;

    #[test]
    fn omitted_fields_table() {
        let rows: [(&[&str], &str, bool); 12] = [
            (&["Cache-Control: max-age=5"], "a", false),
            // RFC 9111 section 5.2.2.4: a field that no-cache names is not reused without a validation.
            (&["Cache-Control: no-cache=\"a, B\""], "A", true),
            (&["Cache-Control: no-cache=\"a, B\""], "b", true),
            (&["Cache-Control: no-cache=\"a, B\""], "c", false),
            (
                &[
                    "Cache-Control: no-cache=\"a\"",
                    "Cache-Control: private=\"c\"",
                ],
                "c",
                true,
            ),
            // RFC 9111 section 5.2.2.7 (MUST NOT, b): a field that private names is not stored.
            (&["Cache-Control: private=a"], "a", true),
            (&["Cache-Control: foo=\"a\", private=\"b\""], "a", false),
            (&["Cache-Control: no-cache"], "a", false),
            (&["CDN-Cache-Control: private=\"a\""], "a", true),
            (
                &[
                    "CDN-Cache-Control: private=\"a\"",
                    "Cache-Control: private=\"b\"",
                ],
                "b",
                false,
            ),
            (
                &["Cache-Control: private=\"set-cookie\""],
                "Set-Cookie",
                true,
            ),
            (&["Cache-Control: max-age=5"], "Set-Cookie", false),
        ];
        for (lines, name, expected) in rows {
            let (policy, fields) = (policy(), fields(lines));
            let omitted = Omitted::new(&policy, 200, &fields, control_of(&policy, &fields));
            assert_eq!(
                omitted.contains(name.as_bytes()),
                expected,
                "{lines:?} {name}"
            );
        }
    }

    #[test]
    fn cookies_are_omitted_unless_they_are_stored() {
        let mut policy = policy();
        for (set_cookie, is_omitted) in [(SetCookie::Strip, true), (SetCookie::Store, false)] {
            policy.set_cookie = set_cookie;
            let omitted = Omitted::new(&policy, 200, &[], control_of(&policy, &[]));
            assert_eq!(
                omitted.contains(b"Set-Cookie"),
                is_omitted,
                "{set_cookie:?}"
            );
        }
        policy.set_cookie = SetCookie::Refuse;
        policy.ttl.by_status = vec![(200, 5)];
        policy.ttl.replaces = Replaces::Everything;
        let control = control_of(&policy, &[]);
        assert!(Omitted::new(&policy, 200, &[], control).contains(b"set-cookie"));
        assert!(!Omitted::new(&policy, 404, &[], control).contains(b"set-cookie"));
    }
}
