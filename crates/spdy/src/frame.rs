//! Frames on the wire: what each looks like, read from a growing buffer and written into one. Pure.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::headers::{Compressor, Decompressor, Headers};

const VERSION: u16 = 3;
const HEAD_BYTES: usize = 8;
/// A control frame may be this long; the longest that makes sense holds one compressed block of headers.
const MAX_CONTROL_BYTES: usize = 64 << 10;
/// A data frame may be this long, by the size of its length field.
const MAX_DATA_BYTES: usize = (1 << 24) - 1;
const STREAM_ID: u32 = 0x7fff_ffff;
const FIN: u8 = 1;
const UNIDIRECTIONAL: u8 = 2;
const CLEAR_SETTINGS: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// Why bytes are no SPDY/3.1. Each of these ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A control frame of another version.
    #[error("a control frame of SPDY version {0}")]
    Version(u16),
    /// A control frame longer than any needs to be.
    #[error("a control frame of {0} bytes")]
    TooLong(usize),
    /// A control frame whose length is not that of its kind.
    #[error("a control frame of kind {0} with a length it cannot have")]
    Length(u16),
    /// A frame that names stream 0 where a stream is needed.
    #[error("a frame that names no stream")]
    NoStream,
    /// A stream with a number that its opener cannot give, or has given before.
    #[error("a new stream with the number {0}")]
    StreamNumber(u32),
    /// Headers that cannot be read.
    #[error("headers that cannot be read: {0}")]
    Headers(&'static str),
}

/// One entry of a SETTINGS frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Flags.
    pub flags: u8,
    /// Which setting, 24 bits.
    pub id: u32,
    /// Its value.
    pub value: u32,
}

/// A frame. A data frame may arrive as several of these, of which only the last has its `fin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    SynStream {
        /// The stream.
        stream: u32,
        /// The stream that it belongs to, 0 for none.
        associated: u32,
        /// 0 is the most urgent, 7 the least.
        priority: u8,
        /// The sender sends nothing more.
        fin: bool,
        /// The receiver is to send nothing.
        unidirectional: bool,
        /// Headers.
        headers: Headers,
    },
    /// Accepts a stream.
    SynReply {
        /// The stream.
        stream: u32,
        /// The sender sends nothing more.
        fin: bool,
        /// Headers.
        headers: Headers,
    },
    /// Ends a stream at once.
    RstStream {
        /// The stream.
        stream: u32,
        /// Why.
        status: u32,
    },
    /// Says how the sender wants to be treated.
    Settings {
        /// Whether what was kept from earlier connections is to be forgotten.
        clear: bool,
        /// The settings.
        entries: Vec<Setting>,
    },
    /// Is to be sent back as it is.
    Ping {
        /// Odd from the client, even from the server.
        id: u32,
    },
    /// The sender accepts no more streams.
    GoAway {
        /// The last stream that it accepted.
        last_good: u32,
        /// Why.
        status: u32,
    },
    /// More headers of a stream.
    Headers {
        /// The stream.
        stream: u32,
        /// The sender sends nothing more.
        fin: bool,
        /// Headers.
        headers: Headers,
    },
    /// Lets the receiver send more.
    WindowUpdate {
        /// The stream, 0 for the connection as a whole.
        stream: u32,
        /// How many bytes more.
        delta: u32,
    },
    /// Bytes of a stream.
    Data {
        /// The stream.
        stream: u32,
        /// The sender sends nothing more.
        fin: bool,
        /// The bytes.
        bytes: Bytes,
    },
}

/// What of a frame is still to come.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Data { stream: u32, fin: bool, left: usize },
    Skipped { left: usize },
}

/// Reads frames. After an error nothing more can be read.
#[derive(Debug, Default)]
pub struct Decoder {
    decompressor: Decompressor,
    rest: Option<Rest>,
}

