//! Elastic tab stops, as Go's `text/tabwriter` aligns them: a column is a run of lines that have a cell there.
//!
//! Invariant: the last cell of a line is no column's; it is never padded.

/// How wide a column is at least, its padding included, and the padding itself.
#[derive(Debug, Clone, Copy)]
pub struct Stops {
    pub width_min: usize,
    pub padding: usize,
}

/// What Docker's lists use.
pub const LIST: Stops = Stops { width_min: 10, padding: 3 };
/// What Docker's `version` uses.
pub const VERSION: Stops = Stops { width_min: 20, padding: 1 };

/// What Docker's `top` uses.
pub const TOP: Stops = Stops { width_min: 20, padding: 3 };

/// Aligns tab-terminated cells; text without tabs passes unchanged.
pub fn align(text: &str, stops: Stops) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|_| Vec::new()).collect();
    block(&lines, &mut widths, 0, 0, lines.len(), stops);
    let mut out = String::with_capacity(text.len() * 2);
    for (number, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if number > 0 {
            out.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < cells.len() {
                let blank = widths[column].saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', blank));
            }
        }
    }
    out
}

/// Sets the widths of `column` and of those right of it for the lines `from..to`.
fn block(
    lines: &[Vec<&str>],
    widths: &mut [Vec<usize>],
    column: usize,
    from: usize,
    to: usize,
    stops: Stops,
) {
    let has = |line: usize| lines[line].len() > column + 1;
    let mut start = from;
    while start < to {
        if !has(start) {
            start += 1;
            continue;
        }
        let end = (start..to).find(|line| !has(*line)).unwrap_or(to);
        let longest = (start..end).map(|line| lines[line][column].chars().count()).max();
        let width = stops.width_min.max(longest.unwrap_or(0) + stops.padding);
        widths[start..end].iter_mut().for_each(|line| line.push(width));
        block(lines, widths, column + 1, start, end, stops);
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        assert_eq!(
            align("ID\tNAME\tX\na\tlonger-than-ten\ty\n", LIST),
            "ID        NAME              X\na         longer-than-ten   y\n"
        );
        assert_eq!(align("plain\n\na\tb", LIST), "plain\n\na         b");
    }
}
