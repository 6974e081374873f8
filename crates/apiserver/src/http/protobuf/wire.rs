//! The protobuf wire format: numbered fields of four shapes.

use super::Error;

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    /// A varint.
    Number(u64),
    /// Eight or four fixed bytes.
    Fixed(u64),
    /// Text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

/// Reads field after field; stops after the first error.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn field(&mut self) -> Result<(u64, Payload<'a>), Error> {
        let key = varint(&mut self.rest)?;
        let payload = match key & 7 {
            0 => Payload::Number(varint(&mut self.rest)?),
            1 => Payload::Fixed(u64::from_le_bytes(
                self.take(8)?.try_into().map_err(|_| Error::Malformed)?,
            )),
            2 => {
                let length =
                    usize::try_from(varint(&mut self.rest)?).map_err(|_| Error::Malformed)?;
                Payload::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?.try_into().map_err(|_| Error::Malformed)?;
                Payload::Fixed(u32::from_le_bytes(bytes).into())
            }
            _ => return Err(Error::Malformed),
        };
        Ok((key >> 3, payload))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Error::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u64, Payload<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(Error::Malformed)?;
        *bytes = rest;
        if shift < 64 {
            value |= u64::from(first & 0x7f) << shift;
        }
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::Malformed)
}

/// Numbers packed into one field.
pub(super) fn packed(mut bytes: &[u8]) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    while !bytes.is_empty() {
        numbers.push(varint(&mut bytes)?);
    }
    Ok(numbers)
}

/// UTF-8 text.
pub(super) fn text(bytes: &[u8]) -> Result<String, Error> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| Error::Malformed)
}
