//! Heads as received, byte for byte, with what a test asks of them.

/// The head of a request or an answer: everything up to and with the empty line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub text: String,
}

impl Head {
    /// Takes a complete head off the front of `buffer`.
    pub fn take(buffer: &mut Vec<u8>) -> Option<Head> {
        let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let bytes: Vec<u8> = buffer.drain(..end).collect();
        // Latin-1, so that every byte has a character of its own.
        let text = bytes.into_iter().map(char::from).collect();
        Some(Head { text })
    }

    /// The request line or status line.
    pub fn first_line(&self) -> &str {
        self.text.split("\r\n").next().unwrap()
    }

    /// The status of an answer.
    #[track_caller]
    pub fn status(&self) -> u16 {
        let word = self.first_line().split(' ').nth(1);
        let status = word.and_then(|word| word.parse().ok());
        status.unwrap_or_else(|| panic!("not the head of an answer: {:?}", self.text))
    }

    /// The fields in their order, names as written.
    pub fn fields(&self) -> Vec<(&str, &str)> {
        let lines = self.text.split("\r\n").skip(1);
        lines
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(':').unwrap_or((line, "")))
            .map(|(name, value)| (name, value.trim()))
            .collect()
    }

    /// Every value of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields().into_iter();
        fields
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The value of a field that occurs once; `None` if it is absent. Fails if it is repeated.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} is repeated in {:?}", self.text);
        values.first().copied()
    }

    /// How the body behind this head ends, for what has one.
    pub fn framing(&self) -> Framing {
        if let Some(coding) = self.field("transfer-encoding") {
            assert_eq!(coding.to_ascii_lowercase(), "chunked", "in {:?}", self.text);
            let length = self.field("content-length");
            assert_eq!(length, None, "chunked and a length in {:?}", self.text);
            return Framing::Chunked;
        }
        match self.field("content-length") {
            Some(length) => Framing::Length(length.parse().expect("a length")),
            None => Framing::Absent,
        }
    }
}

/// The framing of a body as its head declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    /// Neither: no body in a request, until close in an answer.
    Absent,
}
