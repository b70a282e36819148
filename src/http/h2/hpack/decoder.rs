//! Reading field sections.

use super::table::{DynamicTable, TableEntry};
use super::{FieldList, HpackError, ListLimits, SEPARATOR, Span, huffman, integer, static_table};
use crate::base::limits;
use crate::http::h2::field::{classify, is_clean};

/// The reading side of a connection, with the table that the peer's encoder fills.
#[derive(Debug)]
pub struct Decoder {
    table: DynamicTable,
    limits: ListLimits,
}

impl Decoder {
    /// A decoder with a table of `limits::H2_TABLE_BYTES`, the size that holds before any SETTINGS.
    pub fn new(limits: ListLimits) -> Decoder {
        Decoder {
            table: DynamicTable::new(limits::H2_TABLE_BYTES),
            limits,
        }
    }

    /// Appends the fields of a whole section to `list`. What is wrong with single fields is noted in the list; errors
    /// are those of the compression.
    pub fn decode(&mut self, section: &[u8], list: &mut FieldList) -> Result<(), HpackError> {
        self.decode_within(self.limits, section, list)
    }

    /// Appends the fields of a whole section to `list`, as [`Self::decode`] does, within these limits instead of the
    /// decoder's own.
    pub fn decode_within(
        &mut self,
        limits: ListLimits,
        section: &[u8],
        list: &mut FieldList,
    ) -> Result<(), HpackError> {
        let mut at = 0;
        while let Some(&byte) = section.get(at)
            && byte & 0xe0 == 0x20
        {
            let size = integer::read(section, &mut at, 5)?;
            if size > limits::H2_TABLE_BYTES {
                return Err(HpackError::BadSizeUpdate);
            }
            self.table.set_max_size(size);
        }
        while let Some(&byte) = section.get(at) {
            let span = match byte {
                0x80.. => self.indexed(section, &mut at, list)?,
                0x40.. => self.literal(section, &mut at, 6, list)?,
                0x20.. => return Err(HpackError::BadSizeUpdate),
                _ => self.literal(section, &mut at, 4, list)?,
            };
            if !list.keep(span, &limits) {
                return Err(HpackError::Bomb);
            }
        }
        Ok(())
    }

    #[inline]
    fn line(&self, index: usize) -> Result<TableEntry<'_>, HpackError> {
        match index {
            0 => Err(HpackError::BadIndex),
            1..=static_table::LEN => Ok(static_table::line(index)),
            _ => {
                let age = index - static_table::LEN - 1;
                self.table.get(age).ok_or(HpackError::BadIndex)
            }
        }
    }

    /// Section 6.1.
    #[inline]
    fn indexed(
        &self,
        section: &[u8],
        at: &mut usize,
        list: &mut FieldList,
    ) -> Result<Span, HpackError> {
        let line = self.line(integer::read(section, at, 7)?)?;
        let start = list.text.len();
        list.text.extend_from_slice(line.bytes);
        Ok(span(start, &line, false))
    }

    /// Sections 6.2.1 (a prefix of 6 bits: the field enters the table), 6.2.2 and 6.2.3.
    fn literal(
        &mut self,
        section: &[u8],
        at: &mut usize,
        prefix_bits: u32,
        list: &mut FieldList,
    ) -> Result<Span, HpackError> {
        let sensitive = prefix_bits == 4 && section[*at] & 0x10 != 0;
        let start = list.text.len();
        let class = match integer::read(section, at, prefix_bits)? {
            0 => {
                string(section, at, &mut list.text)?;
                classify(&list.text[start..])
            }
            index => {
                let line = self.line(index)?;
                list.text.extend_from_slice(line.name());
                line.class
            }
        };
        let name_len = (list.text.len() - start) as u32;
        list.text.extend_from_slice(SEPARATOR);
        let value_start = list.text.len();
        string(section, at, &mut list.text)?;
        let bad_value = !is_clean(&list.text[value_start..]);
        list.text.extend_from_slice(b"\r\n");
        let line = TableEntry {
            bytes: &list.text[start..],
            name_len,
            class,
            bad_value,
        };
        let span = span(start, &line, sensitive);
        if prefix_bits == 6 {
            self.table.insert(line);
        }
        Ok(span)
    }
}

#[inline]
fn span(start: usize, line: &TableEntry<'_>, sensitive: bool) -> Span {
    Span {
        start: start as u32,
        name_len: line.name_len,
        value_len: line.value().len() as u32,
        class: line.class,
        bad_value: line.bad_value,
        sensitive,
    }
}

/// A string literal (section 5.2), appended to `out`.
fn string(section: &[u8], at: &mut usize, out: &mut Vec<u8>) -> Result<(), HpackError> {
    let is_huffman = section.get(*at).is_some_and(|byte| byte & 0x80 != 0);
    let len = integer::read(section, at, 7)?;
    let text = section[*at..].get(..len).ok_or(HpackError::Truncated)?;
    *at += len;
    if is_huffman {
        return huffman::decode(text, out);
    }
    out.extend_from_slice(text);
    Ok(())
}
