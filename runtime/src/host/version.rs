//! Versions, as far as the hand-over of state asks: whether what one version saved, another may restore.
//!
//! The rule is that of SemVer for a dependency: the first number that is not 0 is the same, and the other numbers are not smaller. A
//! version before a release is followed by itself, by a later one of the same numbers, and by all that its release is.

use core::cmp::Ordering;

/// A version as SemVer writes it. What follows a `+` counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    numbers: [u64; 3],
    /// What follows a `-`.
    before: Option<String>,
}

impl Version {
    /// Reads `1.2.3`, `1.2.3-rc.1`, `1.2.3+build`. `None` where it is none of these.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (numbers, before) = match text.split_once('-') {
            Some((numbers, before)) if !before.is_empty() => (numbers, Some(before.to_owned())),
            Some(_) => return None,
            None => (text, None),
        };
        let mut read = numbers.split('.').map(|number| number.parse().ok());
        let numbers = [read.next()??, read.next()??, read.next()??];
        read.next().is_none().then_some(Self { numbers, before })
    }

    /// Whether state that `old` saved is for this version to restore.
    pub(crate) fn may_follow(&self, old: &Self) -> bool {
        let changes_at = old.numbers.iter().position(|number| *number != 0).unwrap_or(2);
        self.numbers[..=changes_at] == old.numbers[..=changes_at] && self.compare(old) != Ordering::Less
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (&self.before, &other.before) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(mine), Some(others)) => before(mine, others),
        })
    }
}

/// Identifiers are compared one by one: numbers as numbers and before words, the shorter list first.
fn before(mine: &str, others: &str) -> Ordering {
    let (mut mine, mut others) = (mine.split('.'), others.split('.'));
    loop {
        let order = match (mine.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(mine), Some(others)) => match (mine.parse::<u64>(), others.parse::<u64>()) {
                (Ok(mine), Ok(others)) => mine.cmp(&others),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => mine.cmp(others),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Why state does not go from the version `old` to the version `new`. `None` where it does.
pub(crate) fn refusal(old: &str, new: &str) -> Option<String> {
    let read =
        |text: &str| Version::parse(text).ok_or_else(|| format!("`{text}` is no version as SemVer has them"));
    match (read(old), read(new)) {
        (Ok(before), Ok(after)) if after.may_follow(&before) => None,
        (Ok(_), Ok(_)) => Some(format!(
            "version {new} is not compatible with {old}, whose state it would take over: as SemVer has it, that is for later \
             versions of the same first number that is not 0"
        )),
        (Err(reason), _) | (_, Err(reason)) => Some(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for text in ["0.0.0", "1.2.3", "1.2.3-rc.1", "1.2.3+5", "1.2.3-a-b+c-d"] {
            assert!(Version::parse(text).is_some(), "{text}");
        }
        for text in ["", "1", "1.2", "1.2.3.4", "1.2.x", "1.2.3-", "v1.2.3", "-1.2.3"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn state_goes_to_compatible_versions_that_are_not_older() {
        for (old, new, goes) in [
            ("1.2.3", "1.2.3", true),
            ("1.2.3", "1.2.4", true),
            ("1.2.3", "1.9.0", true),
            ("1.2.3", "1.2.2", false),
            ("1.2.3", "2.0.0", false),
            ("2.0.0", "1.9.9", false),
            ("0.3.1", "0.3.2", true),
            ("0.3.1", "0.4.0", false),
            ("0.0.1", "0.0.2", false),
            ("0.0.1", "0.0.1", true),
            ("0.0.0", "0.0.0", true),
            ("0.0.0", "0.0.1", false),
            ("1.0.0-rc.1", "1.0.0", true),
            ("1.0.0", "1.0.0-rc.1", false),
            ("1.0.0-rc.2", "1.0.0-rc.10", true),
            ("1.0.0-rc.10", "1.0.0-rc.2", false),
            ("1.0.0-1", "1.0.0-a", true),
            ("1.0.0-a", "1.0.0-a.1", true),
            ("1.0.0-a.1", "1.0.0-a", false),
            ("1.0.0+1", "1.0.0+2", true),
        ] {
            assert_eq!(refusal(old, new).is_none(), goes, "{old} to {new}");
        }
        assert!(refusal("1.0", "1.0.0").unwrap().contains("`1.0` is no version"));
    }
}
