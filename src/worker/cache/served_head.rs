//! The head of an answer from the store: the stored head, in the form that the client gets.

use crate::base::limits;
use crate::cache::conditions::write_not_modified;
use crate::cache::policy::{Policy, StatusField};
use crate::cache::ranges::{Multipart, RangeSelection, Ranges};
use crate::cache::status::CacheStatus;
use crate::cache::stored_head::{fields, find, write_field};
use crate::http::h1::{
    self, Asked, ComputedField, FieldSlots, ResponseBody, ResponseEdits, Rewriting, Version,
};
use crate::http::range::{ByteRange, ContentRange, write_unsatisfied};
use crate::net::Block;
use crate::snapshot::Route;
use crate::worker::cache::rendered::{HeadLook, Rendered};
use crate::worker::cache::serving::{AnswerForm, Serving};

/// How the client gets the answer.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// The version that the client speaks.
    pub version: Version,
    /// Whether the request is a HEAD.
    pub is_head: bool,
    /// The framing of the body.
    pub body: ResponseBody,
    /// Whether the client's connection ends with the answer.
    pub close: bool,
}

/// The boundary of answers with several ranges. It holds the number of the request, so that no stored body has it but
/// by chance.
pub fn boundary(number: u64) -> String {
    format!("palantir-{number:016x}")
}

/// The head, as HTTP/1 text, of which the answer's head is made; `None`: the stored head itself.
pub fn derived_head(serving: &Serving, total: u64, number: u64) -> Option<Vec<u8>> {
    let stored = serving.entry.head();
    let mut head = Vec::new();
    match serving.form {
        AnswerForm::Whole | AnswerForm::Ranges(RangeSelection::Whole) => return None,
        AnswerForm::NotModified => write_not_modified(stored, &mut head),
        AnswerForm::Ranges(RangeSelection::Single(range)) => {
            write_part(stored, range, total, &mut head)
        }
        AnswerForm::Ranges(RangeSelection::Several(ranges)) => {
            write_parts(stored, &ranges, total, &boundary(number), &mut head);
        }
        AnswerForm::Ranges(RangeSelection::Unsatisfiable) => {
            head.extend_from_slice(b"HTTP/1.1 416 Range Not Satisfiable\r\n");
            let date = find(stored, "date").unwrap_or_default();
            write_field(b"Date", date, &mut head);
            let mut value = Vec::new();
            write_unsatisfied(total, &mut value);
            write_field(b"Content-Range", &value, &mut head);
            write_field(b"Content-Length", b"0", &mut head);
            head.extend_from_slice(b"\r\n");
        }
    }
    Some(head)
}

/// The fields that an answer with ranges does not take over from the stored head.
fn stays(name: &[u8]) -> bool {
    !name.eq_ignore_ascii_case(b"content-length") && !name.eq_ignore_ascii_case(b"content-range")
}

fn write_part(stored: &[u8], range: ByteRange, total: u64, out: &mut Vec<u8>) {
    // RFC 9111 section 3.3 (MUST NOT, c): a part says that it is one.
    out.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n");
    for (name, value) in fields(stored).filter(|(name, _)| stays(name)) {
        write_field(name, value, out);
    }
    let mut value = Vec::new();
    let content_range = ContentRange {
        range,
        total: Some(total),
    };
    content_range.write(&mut value);
    write_field(b"Content-Range", &value, out);
    write_length(range.len(), out);
}

fn write_parts(stored: &[u8], ranges: &Ranges, total: u64, boundary: &str, out: &mut Vec<u8>) {
    let multipart = Multipart {
        boundary: boundary.as_bytes(),
        content_type: find(stored, "content-type"),
        total,
    };
    out.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n");
    let is_type = |name: &[u8]| name.eq_ignore_ascii_case(b"content-type");
    for (name, value) in fields(stored).filter(|(name, _)| stays(name) && !is_type(name)) {
        write_field(name, value, out);
    }
    let mut value = Vec::new();
    multipart.write_content_type(&mut value);
    write_field(b"Content-Type", &value, out);
    write_length(multipart.content_length(ranges), out);
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    write_field(b"Content-Length", digits.format(length).as_bytes(), out);
    out.extend_from_slice(b"\r\n");
}

