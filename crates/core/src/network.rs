//! Networks, as the document writes them, and sets of addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A network, such as `10.0.0.0/8` or `2001:db8::/32`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9A-Fa-f.:]+(/(0|[1-9][0-9]{0,2}))?$"))]
pub struct Network(IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected =
            || format!("expected a network such as `10.0.0.0/8` or an address, found `{text}`");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.as_str(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let net = match prefix {
            None => IpNet::from(address),
            Some(digits) => {
                let prefix = digits.parse::<u8>().ok().filter(|n| n.to_string() == digits);
                IpNet::new(address, prefix.ok_or_else(expected)?).map_err(|_| expected())?
            }
        };
        if net.addr() != net.network() {
            let (meant, prefix) = (net.trunc(), net.prefix_len());
            return Err(format!(
                "`{text}` has bits set beyond its prefix of {prefix}: \
                 write `{meant}` for the network, `{address}` for the address alone"
            ));
        }
        if let IpNet::V6(net) = net
            && let Some(v4) = net.addr().to_ipv4_mapped()
        {
            return Err(format!(
                "`{text}` would match nobody: IPv4 clients are known by their IPv4 address, \
                 such as `{v4}`"
            ));
        }
        Ok(Self(net))
    }
}

impl AsRef<IpNet> for Network {
    fn as_ref(&self) -> &IpNet {
        &self.0
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        if network.0.prefix_len() == network.0.max_prefix_len() {
            network.0.addr().to_string()
        } else {
            network.0.to_string()
        }
    }
}

/// A set of addresses: disjoint networks in ascending order, found by bisection, however many there
/// are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// The addresses of all of these.
    #[must_use]
    pub fn new(list: &[Network]) -> Self {
        let list: Vec<IpNet> = list.iter().map(|network| network.0).collect();
        let mut merged = IpNet::aggregate(&list);
        merged.sort_unstable_by_key(IpNet::network);
        Self(merged)
    }

    /// Whether `address` is in here; IPv4-mapped IPv6 addresses must be unwrapped before.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.at_or_before(address).is_some_and(|net| net.contains(&address))
    }

    /// The networks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }

    /// Whether the whole of `net` is in here: if so, in one piece, since neighbours are merged.
    #[must_use]
    pub fn covers(&self, net: &IpNet) -> bool {
        self.at_or_before(net.network()).is_some_and(|mine| mine.contains(net))
    }

    /// Those that share an address with `net`.
    pub fn meeting<'n>(&'n self, net: &'n IpNet) -> impl Iterator<Item = &'n IpNet> {
        self.0.iter().filter(move |mine| mine.contains(net) || net.contains(*mine))
    }

    fn at_or_before(&self, address: IpAddr) -> Option<&IpNet> {
        let after = self.0.partition_point(|net| net.network() <= address);
        self.0.get(after.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Result<Network, String> {
        text.to_owned().try_into()
    }

    #[test]
    fn a_network_is_written_in_one_way() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.7", "2001:db8::/32", "::/0", "::1"] {
            assert_eq!(String::from(network(text).unwrap()), text);
        }
        assert_eq!(String::from(network("192.0.2.7/32").unwrap()), "192.0.2.7");
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0/8",
            "10/8",
            "010.0.0.0/8",
            "::/129",
            "fe80::1%eth0",
            "localhost",
            "10.0.0.0-10.0.0.9",
            " 10.0.0.1",
            "::ffff:192.0.2.7",
            "::ffff:192.0.2.0/120",
        ] {
            assert!(network(text).is_err(), "{text:?}");
        }
        let reason = network("10.0.0.1/8").unwrap_err();
        assert!(reason.contains("`10.0.0.0/8`") && reason.contains("`10.0.0.1`"), "{reason}");
    }

    #[test]
    fn bisection_finds_what_a_walk_would_find() {
        let texts = ["10.0.0.0/9", "10.128.0.0/9", "192.0.2.7", "192.0.2.9", "10.1.0.0/16", "::/8"];
        let list: Vec<Network> = texts.iter().map(|text| network(text).unwrap()).collect();
        let networks = Networks::new(&list);
        for address in [
            "0.0.0.0",
            "9.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "11.0.0.0",
            "192.0.2.6",
            "192.0.2.7",
            "192.0.2.8",
            "192.0.2.9",
            "255.255.255.255",
            "::",
            "ff::1",
            "100::",
            "ffff::",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let walked = list.iter().any(|network| network.0.contains(&address));
            assert_eq!(networks.contains(address), walked, "{address}");
        }
    }
}
