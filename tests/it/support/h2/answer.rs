//! The answer that comes back on one stream.

/// Names and values in their order, pseudo-fields among them.
pub type Fields = Vec<(String, String)>;

/// The part of an answer that came back on a stream so far.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub interim: Vec<Fields>,
    /// The fields of the final head; empty before it.
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Option<Fields>,
    /// Whether it ended as it should.
    pub complete: bool,
    /// The code with which it was reset.
    pub reset: Option<u32>,
}

impl Answer {
    pub fn has_ended(&self) -> bool {
        self.complete || self.reset.is_some()
    }

    #[track_caller]
    pub fn status(&self) -> u16 {
        let status = self.field(":status").expect("a status");
        status.parse().expect("a number")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a field that occurs once; `None` if it is absent. Fails if it is repeated.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        one(&self.fields, name)
    }

    /// The reason word that an own answer of the proxy carries.
    #[track_caller]
    pub fn reason(&self) -> &str {
        let status = self.field("proxy-status").expect("Proxy-Status");
        let error = status
            .split(';')
            .find_map(|part| part.trim().strip_prefix("error="));
        error.unwrap_or_else(|| panic!("no error in {status:?}"))
    }

    #[track_caller]
    pub(super) fn take_fields(&mut self, fields: Fields, end: bool) {
        assert!(!self.has_ended(), "fields behind the end: {fields:?}");
        for (name, value) in &fields {
            let is_forbidden = [
                "connection",
                "keep-alive",
                "proxy-connection",
                "transfer-encoding",
                "upgrade",
            ]
            .contains(&name.as_str());
            assert!(!is_forbidden, "{name} has no place in HTTP/2");
            assert_eq!(&name.to_ascii_lowercase(), name, "names are in lower case");
            assert!(!value.contains(['\r', '\n', '\0']), "{name}: {value:?}");
        }
        self.complete = end;
        let status = one(&fields, ":status").map(str::to_owned);
        match status {
            None => {
                assert!(end && !self.fields.is_empty(), "trailers: {fields:?}");
                self.trailers = Some(fields);
                self.check_length();
            }
            Some(status) if status.starts_with('1') => {
                assert!(!end && self.fields.is_empty(), "interim: {fields:?}");
                self.interim.push(fields);
            }
            Some(_) => {
                assert!(self.fields.is_empty(), "a second head: {fields:?}");
                self.fields = fields;
            }
        }
    }

    #[track_caller]
    pub(super) fn take_data(&mut self, bytes: &[u8], end: bool) {
        assert!(
            !self.fields.is_empty() && !self.has_ended(),
            "a body without a head, or behind its end"
        );
        self.body.extend_from_slice(bytes);
        self.complete = end;
        if end {
            self.check_length();
        }
    }

    #[track_caller]
    fn check_length(&self) {
        if let Some(length) = self.field("content-length") {
            assert_eq!(length, self.body.len().to_string(), "{:?}", self.fields);
        }
    }
}

#[track_caller]
fn one<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let mut values = fields.iter().filter(|(known, _)| known == name);
    let value = values.next().map(|(_, value)| value.as_str());
    assert!(
        values.next().is_none(),
        "{name} is repeated in {:?}",
        fields
    );
    value
}