/// The member of `Cache-Status` for an answer from the store.
pub fn member<'a>(policy: &'a Policy, serving: &Serving) -> CacheStatus<'a> {
    CacheStatus {
        name: &policy.name,
        handling: serving.handling,
        ttl: Some(serving.ttl),
        key: None,
        detail: Some(serving.reason).filter(|reason| !reason.is_empty()),
    }
}

/// Encodes an answer's head for its client to the end of `out`. `head`: HTTP/1 text. The result is the status; 0: the
/// text is no head, which no stored text shows.
pub fn encode(
    route: &Route,
    serving: &Serving,
    head: &[u8],
    delivery: Delivery,
    out: &mut Block,
) -> u16 {
    // RFC 9111 section 4 (MUST, a): the age is that of now, and no stored head has one.
    let mut age = itoa::Buffer::new();
    let mut status = Vec::new();
    let mut computed = vec![ComputedField {
        name: "age",
        value: age.format(serving.age).as_bytes(),
    }];
    if let Some(policy) = &route.cache {
        let is_status = |(name, value): (&[u8], _)| {
            let is_it = name.eq_ignore_ascii_case(b"cache-status");
            is_it.then_some(value)
        };
        let earlier = fields(head).filter_map(is_status);
        member(policy, serving).write_behind(earlier, policy.status, &mut status);
        if policy.status != StatusField::Off {
            computed.push(ComputedField {
                name: "cache-status",
                value: &status,
            });
        }
    }
    encode_fixed(route, head, delivery, &computed, out)
}

/// Encodes a head with these fields, as [`encode`] does.
pub fn encode_fixed(
    route: &Route,
    head: &[u8],
    delivery: Delivery,
    computed: &[ComputedField<'_>],
    out: &mut Block,
) -> u16 {
    let mut slots = FieldSlots::new();
    let asked = Asked {
        head: delivery.is_head,
        upgrade: false,
        strict: false,
    };
    let Ok(Some(parsed)) = h1::parse_response(head, &mut slots, asked, limits::STORED_HEAD_BYTES)
    else {
        debug_assert!(false, "a stored head is a head");
        return 0;
    };
    let mut length = itoa::Buffer::new();
    let mut computed = computed.to_vec();
    // A length of 0 is written without being told.
    let is_written = delivery.body == ResponseBody::Length(0) && delivery.version != Version::Http2;
    if let ResponseBody::Length(known) = delivery.body
        && parsed.named_length().is_none()
        && !is_written
    {
        computed.push(ComputedField {
            name: "content-length",
            value: length.format(known).as_bytes(),
        });
    }
    let edits = ResponseEdits {
        client_version: delivery.version,
        body: delivery.body,
        close: delivery.close,
        operator: &route.response_fields,
        computed: &computed,
        via: route.via,
        rewriting: Rewriting {
            references: None,
            cookies: &route.cookies,
        },
        accept: None,
    };
    h1::encode_response(out.vec(), &parsed, &edits);
    parsed.status
}

/// Renders the head of a whole response. `None`: some of the fields that differ from answer to answer must stand
/// elsewhere than at the end, because the operator or an earlier cache has written them.
pub fn render(
    look: HeadLook,
    route: &Route,
    serving: &Serving,
    delivery: Delivery,
) -> Option<Rendered> {
    let edited = route.response_fields.names();
    let is_edited = |name: &str| edited.contains(name.as_bytes());
    if is_edited("age") || is_edited("cache-status") {
        return None;
    }
    if find(serving.entry.head(), "cache-status").is_some() {
        return None;
    }
    let mut out = Block::default();
    let head = serving.entry.head();
    let status = encode_fixed(route, head, delivery, &[], &mut out);
    let text = out.filled().strip_suffix(b"\r\n")?;
    Some(Rendered {
        look,
        text: text.into(),
        status,
    })
}

/// Writes a rendered head with the fields of this answer.
pub fn write_rendered(rendered: &Rendered, policy: &Policy, serving: &Serving, out: &mut Block) {
    let mut digits = itoa::Buffer::new();
    let out = out.vec();
    out.extend_from_slice(&rendered.text);
    // RFC 9111 section 4 (MUST, a): the age is that of now, and no rendered head has one.
    out.extend_from_slice(b"age: ");
    out.extend_from_slice(digits.format(serving.age).as_bytes());
    out.extend_from_slice(b"\r\n");
    if policy.status != StatusField::Off {
        out.extend_from_slice(b"cache-status: ");
        member(policy, serving).write(policy.status, out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
