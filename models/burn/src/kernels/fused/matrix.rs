//! Products of matrices in f32 that are parts of others.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::Arch;

/// Some columns of a row-major matrix, or their transpose.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// The `columns` of a matrix whose rows are `width` long.
    pub(in crate::kernels) fn rows_of(
        data: &'a [f32],
        width: usize,
        columns: Range<usize>,
    ) -> Self {
        assert!(columns.end <= width && data.len().is_multiple_of(width), "a view inside its data");
        View {
            rows: data.len() / width,
            columns: columns.len(),
            row_stride: width,
            column_stride: 1,
            data: &data[columns.start..],
        }
    }

    pub(in crate::kernels) fn transposed(self) -> Self {
        View {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            data: self.data,
        }
    }
}

/// A row-major matrix that several threads write to, each its own columns of its own rows.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Target {
    start: *mut f32,
    rows: usize,
    width: usize,
}

// SAFETY: a target only hands out blocks, under the promise that no two of them overlap.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// The matrix of rows of `width` numbers. It must not be used while blocks are.
    pub(in crate::kernels) fn new(data: &mut [f32], width: usize) -> Self {
        assert!(data.len().is_multiple_of(width), "whole rows");
        Target { start: data.as_mut_ptr(), rows: data.len() / width, width }
    }

    /// Some columns of some rows.
    ///
    /// # Safety
    /// While the block is used, nobody else reads or writes these numbers, and the matrix
    /// lives.
    pub(in crate::kernels) unsafe fn block<'a>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Block<'a> {
        assert!(rows.end <= self.rows && columns.end <= self.width, "a block inside its matrix");
        Block {
            matrix: PhantomData,
            start: self.start.wrapping_add(rows.start * self.width + columns.start),
            rows: rows.len(),
            columns: columns.len(),
            row_stride: self.width,
        }
    }
}

/// Some columns of some rows to write to, owned alone.
pub(in crate::kernels) struct Block<'a> {
    matrix: PhantomData<&'a mut [f32]>,
    start: *mut f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a> Block<'a> {
    /// The `columns` of a matrix whose rows are `width` long.
    pub(in crate::kernels) fn rows_of(
        data: &'a mut [f32],
        width: usize,
        columns: Range<usize>,
    ) -> Self {
        let target = Target::new(data, width);
        // SAFETY: the block borrows the whole matrix alone.
        unsafe { target.block(0..target.rows, columns) }
    }

    /// Calls `work` for each row, compiled for the widest vectors of this machine.
    pub(in crate::kernels) fn each_row(&mut self, mut work: impl FnMut(&mut [f32])) {
        Arch::new().dispatch(|| self.rows_in_turn(&mut work));
    }

    #[inline(always)]
    fn rows_in_turn(&mut self, work: &mut impl FnMut(&mut [f32])) {
        for row in 0..self.rows {
            let start = self.start.wrapping_add(row * self.row_stride);
            // SAFETY: the row lies inside the matrix, and this block alone may touch it.
            work(unsafe { std::slice::from_raw_parts_mut(start, self.columns) });
        }
    }
}

/// `into = keep · into + left · right`.
pub(in crate::kernels) fn multiply(
    into: &mut Block<'_>,
    keep: f32,
    left: &View<'_>,
    right: &View<'_>,
) {
    assert_eq!((into.rows, into.columns), (left.rows, right.columns), "shape of the product");
    assert_eq!(left.columns, right.rows, "inner length of the product");
    // SAFETY: views lie inside their slices and blocks inside their matrix by construction,
    // the shapes agree, and nobody else touches the block, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            into.rows,
            into.columns,
            left.columns,
            into.start,
            1,
            into.row_stride as isize,
            keep != 0.0,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            keep,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
