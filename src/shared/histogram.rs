//! How often something took how long: fixed cells between powers of two, so that finding the cell is two instructions.

use super::counter::{Counter, numbers};

/// Cells with two steps per octave: a quantile is known to within half an octave.
pub const FINE: usize = 42;
/// Cells with one step per octave, where there are many histograms.
pub const COARSE: usize = FINE / 2 + 1;

/// The first cell ends at 2^6 µs = 64 µs, the last but one at 2^26 µs = 67 s; the last takes what is longer.
const FIRST_OCTAVE: u32 = 6;

/// A histogram that one thread writes. `CELLS` is [`FINE`] or [`COARSE`].
#[derive(Debug)]
pub struct Histogram<const CELLS: usize> {
    sum: Counter,
    cells: [Counter; CELLS],
}

impl<const CELLS: usize> Default for Histogram<CELLS> {
    fn default() -> Self {
        Histogram {
            sum: Counter::default(),
            cells: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl<const CELLS: usize> Histogram<CELLS> {
    /// Counts one more that took `micros`. For the owner.
    #[inline]
    pub fn observe(&self, micros: u64) {
        self.cells[cell::<CELLS>(micros)].add(1);
        self.sum.add(micros);
    }

    /// The counts that the histogram holds now.
    pub fn times(&self) -> Times<CELLS> {
        Times {
            sum_micros: self.sum.get(),
            cells: numbers(&self.cells),
        }
    }
}

/// The cell of a time.
#[inline]
fn cell<const CELLS: usize>(micros: u64) -> usize {
    const { assert!(CELLS == FINE || CELLS == COARSE) };
    if micros < 1 << FIRST_OCTAVE {
        return 0;
    }
    let octave = micros.ilog2();
    let upper_half = (micros >> (octave - 1)) & 1;
    let fine = (2 * (octave - FIRST_OCTAVE) + upper_half as u32 + 1) as usize;
    let fine = fine.min(FINE - 1);
    if CELLS == FINE {
        fine
    } else {
        fine.div_ceil(2)
    }
}

/// Where a cell ends, in microseconds; infinite for the last one.
fn end<const CELLS: usize>(cell: usize) -> f64 {
    debug_assert!(cell < CELLS);
    if cell + 1 == CELLS {
        return f64::INFINITY;
    }
    let fine = if CELLS == FINE { cell } else { 2 * cell };
    let octave = FIRST_OCTAVE as i32 + (fine / 2) as i32;
    let start = 2f64.powi(octave);
    if fine % 2 == 0 { start } else { 1.5 * start }
}

/// A histogram's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times<const CELLS: usize> {
    /// The sum of all values, in microseconds.
    pub sum_micros: u64,
    /// The number of values in each cell.
    pub cells: [u64; CELLS],
}

impl<const CELLS: usize> Default for Times<CELLS> {
    fn default() -> Self {
        Times {
            sum_micros: 0,
            cells: [0; CELLS],
        }
    }
}

impl<const CELLS: usize> Times<CELLS> {
    /// Takes those of another histogram in.
    pub fn add(&mut self, other: &Times<CELLS>) {
        self.sum_micros += other.sum_micros;
        for (cell, more) in self.cells.iter_mut().zip(other.cells) {
            *cell += more;
        }
    }

    /// The counts that were added since an earlier look at the same histogram.
    pub fn since(&self, earlier: &Times<CELLS>) -> Times<CELLS> {
        Times {
            sum_micros: self.sum_micros.saturating_sub(earlier.sum_micros),
            cells: std::array::from_fn(|at| self.cells[at].saturating_sub(earlier.cells[at])),
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// Every cell as its end in seconds (the last: infinity) with the number that it holds.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let ends = (0..CELLS).map(|cell| end::<CELLS>(cell) / 1e6);
        ends.zip(self.cells)
    }

    /// The time that the share `quantile` (`0.0..=1.0`) of them did not exceed, in microseconds: taken as spread evenly
    /// over its cell. `None` if there were none.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        quantile_of(&self.cells.map(|number| number as f64), quantile)
    }
}

impl Times<FINE> {
    /// The counts with one step per octave.
    pub fn coarse(&self) -> Times<COARSE> {
        let mut coarse = Times {
            sum_micros: self.sum_micros,
            cells: [0; COARSE],
        };
        for (fine, number) in self.cells.iter().enumerate() {
            coarse.cells[fine.div_ceil(2)] += number;
        }
        coarse
    }
}

/// A histogram of late that forgets: what it took in earlier counts less with every turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Fading<const CELLS: usize> {
    cells: [f64; CELLS],
}

impl<const CELLS: usize> Default for Fading<CELLS> {
    fn default() -> Self {
        Fading {
            cells: [0.0; CELLS],
        }
    }
}

impl<const CELLS: usize> Fading<CELLS> {
    /// Lets `kept` (`0.0..=1.0`) of what it holds stay, and takes in what came since.
    pub fn turn(&mut self, kept: f64, new: &Times<CELLS>) {
        debug_assert!((0.0..=1.0).contains(&kept), "known samples fade");
        for (cell, more) in self.cells.iter_mut().zip(new.cells) {
            *cell = *cell * kept + more as f64;
        }
    }

