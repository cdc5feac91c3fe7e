//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: shorter codes are smaller numbers, and symbols with codes of one length
//! are numbered in their own order. So the lengths say everything.

/// The symbol that ends a string and must never be sent.
pub const EOS: u16 = 256;

/// Length in bits of the code of each byte and of [`EOS`].
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// A code with its length and what it stands for.
#[derive(Clone, Copy)]
struct Code {
    length: u8,
    bits: u32,
    symbol: u16,
}

/// All codes, in the order of their numbers.
fn codes() -> Vec<Code> {
    let mut symbols: Vec<(u8, u16)> = LENGTHS.into_iter().zip(0..).collect();
    symbols.sort_unstable();
    let (mut bits, mut before) = (0_u32, 0);
    symbols
        .into_iter()
        .map(|(length, symbol)| {
            bits <<= length - before;
            before = length;
            let code = Code {
                length,
                bits,
                symbol,
            };
            bits = bits.wrapping_add(1);
            code
        })
        .collect()
}

/// How the last byte is filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// With ones, as it has to be.
    Ones,
    /// With zeros.
    Zeros,
    /// With ones and one more byte of them.
    TooLong,
}

/// Encodes a string.
#[must_use]
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    let symbols: Vec<u16> = bytes.iter().copied().map(u16::from).collect();
    encode_symbols(&symbols, Padding::Ones)
}

/// Encodes symbols, [`EOS`] among them, with a padding that may be wrong.
///
/// # Panics
/// When a number is no symbol.
#[must_use]
pub fn encode_symbols(symbols: &[u16], padding: Padding) -> Vec<u8> {
    let mut by_symbol = codes();
    by_symbol.sort_unstable_by_key(|code| code.symbol);
    let mut out = Vec::new();
    let (mut rest, mut held) = (0_u64, 0_u32);
    for symbol in symbols {
        let code = by_symbol.get(usize::from(*symbol)).expect("a symbol");
        rest = (rest << code.length) | u64::from(code.bits);
        held += u32::from(code.length);
        while held >= 8 {
            held -= 8;
            out.push((rest >> held).to_le_bytes()[0]);
        }
    }
    if held > 0 {
        let fill = 8 - held;
        let ones = if padding == Padding::Zeros {
            0
        } else {
            (1 << fill) - 1
        };
        out.push(((rest << fill) | ones).to_le_bytes()[0]);
    }
    if padding == Padding::TooLong {
        out.push(0xff);
    }
    out
}

/// Decodes a string.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let codes = codes();
    let mut out = Vec::new();
    let (mut bits, mut length) = (0_u32, 0_u8);
    for byte in bytes {
        for at in (0..8).rev() {
            bits = (bits << 1) | u32::from(byte >> at & 1);
            length += 1;
            let found = codes.binary_search_by_key(&(length, bits), |c| (c.length, c.bits));
            let Ok(found) = found else {
                continue;
            };
            let symbol = codes.get(found).map_or(EOS, |c| c.symbol);
            let symbol = u8::try_from(symbol).map_err(|_| "Huffman: EOS inside a string")?;
            out.push(symbol);
            (bits, length) = (0, 0);
        }
    }
    if length > 7 {
        return Err("Huffman: padding of more than seven bits".to_owned());
    }
    if bits != (1 << length) - 1 {
        return Err("Huffman: padding that is not all ones".to_owned());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7541 appendix C.4.1 and C.6.1.
        let coded = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(encode(b"www.example.com"), coded);
        assert_eq!(decode(&coded).unwrap(), b"www.example.com");
        assert_eq!(decode(&[0x64, 0x02]).unwrap(), b"302");
    }

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).unwrap(), all);
        let last = codes().pop().unwrap();
        assert_eq!((last.bits, last.symbol), (0x3fff_ffff, EOS));
    }

    #[test]
    fn broken_strings_are_told() {
        let a = [u16::from(b'a')];
        assert!(decode(&encode_symbols(&a, Padding::Zeros)).is_err());
        assert!(decode(&encode_symbols(&a, Padding::TooLong)).is_err());
        let with_end = [u16::from(b'a'), EOS];
        assert!(decode(&encode_symbols(&with_end, Padding::Ones)).is_err());
    }
}
