//! Header blocks: names and values, compressed with one zlib stream per direction that starts from the shared
//! dictionary. Every block that arrives must pass through here, wanted or not, or the stream loses its place.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::dictionary::DICTIONARY;
use crate::frame::Error;

/// Bytes that a block may have once it is unpacked.
const MAX_BLOCK_BYTES: usize = 64 << 10;
/// Headers that a block may have.
const MAX_HEADERS: u32 = 256;

/// Header names, in lower case, and their values, in the order sent. Several values of one name are one text with NUL
/// between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Adds a header; the name is put into lower case, as the protocol wants it.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_lowercase(), value.into()));
        self
    }

    /// The first value of a header, whatever the case of the name asked for.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .0
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        value.split('\0').next()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn pack(&self) -> Vec<u8> {
        let mut block = Vec::new();
        let number = |block: &mut Vec<u8>, value: usize| {
            block.extend_from_slice(&(value as u32).to_be_bytes())
        };
        number(&mut block, self.0.len());
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            number(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
        block
    }

    fn unpack(mut block: &[u8]) -> Result<Self, Error> {
        let count = number(&mut block)?;
        if count > MAX_HEADERS {
            return Err(Error::Headers("there are too many of them"));
        }
        let mut headers = Self::default();
        for _ in 0..count {
            let name = text(&mut block)?;
            let value = text(&mut block)?;
            if name.is_empty() {
                return Err(Error::Headers("a name is empty"));
            }
            headers.0.push((name.to_lowercase(), value));
        }
        if block.is_empty() {
            Ok(headers)
        } else {
            Err(Error::Headers("something follows the last one"))
        }
    }
}

fn number(block: &mut &[u8]) -> Result<u32, Error> {
    let (bytes, rest) = block
        .split_first_chunk()
        .ok_or(Error::Headers("they end too early"))?;
    *block = rest;
    Ok(u32::from_be_bytes(*bytes))
}

fn text(block: &mut &[u8]) -> Result<String, Error> {
    let length = number(block)? as usize;
    let (bytes, rest) = block
        .split_at_checked(length)
        .ok_or(Error::Headers("they end too early"))?;
    *block = rest;
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Headers("they are not UTF-8"))
}

/// Compresses the blocks of one direction.
#[derive(Debug)]
pub struct Compressor(Compress);

impl Default for Compressor {
    fn default() -> Self {
        let mut stream = Compress::new(Compression::fast(), true);
        stream
            .set_dictionary(&DICTIONARY)
            .expect("a new stream takes a dictionary");
        Self(stream)
    }
}

impl Compressor {
    /// The next block on the wire.
    pub fn compress(&mut self, headers: &Headers) -> Vec<u8> {
        let block = headers.pack();
        let mut out = Vec::with_capacity(block.len() + 64);
        let start = self.0.total_in();
        loop {
            let taken = (self.0.total_in() - start) as usize;
            out.reserve(256);
            self.0
                .compress_vec(&block[taken..], &mut out, FlushCompress::Sync)
                .expect("deflating into memory cannot fail");
            // Room left over means that the flush is complete.
            if out.len() < out.capacity() {
                return out;
            }
        }
    }
}

/// Decompresses the blocks of one direction.
#[derive(Debug)]
pub struct Decompressor(Decompress);

impl Default for Decompressor {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Decompressor {
    /// Reads the next block from the wire. After an error the direction is lost.
    pub fn decompress(&mut self, wire: &[u8]) -> Result<Headers, Error> {
        let start = self.0.total_in();
        let mut block = Vec::with_capacity(1 << 10);
        loop {
            let taken = (self.0.total_in() - start) as usize;
            let before = (taken, block.len());
            if block.len() == block.capacity() {
                if block.len() >= MAX_BLOCK_BYTES {
                    return Err(Error::Headers("they are too long"));
                }
                block.reserve(block.len());
            }
            let status =
                match self
                    .0
                    .decompress_vec(&wire[taken..], &mut block, FlushDecompress::Sync)
                {
                    Ok(status) => status,
                    Err(error) if error.needs_dictionary().is_some() => {
                        self.0.set_dictionary(&DICTIONARY).map_err(|_| {
                            Error::Headers("they are compressed with another dictionary")
                        })?;
                        continue;
                    }
                    Err(_) => {
                        return Err(Error::Headers("they are not compressed as they must be"));
                    }
                };
            let taken = (self.0.total_in() - start) as usize;
            let is_done = taken == wire.len() && block.len() < block.capacity();
            if is_done {
                return Headers::unpack(&block);
            }
            if status == Status::StreamEnd
                || before == (taken, block.len()) && block.len() < block.capacity()
            {
                return Err(Error::Headers("they are not compressed as they must be"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_share_one_stream_so_that_a_repeated_one_is_short() {
        let (mut compressor, mut decompressor) = (Compressor::default(), Decompressor::default());
        let headers = Headers::default()
            .with("streamType", "data")
            .with("port", "8080")
            .with("requestID", "0");
        let first = compressor.compress(&headers);
        let second = compressor.compress(&headers);
        assert!(
            second.len() < first.len(),
            "{} {}",
            second.len(),
            first.len()
        );
        for wire in [first, second] {
            assert_eq!(decompressor.decompress(&wire).unwrap(), headers);
        }
        assert_eq!(headers.get("StreamType"), Some("data"));
    }

    #[test]
    fn a_block_that_unpacks_to_too_much_is_refused() {
        let headers = Headers::default().with("a", "x".repeat(MAX_BLOCK_BYTES * 20));
        let wire = Compressor::default().compress(&headers);
        assert!(
            wire.len() < MAX_BLOCK_BYTES,
            "it is small on the wire: {}",
            wire.len()
        );
        assert!(Decompressor::default().decompress(&wire).is_err());
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for block in [
            &[][..],
            &[0, 0, 0, 1],
            &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1],
            &[0xff; 4],
            &[0, 0, 0, 0, 9],
        ] {
            assert!(Headers::unpack(block).is_err(), "{block:?}");
        }
    }
}
