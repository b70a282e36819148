//! What a client's first message says of the server it wants. rustls tells that only to whoever chooses the certificate, so
//! the message is looked at a second time.

use rustls::server::Acceptor;

/// A ClientHello on its way.
pub(super) struct Hello {
    acceptor: Option<Box<Acceptor>>,
    server_name: Option<Box<str>>,
    is_untouched: bool,
}

impl Hello {
    pub fn new() -> Hello {
        Hello {
            acceptor: Some(Box::default()),
            server_name: None,
            is_untouched: true,
        }
    }

    /// Whether nothing was received yet.
    pub fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Takes the next bytes that were received. What is wrong with them shows elsewhere.
    pub fn receive(&mut self, mut bytes: &[u8]) {
        self.is_untouched &= bytes.is_empty();
        while let Some(acceptor) = &mut self.acceptor
            && !bytes.is_empty()
        {
            let is_taken = matches!(acceptor.read_tls(&mut bytes), Ok(1..));
            match acceptor.accept() {
                Ok(None) if is_taken => {}
                Ok(Some(accepted)) => {
                    self.server_name = accepted.client_hello().server_name().map(Box::from);
                    self.acceptor = None;
                }
                _ => self.acceptor = None,
            }
        }
    }

    /// The server name that was asked for (RFC 6066 section 3), once the message is complete.
    pub fn into_server_name(self) -> Option<Box<str>> {
        self.server_name
    }
}