impl Decoder {
    /// Takes the next frame, or a part of a data frame, off the front of what has arrived; `None` when more must arrive.
    pub fn decode(&mut self, arrived: &mut BytesMut) -> Result<Option<Frame>, Error> {
        loop {
            match self.rest.take() {
                Some(Rest::Skipped { left }) => {
                    let now = left.min(arrived.len());
                    arrived.advance(now);
                    if left > now {
                        self.rest = Some(Rest::Skipped { left: left - now });
                        return Ok(None);
                    }
                }
                Some(rest @ Rest::Data { left: 1.., .. }) if arrived.is_empty() => {
                    self.rest = Some(rest);
                    return Ok(None);
                }
                Some(Rest::Data { stream, fin, left }) => {
                    let bytes = arrived.split_to(left.min(arrived.len())).freeze();
                    let left = left - bytes.len();
                    if left > 0 {
                        self.rest = Some(Rest::Data { stream, fin, left });
                    }
                    let fin = fin && left == 0;
                    return Ok(Some(Frame::Data { stream, fin, bytes }));
                }
                None => {}
            }
            let Some(head) = arrived.first_chunk::<HEAD_BYTES>() else {
                return Ok(None);
            };
            let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            let flags = head[4];
            let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
            if first & !STREAM_ID == 0 {
                arrived.advance(HEAD_BYTES);
                let (stream, fin) = (stream_id(first)?, flags & FIN != 0);
                self.rest = Some(Rest::Data {
                    stream,
                    fin,
                    left: length,
                });
                continue;
            }
            let (version, kind) = ((first >> 16) as u16 & 0x7fff, first as u16);
            if version != VERSION {
                return Err(Error::Version(version));
            }
            if length > MAX_CONTROL_BYTES {
                return Err(Error::TooLong(length));
            }
            if !matches!(kind, SYN_STREAM..=SETTINGS | PING..=WINDOW_UPDATE) {
                arrived.advance(HEAD_BYTES);
                self.rest = Some(Rest::Skipped { left: length });
                continue;
            }
            if arrived.len() < HEAD_BYTES + length {
                return Ok(None);
            }
            arrived.advance(HEAD_BYTES);
            let body = arrived.split_to(length);
            return self.control(kind, flags, &body).map(Some);
        }
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: &[u8]) -> Result<Frame, Error> {
        let (fixed, is_exact) = match kind {
            SYN_STREAM => (10, false),
            SYN_REPLY | SETTINGS | HEADERS => (4, false),
            PING => (4, true),
            _ => (8, true),
        };
        if body.len() < fixed || is_exact && body.len() != fixed {
            return Err(Error::Length(kind));
        }
        let fin = flags & FIN != 0;
        Ok(match kind {
            SYN_STREAM => {
                let (stream, associated) = (stream_id(body.get_u32())?, body.get_u32() & STREAM_ID);
                let priority = body.get_u8() >> 5;
                body.advance(1);
                let unidirectional = flags & UNIDIRECTIONAL != 0;
                let headers = self.decompressor.decompress(body)?;
                Frame::SynStream {
                    stream,
                    associated,
                    priority,
                    fin,
                    unidirectional,
                    headers,
                }
            }
            SYN_REPLY => {
                let stream = stream_id(body.get_u32())?;
                Frame::SynReply {
                    stream,
                    fin,
                    headers: self.decompressor.decompress(body)?,
                }
            }
            HEADERS => {
                let stream = stream_id(body.get_u32())?;
                Frame::Headers {
                    stream,
                    fin,
                    headers: self.decompressor.decompress(body)?,
                }
            }
            RST_STREAM => Frame::RstStream {
                stream: stream_id(body.get_u32())?,
                status: body.get_u32(),
            },
            SETTINGS => {
                let count = body.get_u32() as usize;
                if !body.len().is_multiple_of(8) || body.len() / 8 != count {
                    return Err(Error::Length(kind));
                }
                let entry = |entry: &[u8; 8]| {
                    let [flags, a, b, c, value @ ..] = *entry;
                    Setting {
                        flags,
                        id: u32::from_be_bytes([0, a, b, c]),
                        value: u32::from_be_bytes(value),
                    }
                };
                let entries = body.as_chunks::<8>().0.iter().map(entry).collect();
                Frame::Settings {
                    clear: flags & CLEAR_SETTINGS != 0,
                    entries,
                }
            }
            PING => Frame::Ping { id: body.get_u32() },
            GOAWAY => Frame::GoAway {
                last_good: body.get_u32() & STREAM_ID,
                status: body.get_u32(),
            },
            _ => Frame::WindowUpdate {
                stream: body.get_u32() & STREAM_ID,
                delta: body.get_u32() & STREAM_ID,
            },
        })
    }
}

fn stream_id(word: u32) -> Result<u32, Error> {
    match word & STREAM_ID {
        0 => Err(Error::NoStream),
        stream => Ok(stream),
    }
}

/// Writes frames.
#[derive(Debug, Default)]
pub struct Encoder {
    compressor: Compressor,
}

