//! Order of names as people count: `web.2` before `web.10`.

use std::cmp::Ordering;

/// Compares text by characters, and runs of digits by their value.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (left, right) = (digits(a), digits(b));
        let order = if left > 0 && right > 0 {
            let (x, y) = (a[..left].trim_start_matches('0'), b[..right].trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then(left.cmp(&right))
        } else {
            a.chars().next().cmp(&b.chars().next())
        };
        if order != Ordering::Equal {
            return order;
        }
        let step = |text: &str| text.chars().next().map_or(0, char::len_utf8);
        let (x, y) = if left > 0 { (left, right) } else { (step(a), step(b)) };
        (a, b) = (&a[x..], &b[y..]);
    }
    a.len().cmp(&b.len())
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_count() {
        let mut names = ["web.10", "web.2", "db", "web.1", "web", "é2", "é10"];
        names.sort_by(|a, b| super::compare(a, b));
        assert_eq!(names, ["db", "web", "web.1", "web.2", "web.10", "é2", "é10"]);
    }
}
