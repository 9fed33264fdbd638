//! Why bytes are refused: one kind a fault, each with its stable codes.

use http::StatusCode;

/// Makes the enum, its list and its facts of one table.
macro_rules! refusals {
    ($($(#[$doc:meta])+ $name:ident = $code:literal, $answer:literal, $status:literal,
        $public:literal;)+) => {
        /// Why bytes are not HTTP/1 as we accept it. Each kind of fault is one variant.
        ///
        /// A fault of a request is counted and logged under [`Refusal::code`], and answered with
        /// [`Refusal::status`] and [`Refusal::public`]; a fault of an upstream's answer goes by
        /// [`Refusal::answer_code`] and is a 502. The connection is closed after either.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Refusal {
            $($(#[$doc])+ #[error($public)] $name,)+
        }

        impl Refusal {
            /// All kinds, for counters and documentation.
            pub const ALL: &[Refusal] = &[$(Refusal::$name),+];

            /// The stable code of this fault in a request, `http.*`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Refusal::$name => concat!("http.", $code),)+ }
            }

            /// The stable code of this fault in an upstream's answer, `upstream.*`.
            #[must_use]
            pub const fn answer_code(self) -> &'static str {
                match self { $(Refusal::$name => concat!("upstream.", $answer),)+ }
            }

            /// The status that answers a request with this fault.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                // Every number in the table is one of a status.
                let number: u16 = match self { $(Refusal::$name => $status,)+ };
                match StatusCode::from_u16(number) {
                    Ok(status) => status,
                    Err(_) => StatusCode::BAD_REQUEST,
                }
            }

            /// What the client may read. Never holds any of its bytes.
            #[must_use]
            pub const fn public(self) -> &'static str {
                match self { $(Refusal::$name => $public,)+ }
            }
        }
    };
}

