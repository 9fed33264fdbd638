//! Messages to start from, and how they are changed.

/// Requests.
pub(crate) const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/b?c=d&e HTTP/1.1\r\nHost: a.example:80\r\nAccept: */*\r\nUser-Agent: x (y; z)\r\n\r\n",
    "POST /form HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: x-sum\r\n\r\n\
     3;a=b\r\nabc\r\nA;q=\"r\"\r\n0123456789\r\n00\r\nX-Sum: 1\r\n\r\n",
    "DELETE /a HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
    "\r\nHEAD /%7euser/ HTTP/1.1\r\nHost:a\r\nX-Empty:\r\nX-Tabs:\tone\ttwo\t\r\n\r\n",
    "GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\nConnection: close, te\r\n\r\n",
    "PATCH /a HTTP/1.1\r\nHost: a\r\nCookie: a=b; c=d\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 1\r\n\
     Expect: 100-continue\r\n\r\n!",
    "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n",
];

/// Answers.
pub(crate) const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
    "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnone\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nServer: x\r\nDate: Mon, 01 Jan 2026 00:00:00 GMT\r\n\r\nuntil the end",
    "HTTP/1.0 500 Oh no\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nno",
    "HTTP/1.1 201\r\nX-Empty:\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 302 \r\nLocation: /b\r\nVary: a, b\r\nTransfer-Encoding: CHUNKED\r\n\r\n\
     5;x=\"y\"\r\nmoved\r\n2\r\n!!\r\n0;z\r\nX-Sum: 1\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
];

/// A small generator with a fixed seed: the same inputs in every run (Marsaglia's xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }
}

/// Calls `run` with each seed and with `rounds` mutations of it.
pub(crate) fn each(seeds: &[&str], rounds: usize, mut run: impl FnMut(&[u8])) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for seed in seeds {
        run(seed.as_bytes());
        for _ in 0..rounds {
            let mut bytes = seed.as_bytes().to_vec();
            for _ in 0..=numbers.next(3) {
                let other = seeds[numbers.next(seeds.len())].as_bytes();
                mutate(&mut bytes, other, &mut numbers);
            }
            run(&bytes);
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    const SPICE: &[u8] = b"%/.\\;:*{}[]&!|>-_#'\"\r\n\t\0\x7f\x80\xff ,@=+0123aZ";
    let at = numbers.next(bytes.len() + 1);
    match numbers.next(8) {
        0 => bytes.insert(at, SPICE[numbers.next(SPICE.len())]),
        1 if at < bytes.len() => bytes[at] = SPICE[numbers.next(SPICE.len())],
        2 if at < bytes.len() => {
            bytes.remove(at);
        }
        3 if at < bytes.len() => bytes[at] ^= 0x20,
        4 => splice_line(bytes, other, numbers),
        5 => {
            let from = numbers.next(other.len());
            let length = numbers.next(12);
            bytes.splice(at..at, other[from..].iter().copied().take(length));
        }
        6 if at < bytes.len() => {
            let length = numbers.next(12);
            let copy: Vec<u8> = bytes[at..].iter().copied().take(length).collect();
            bytes.splice(at..at, copy);
        }
        _ => bytes.extend_from_slice(other),
    }
}

/// Puts a whole line of `other` between two lines.
fn splice_line(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    let starts = |bytes: &[u8]| -> Vec<usize> {
        let ends = bytes.windows(2).enumerate().filter(|(_, pair)| *pair == b"\r\n");
        ends.map(|(at, _)| at + 2).collect()
    };
    let (to, from) = (starts(bytes), starts(other));
    let (Some(at), Some(start)) =
        (to.get(numbers.next(to.len())), from.get(numbers.next(from.len())))
    else {
        return;
    };
    let rest = &other[*start..];
    let line = rest.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
    bytes.splice(*at..*at, line);
}
