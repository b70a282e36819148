//! Faults of the files of TLS.

use std::fmt;

use super::PairFault;
use super::pem::FileFault;

/// The reason why the files that the configuration names cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFault {
    /// The fault in words, for the operator.
    pub text: String,
    /// Whether the fault may pass without a change of the files.
    pub may_pass: bool,
}

impl TlsFault {
    /// A fault that lasts until somebody changes something.
    pub fn lasting(text: impl Into<String>) -> TlsFault {
        TlsFault {
            text: text.into(),
            may_pass: false,
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl From<FileFault> for TlsFault {
    fn from(fault: FileFault) -> TlsFault {
        TlsFault {
            text: fault.text,
            may_pass: fault.may_pass,
        }
    }
}

/// Says which of the files it is.
impl From<PairFault> for TlsFault {
    fn from(fault: PairFault) -> TlsFault {
        TlsFault {
            text: fault.to_string(),
            may_pass: fault.may_pass,
        }
    }
}

impl From<rustls::Error> for TlsFault {
    fn from(error: rustls::Error) -> TlsFault {
        TlsFault::lasting(error.to_string())
    }
}