    /// As [`Times::quantile`]; `None` as well when next to nothing is left of what it once held.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let is_faded = self.cells.iter().sum::<f64>() < 0.01;
        quantile_of(&self.cells, quantile).filter(|_| !is_faded)
    }
}

fn quantile_of<const CELLS: usize>(cells: &[f64; CELLS], quantile: f64) -> Option<f64> {
    debug_assert!((0.0..=1.0).contains(&quantile));
    let rank = quantile * cells.iter().sum::<f64>();
    let (mut below, mut start) = (0.0, 0.0);
    let mut found = None;
    for (cell, &number) in cells.iter().enumerate() {
        let end = end::<CELLS>(cell);
        if number > 0.0 {
            let share = ((rank - below) / number).clamp(0.0, 1.0);
            // Of the last cell only its beginning is known.
            let time = start
                + if end.is_finite() {
                    share * (end - start)
                } else {
                    0.0
                };
            found = Some(time);
            if below + number >= rank {
                break;
            }
        }
        (below, start) = (below + number, end);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn coarse_cells_are_those_of_a_coarse_histogram() {
        let (fine, coarse) = (Histogram::<FINE>::default(), Histogram::<COARSE>::default());
        for micros in (0..28).flat_map(|octave| [1 << octave, (3 << octave) / 2]) {
            fine.observe(micros);
            coarse.observe(micros);
        }
        assert_eq!(fine.times().coarse(), coarse.times());
    }

    #[test]
    fn cells_table() {
        let rows = [
            (0, 0, 0),
            (63, 0, 0),
            (64, 1, 1),
            (95, 1, 1),
            (96, 2, 1),
            (127, 2, 1),
            (128, 3, 2),
            (191, 3, 2),
            (192, 4, 2),
            (256, 5, 3),
            ((1 << 26) - 1, 40, 20),
            (1 << 26, 41, 21),
            (u64::MAX, 41, 21),
        ];
        for (micros, fine, coarse) in rows {
            assert_eq!(cell::<FINE>(micros), fine, "{micros} µs");
            assert_eq!(cell::<COARSE>(micros), coarse, "{micros} µs");
        }
    }

    proptest! {
        #[test]
        fn a_time_lies_in_its_cell(micros in prop_oneof![0..1u64 << 28, any::<u64>()]) {
            lies_in_its_cell::<FINE>(micros)?;
            lies_in_its_cell::<COARSE>(micros)?;
        }
    }

    fn lies_in_its_cell<const CELLS: usize>(micros: u64) -> Result<(), TestCaseError> {
        let at = cell::<CELLS>(micros);
        prop_assert!((micros as f64) < end::<CELLS>(at) || at + 1 == CELLS);
        prop_assert!(at == 0 || micros as f64 >= end::<CELLS>(at - 1));
        Ok(())
    }

    #[test]
    fn quantiles_are_near_what_was_observed() {
        let histogram: Histogram<FINE> = Histogram::default();
        assert_eq!(histogram.times().quantile(0.5), None);
        for micros in 1..=1000 {
            histogram.observe(micros * 100);
        }
        let times = histogram.times();
        assert_eq!((times.count(), times.sum_micros), (1000, 50_050_000));
        for (quantile, exact) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0)] {
            let found = times.quantile(quantile).unwrap();
            assert!((found / exact - 1.0).abs() < 0.25, "{quantile}: {found}");
        }
        assert!(times.quantile(1.0).unwrap() >= 98_304.0);
    }

    #[test]
    fn what_fades_counts_less_and_is_gone_in_the_end() {
        let histogram: Histogram<FINE> = Histogram::default();
        let mut fading = Fading::default();
        assert_eq!(fading.quantile(0.5), None);
        histogram.observe(1 << 20);
        fading.turn(0.5, &histogram.times());
        let nothing = Times::default();
        for _ in 0..6 {
            assert!(fading.quantile(0.5).unwrap() >= f64::from(1 << 20));
            fading.turn(0.5, &nothing);
        }
        assert!(fading.quantile(0.5).is_some());
        fading.turn(0.5, &nothing);
        assert_eq!(fading.quantile(0.5), None);
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let histogram: Histogram<COARSE> = Histogram::default();
        histogram.observe(100);
        let earlier = histogram.times();
        histogram.observe(1 << 40);
        let since = histogram.times().since(&earlier);
        assert_eq!(since.count(), 1);
        assert_eq!(since.quantile(0.99), Some(f64::from(1 << 26)));
        let mut both = earlier.clone();
        both.add(&since);
        assert_eq!(both, histogram.times());
    }
}
