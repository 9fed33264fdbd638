//! An address where nobody listens.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// An address on loopback that refuses connections, and is given to nobody else, for as long as
/// this lives.
pub struct Nobody {
    socket: Socket,
}

impl Nobody {
    /// Takes an address and does not listen there.
    #[must_use]
    pub fn listening() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        Self { socket }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.socket.local_addr().unwrap().as_socket().unwrap())
    }
}
