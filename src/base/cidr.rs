//! Address ranges in CIDR notation (RFC 4632; RFC 4291 section 2.3 for IPv6).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range such as `10.0.0.0/8` or `fd00::/8`; an address alone is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix_bits: u8,
}

impl Cidr {
    /// The range as it should be written if bits behind its prefix are set, which count for nothing (`10.0.0.1/8`).
    pub fn corrected(&self) -> Option<String> {
        let first: IpAddr = match self.network {
            IpAddr::V4(network) => {
                let kept = u32::MAX.unbounded_shl(32 - u32::from(self.prefix_bits));
                Ipv4Addr::from_bits(network.to_bits() & kept).into()
            }
            IpAddr::V6(network) => {
                let kept = u128::MAX.unbounded_shl(128 - u32::from(self.prefix_bits));
                Ipv6Addr::from_bits(network.to_bits() & kept).into()
            }
        };
        (first != self.network).then(|| format!("{first}/{}", self.prefix_bits))
    }

    /// Whether `address` lies in the range. An IPv4-mapped IPv6 address counts as the IPv4 address it carries.
    pub fn contains(&self, address: IpAddr) -> bool {
        debug_assert!(self.prefix_bits <= if self.network.is_ipv4() { 32 } else { 128 });
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                (u64::from(network.to_bits()) >> shift) == (u64::from(address.to_bits()) >> shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix_bits)
            }
            _ => false,
        }
    }
}

/// The range as it was written, its prefix always included.
impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_bits)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let network: IpAddr = address
            .parse()
            .map_err(|_| format!("{address:?} is not an IP address"))?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => most,
            Some(bits) => match bits.parse::<u8>() {
                Ok(bits) if bits <= most => bits,
                _ => return Err(format!("the prefix length is a number from 0 to {most}")),
            },
        };
        // Addresses are compared as what they carry, so a range of mapped ones is one of IPv4, or it would match
        // nobody.
        match (network, network.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(carried)) => match prefix_bits.checked_sub(96) {
                Some(prefix_bits) => Ok(Cidr {
                    network: carried.into(),
                    prefix_bits,
                }),
                None => Err("a network of IPv4 is written as one, such as 10.0.0.0/8".to_owned()),
            },
            _ => Ok(Cidr {
                network,
                prefix_bits,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_table() {
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("::ffff:127.0.0.0/104", "127.1.2.3", true),
            ("::ffff:127.0.0.0/104", "::ffff:127.1.2.3", true),
            ("::ffff:127.0.0.0/104", "128.0.0.1", false),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
            ("::ffff:0.0.0.0/96", "203.0.113.9", true),
            ("10.0.0.1/8", "10.2.3.4", true),
        ];
        for (range, address, expected) in rows {
            let cidr: Cidr = range.parse().unwrap();
            assert_eq!(
                cidr.contains(address.parse().unwrap()),
                expected,
                "{range} {address}"
            );
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_noticed() {
        let rows = [
            ("10.0.0.1/8", Some("10.0.0.0/8")),
            ("10.0.0.0/8", None),
            ("10.0.0.1", None),
            ("1.2.3.4/0", Some("0.0.0.0/0")),
            ("0.0.0.0/0", None),
            ("::ffff:10.0.0.1/104", Some("10.0.0.0/8")),
            ("fd00::1/8", Some("fd00::/8")),
            ("fd00::1", None),
            ("::1/0", Some("::/0")),
        ];
        for (text, expected) in rows {
            let range: Cidr = text.parse().unwrap();
            assert_eq!(range.corrected().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn ranges_are_shown_as_they_are_read() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
        ] {
            let range: Cidr = text.parse().unwrap();
            assert_eq!(range.to_string(), shown);
            assert_eq!(shown.parse(), Ok(range));
        }
    }

    #[test]
    fn malformed_ranges_are_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "fd00::/129",
            "::ffff:0:0/95",
            "10.0.0.0/-1",
            "localhost",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }
}
