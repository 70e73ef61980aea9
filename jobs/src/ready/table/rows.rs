//! The loop over a file's rows, for mappers that need to find their columns once per chunk, not
//! once per row.

use crate::emit::Emit;
use crate::error::Result;
use crate::input::{
    Chunk, Delimited, Fields, Header, Located, LocatedRecord, Position, RecordError,
};
use crate::key::Key;
use crate::mapper::Mapper;
use crate::value::Value;

/// A mapper of table rows; [`Rows`] makes a [`Mapper`] of it.
pub(in crate::ready) trait RowMapper: Send + Sync + 'static {
    type Key: Key + ?Sized;
    type Value: Value + ?Sized;
    /// The columns resolved for one file.
    type Plan;

    fn format(&self) -> Delimited;

    /// Finds the columns of a file.
    fn plan(&self, header: &Header<'_>) -> Result<Self::Plan>;

    /// How many fields of each row are needed, counted from the first.
    fn columns(plan: &Self::Plan) -> usize;

    /// Maps one row.
    fn map_row(
        &self,
        plan: &Self::Plan,
        row: &Row<'_>,
        scratch: &mut Scratch,
        out: &mut impl Emit<Self::Key, Self::Value>,
    ) -> Result<()>;

    /// Maps a file's header; by default emits nothing.
    fn map_header(
        &self,
        position: Position<'_>,
        header: &Header<'_>,
        out: &mut impl Emit<Self::Key, Self::Value>,
    ) -> Result<()> {
        let _ = (position, header, out);
        Ok(())
    }
}

/// A row and its position.
pub(in crate::ready) struct Row<'a> {
    pub(in crate::ready) position: Position<'a>,
    pub(in crate::ready) fields: &'a Fields<'a>,
}

/// Buffers in which keys and values are assembled, reused from row to row.
#[derive(Default)]
pub(in crate::ready) struct Scratch {
    pub(in crate::ready) key: Vec<u8>,
    pub(in crate::ready) value: Vec<u8>,
}

/// The [`Mapper`] of a [`RowMapper`].
pub(in crate::ready) struct Rows<R>(pub(in crate::ready) R);

impl<R: RowMapper> Mapper for Rows<R> {
    type Input = Located<Delimited>;
    type Key = R::Key;
    type Value = R::Value;

    fn map(
        &self,
        record: LocatedRecord<'_, Fields<'_>>,
        out: &mut impl Emit<R::Key, R::Value>,
    ) -> Result<()> {
        let (position, fields) = (record.position(), &record.record);
        let plan = self.0.plan(fields.header())?;
        self.0.map_row(&plan, &Row { position, fields }, &mut Scratch::default(), out)
    }

    fn format(&self) -> Located<Delimited> {
        Located(self.0.format())
    }

    fn map_chunk(
        &self,
        format: &Located<Delimited>,
        chunk: &Chunk<'_>,
        out: &mut impl Emit<R::Key, R::Value>,
    ) -> Result<u64, RecordError> {
        let header = format.0.header_of(chunk)?;
        let mut scratch = Scratch::default();
        let in_header = |error| RecordError { offset: 0, ..chunk.position(0).error(&error) };
        let plan = self.0.plan(&header).map_err(in_header)?;
        if format.0.header && chunk.offset == 0 {
            self.0.map_header(chunk.position(0), &header, out).map_err(in_header)?;
        }
        let columns = R::columns(&plan);
        format.0.rows(chunk, &header, columns, |position, fields| {
            chunk.visit(position.offset);
            self.0
                .map_row(&plan, &Row { position, fields: &fields }, &mut scratch, out)
                .map_err(|error| position.error(&error))
        })
    }
}
