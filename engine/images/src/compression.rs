//! What an archive is packed with, told by its first bytes, as Docker does.

use std::io::{self, BufReader, Cursor, Read};

/// The packings that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Bytes that tell all packings known here apart.
const MAGIC_BYTES: usize = 6;

/// What a decompressor asks for at once.
const BUFFER_BYTES: usize = 64 << 10;

impl Compression {
    /// The packing that begins with these bytes.
    pub(crate) fn of(start: &[u8]) -> io::Result<Self> {
        let refused = |name: &str| {
            let text = format!("{name} compression is not supported, only gzip and zstd are");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        };
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstd),
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', ..] => refused("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => refused("xz"),
            _ => Ok(Self::None),
        }
    }

    /// The media type of a layer that is packed so.
    pub(crate) fn layer_media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// Reads what a packed stream holds, and says how it is packed.
pub(crate) fn open<'r>(
    mut stream: impl Read + Send + 'r,
) -> io::Result<(Compression, Box<dyn Read + Send + 'r>)> {
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    (&mut stream).take(MAGIC_BYTES as u64).read_to_end(&mut start)?;
    let compression = Compression::of(&start)?;
    let whole = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(start).chain(stream));
    Ok((
        compression,
        match compression {
            Compression::None => Box::new(whole),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
            // The window, and so the memory, is bound by the decoder's default of 128 MiB.
            Compression::Zstd => Box::new(zstd::Decoder::with_buffer(whole)?),
        },
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn packings_are_told_apart_and_read() {
        let text = b"some text".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
        for (packed, expected) in [
            (text.clone(), Compression::None),
            (gzip.finish().unwrap(), Compression::Gzip),
            (zstd, Compression::Zstd),
        ] {
            let (compression, mut reader) = open(packed.as_slice()).unwrap();
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            assert_eq!((compression, got), (expected, text.clone()));
        }
        let Err(refused) = open(b"BZh91AY".as_slice()) else { panic!("bzip2 is refused") };
        assert!(refused.to_string().contains("bzip2"), "{refused}");
    }
}