refusals! {
    /// The first byte cannot begin a message: a TLS handshake on a plain port, say.
    NotHttp = "not_http", "not_http", 400,
        "this is not HTTP";
    /// The preface of HTTP/2 where HTTP/1 is spoken (RFC 9113 section 3.4).
    Preface = "http2_preface", "not_http", 400,
        "HTTP/2 is not spoken here";
    /// A line ends with LF alone (RFC 9112 section 2.2).
    BareLf = "bare_lf", "bare_lf", 400,
        "a line ends without CR";
    /// CR that LF does not follow (RFC 9112 section 2.2).
    BareCr = "bare_cr", "bare_cr", 400,
        "a CR is not followed by LF";
    /// A NUL within the head.
    Nul = "nul", "nul", 400,
        "the head holds a NUL";
    /// The first line is longer than [`HeadLimits::line`](crate::HeadLimits::line).
    LineTooLong = "target_too_long", "status_line_too_long", 414,
        "the request line is too long";
    /// The head is larger than [`HeadLimits::size`](crate::HeadLimits::size).
    HeadTooLarge = "head_too_large", "head_too_large", 431,
        "the request's head is too large";
    /// More header fields than [`HeadLimits::fields`](crate::HeadLimits::fields).
    TooManyFields = "too_many_fields", "too_many_fields", 431,
        "there are too many header fields";
    /// What is to be parsed as a head is not exactly one: the caller's mistake.
    HeadBounds = "head_bounds", "head_bounds", 400,
        "the head does not end where it should";
    /// Not exactly `method SP target SP version` (RFC 9112 section 3).
    RequestLine = "request_line", "request_line", 400,
        "the request line is malformed";
    /// The method is no token, or longer than 32 bytes.
    Method = "method_name", "request_line", 400,
        "the method is malformed";
    /// The target holds a byte that no URI has, or is of a form its method does not go with.
    Target = "target", "request_line", 400,
        "the target is malformed";
    /// The version is not written as `HTTP/` with two digits.
    Version = "version", "version", 400,
        "the version is malformed";
    /// A version other than 1.0 and 1.1.
    VersionUnsupported = "version_unsupported", "version", 505,
        "this version of HTTP is not spoken here";
    /// Not exactly `version SP status [SP reason]` (RFC 9112 section 4), or no status there is.
    StatusLine = "status_line", "status_line", 400,
        "the status line is malformed";
    /// A field continued on the next line (RFC 9112 section 5.2).
    Folded = "folded_field", "folded_field", 400,
        "a header field is folded";
    /// White space between a field's name and its colon (RFC 9112 section 5.1).
    SpaceBeforeColon = "space_before_colon", "space_before_colon", 400,
        "a header field has white space before its colon";
    /// A field line without a colon.
    NoColon = "field_line", "field_line", 400,
        "a header field has no colon";
    /// A field's name is empty or no token.
    FieldName = "field_name", "field_name", 400,
        "the name of a header field is malformed";
    /// A control byte other than HTAB in a field's value (RFC 9110 section 5.5).
    FieldValue = "field_value", "field_value", 400,
        "the value of a header field holds a control byte";
    /// A name that some servers take for one that frames or routes: `content_length`.
    LookAlike = "look_alike_field", "look_alike_field", 400,
        "the name of a header field looks like another";
    /// Content-Length twice, or anything but a plain decimal number of at most 18 digits.
    ContentLength = "content_length", "ambiguous_length", 400,
        "the length of the body is ambiguous";
    /// Content-Length beside Transfer-Encoding (RFC 9112 section 6.1).
    LengthAndCoding = "length_and_coding", "ambiguous_length", 400,
        "a length stands beside a transfer coding";
    /// Anything but one field of the one coding `chunked`.
    TransferEncoding = "transfer_encoding", "transfer_encoding", 400,
        "only `chunked` is understood, once";
    /// A transfer coding where there can be none: HTTP/1.0, 1xx, 204.
    CodingForbidden = "transfer_encoding_version", "transfer_encoding_forbidden", 400,
        "transfer codings exist in HTTP/1.1 only";
    /// Connection that is not a list of tokens.
    Connection = "connection", "connection", 400,
        "the field Connection is malformed";
    /// Connection names a field that is not the connection's: it would be stripped from a request.
    ConnectionNames = "connection_names", "connection_names", 400,
        "the field Connection names a field that is not of the connection";
    /// An upgrade to HTTP/2 in clear text, which nobody may do past a gateway.
    H2c = "h2c", "h2c", 400,
        "an upgrade to HTTP/2 is not offered";
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1), or more than one.
    Expectation = "expectation", "expectation", 417,
        "this expectation is not understood";
    /// A chunk's size is not 1 to 16 hexadecimal digits.
    ChunkSize = "chunk_size", "chunk_size", 400,
        "the size of a chunk is malformed";
    /// A chunk's size no length can have.
    ChunkOverflow = "chunk_overflow", "chunk_overflow", 400,
        "the size of a chunk is too large";
    /// The line with a chunk's size does not end with CRLF.
    ChunkLine = "chunk_line", "chunk_line", 400,
        "the line of a chunk does not end with CRLF";
    /// A chunk's extension is not `;name`, `;name=token` or `;name="text"`.
    ChunkExtension = "chunk_extension", "chunk_extension", 400,
        "the extension of a chunk is malformed";
    /// Extensions of over 256 bytes in a chunk, or 4 KiB in a body.
    ChunkExtensionTooLong = "chunk_extension_too_long", "chunk_extension_too_long", 400,
        "the extensions of the chunks are too long";
    /// CRLF does not follow a chunk's data.
    ChunkEnd = "chunk_end", "chunk_end", 400,
        "a chunk is longer than its size";
    /// A trailer field that frames, routes, authenticates or describes (RFC 9110 section 6.5.1).
    TrailerForbidden = "trailer_forbidden", "trailer_forbidden", 400,
        "a trailer field is not allowed there";
    /// More than 32 trailer fields, or 8 KiB of them.
    TrailersTooLarge = "trailers_too_large", "trailers_too_large", 400,
        "there are too many trailer fields";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_code_of_its_own_and_the_status_of_its_table() {
        let mut codes: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            for code in [refusal.code(), refusal.answer_code()] {
                let (_, name) = code.split_once('.').unwrap();
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b"_012".contains(&b)));
            }
            assert!(refusal.status().is_client_error() || refusal.status() == 505, "{refusal:?}");
            assert_eq!(refusal.to_string(), refusal.public());
        }
        assert_eq!(Refusal::LineTooLong.status(), 414);
        assert_eq!(Refusal::Expectation.status(), 417);
        assert_eq!(Refusal::HeadTooLarge.status(), 431);
        assert_eq!(Refusal::VersionUnsupported.status(), 505);
    }
}