impl Encoder {
    /// Appends a frame to `out`. Data longer than a frame holds becomes several.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) {
        match frame {
            Frame::Data { stream, fin, bytes } => {
                let mut bytes = bytes.clone();
                loop {
                    let part = bytes.split_to(bytes.len().min(MAX_DATA_BYTES));
                    let is_last = bytes.is_empty();
                    out.put_u32(*stream);
                    out.put_u32(u32::from(*fin && is_last) << 24 | part.len() as u32);
                    out.extend_from_slice(&part);
                    if is_last {
                        return;
                    }
                }
            }
            Frame::SynStream {
                stream,
                associated,
                priority,
                fin,
                unidirectional,
                headers,
            } => {
                let block = self.compressor.compress(headers);
                let flags = (u8::from(*fin) * FIN) | (u8::from(*unidirectional) * UNIDIRECTIONAL);
                head(out, SYN_STREAM, flags, 10 + block.len());
                out.put_u32(*stream);
                out.put_u32(*associated);
                out.put_u16(u16::from(*priority) << 13);
                out.extend_from_slice(&block);
            }
            Frame::SynReply {
                stream,
                fin,
                headers,
            } => self.block(out, SYN_REPLY, *stream, *fin, headers),
            Frame::Headers {
                stream,
                fin,
                headers,
            } => self.block(out, HEADERS, *stream, *fin, headers),
            Frame::Settings { clear, entries } => {
                head(
                    out,
                    SETTINGS,
                    u8::from(*clear) * CLEAR_SETTINGS,
                    4 + 8 * entries.len(),
                );
                out.put_u32(entries.len() as u32);
                for entry in entries {
                    out.put_u32(u32::from(entry.flags) << 24 | entry.id & 0xff_ffff);
                    out.put_u32(entry.value);
                }
            }
            Frame::Ping { id } => {
                head(out, PING, 0, 4);
                out.put_u32(*id);
            }
            Frame::RstStream { stream, status } => pair(out, RST_STREAM, *stream, *status),
            Frame::GoAway { last_good, status } => pair(out, GOAWAY, *last_good, *status),
            Frame::WindowUpdate { stream, delta } => pair(out, WINDOW_UPDATE, *stream, *delta),
        }
    }

    fn block(&mut self, out: &mut BytesMut, kind: u16, stream: u32, fin: bool, headers: &Headers) {
        let block = self.compressor.compress(headers);
        head(out, kind, u8::from(fin) * FIN, 4 + block.len());
        out.put_u32(stream);
        out.extend_from_slice(&block);
    }
}

fn head(out: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    out.put_u32(u32::from(flags) << 24 | length as u32);
}

fn pair(out: &mut BytesMut, kind: u16, first: u32, second: u32) {
    head(out, kind, 0, 8);
    out.put_u32(first);
    out.put_u32(second);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Frame>, Error> {
        Decoder::default().decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn the_layout_is_the_published_one() {
        let mut out = BytesMut::new();
        let mut encoder = Encoder::default();
        encoder.encode(&Frame::Ping { id: 1 }, &mut out);
        assert_eq!(hex::encode(&out), "800300060000000400000001");
        out.clear();
        encoder.encode(
            &Frame::Data {
                stream: 5,
                fin: true,
                bytes: Bytes::from_static(b"ab"),
            },
            &mut out,
        );
        assert_eq!(hex::encode(&out), "00000005010000026162");
        out.clear();
        encoder.encode(
            &Frame::GoAway {
                last_good: 3,
                status: 0,
            },
            &mut out,
        );
        assert_eq!(hex::encode(&out), "80030007000000080000000300000000");
    }

    #[test]
    fn data_is_handed_on_as_it_arrives() {
        let mut decoder = Decoder::default();
        let mut arrived = BytesMut::from(&[0, 0, 0, 1, FIN, 0, 0, 3, b'a'][..]);
        let part = |fin, bytes| {
            Some(Frame::Data {
                stream: 1,
                fin,
                bytes: Bytes::from_static(bytes),
            })
        };
        assert_eq!(decoder.decode(&mut arrived).unwrap(), part(false, b"a"));
        assert_eq!(decoder.decode(&mut arrived).unwrap(), None);
        arrived.extend_from_slice(b"bc");
        assert_eq!(decoder.decode(&mut arrived).unwrap(), part(true, b"bc"));
        assert_eq!(decoder.decode(&mut arrived).unwrap(), None);
    }

    #[test]
    fn a_kind_that_nobody_knows_is_skipped() {
        let bytes = [
            0x80, 3, 0, 99, 0, 0, 0, 2, 1, 2, 0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 7,
        ];
        assert_eq!(read(&bytes).unwrap(), Some(Frame::Ping { id: 7 }));
    }

    #[test]
    fn what_cannot_be_is_refused_before_it_is_waited_for() {
        assert_eq!(read(&[0x80, 2, 0, 6, 0, 0, 0, 4]), Err(Error::Version(2)));
        assert_eq!(
            read(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]),
            Err(Error::TooLong(0xff_ffff))
        );
        assert_eq!(read(&[0x80, 3, 0, 6, 0, 0, 0, 0]), Err(Error::Length(PING)));
        assert_eq!(read(&[0, 0, 0, 0, 0, 0, 0, 0]), Err(Error::NoStream));
        assert_eq!(
            read(&[0x80, 3, 0, 4, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]),
            Err(Error::Length(SETTINGS))
        );
    }
}
