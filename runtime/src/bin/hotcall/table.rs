//! Columns.

/// Rows of cells, each column as wide as its widest cell, two spaces apart. The last is as long as it is.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        text.push_str("  ");
        for (number, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if number + 1 != row.len() {
                let gap = widths[number] + 2 - cell.chars().count();
                text.extend(core::iter::repeat_n(' ', gap));
            }
        }
        text.push('\n');
    }
    text
}
